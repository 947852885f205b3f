"""Logging in over the socket: concurrent guesses, several workers, and a proxy that ends TLS."""

import re
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.contrib.auth.hashers import ScryptPasswordHasher

from tests.system.admin_session import log_in as log_in_to
from tests.system.database import fetch_value
from tests.system.server import Answer, Client, Server
from tests.system.threads import in_threads

LOGIN = "/admin/login/"
# A hash that is cheap to check, because guesses are counted here.
CHEAP_HASH = ScryptPasswordHasher().encode("right", "salt", n=2, r=1, p=1)
FAILURES = "SELECT COALESCE(sum(failures_since_start), 0)::int FROM axes_accessattempt"

LogIn = Callable[..., Answer]


@pytest.fixture(scope="module")
def proxied_server(
    server: Server, served_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A Tallybook with two workers behind a proxy that ends TLS, on the other one's database."""
    running = Server(
        tmp_path_factory.mktemp("https"),
        DATABASE_URL=served_url,
        TALLYBOOK_HTTPS="true",
        TALLYBOOK_WORKERS="2",
    ).start()
    yield running
    running.stop()


@pytest.fixture
def user(sql: psycopg.Connection) -> Iterator[str]:
    """The superuser "ada" with the password "right", for whom no guess is counted."""
    sql.execute("DELETE FROM axes_accessattempt")
    sql.execute(
        "INSERT INTO auth_user (username, email, password, first_name, last_name, is_superuser, "
        "is_staff, is_active, date_joined) VALUES ('ada', '', %s, '', '', true, true, true, now())",
        [CHEAP_HASH],
    )
    yield "ada"
    sql.execute("DELETE FROM axes_accessattempt; DELETE FROM auth_user WHERE username = 'ada'")


def token_of(page: Answer) -> str:
    """Return the CSRF token of a login page."""
    token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page.body)
    assert token, page.body
    return token[1].decode()


def cookie_of(page: Answer) -> str:
    """Return the cookie that a browser sends back to a login page."""
    return page.headers["Set-Cookie"].split(";")[0]


@pytest.fixture
def log_in(proxied_server: Server, user: str) -> LogIn:
    """`log_in(password, name="ada", forwarded="192.0.2.1")` sends the form through the proxy."""

    def send(password: str, name: str = user, forwarded: str = "192.0.2.1") -> Answer:
        # A new connection, which any of the workers may accept.
        client = Client(proxied_server.port, None)
        headers = {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-For": forwarded,
            "Referer": f"https://127.0.0.1:{proxied_server.port}/admin/",
        }
        page = client("GET", LOGIN, headers=headers)
        headers["Cookie"] = cookie_of(page)
        form = {
            "username": name,
            "password": password,
            "next": "/admin/",
            "csrfmiddlewaretoken": token_of(page),
        }
        try:
            return client("POST", LOGIN, form=form, headers=headers)
        finally:
            client.close()

    return send


def test_a_name_is_locked_in_all_workers(log_in: LogIn) -> None:
    assert [log_in("wrong").status for _ in range(5)] == [200, 200, 200, 200, 429]
    assert {log_in("right").status for _ in range(8)} == {429}


def test_a_locked_name_may_log_in_from_another_address(log_in: LogIn) -> None:
    for _ in range(5):
        log_in("wrong")
    assert log_in("right", forwarded="192.0.2.2").status == 302


def test_of_thirty_guesses_at_once_two_a_second_are_checked(
    log_in: LogIn, sql: psycopg.Connection
) -> None:
    began = time.monotonic()
    # The password of an unknown name takes as long to check as a real one.
    answers = in_threads(30, lambda number: log_in("x", f"unknown {number}", "192.0.2.3"))
    seconds = time.monotonic() - began
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) == fetch_value(sql, FAILURES) <= 2 * seconds + 1


@pytest.mark.parametrize("password", ["wrong", "right"])
@pytest.mark.parametrize("charset", ["utf-7", "base64", "latin-1"])
def test_a_form_in_another_charset_is_rejected_before_its_password_is_checked(
    server: Server, user: str, sql: psycopg.Connection, charset: str, password: str
) -> None:
    client = Client(server.port, None)
    page = client("GET", LOGIN)
    fields = {
        "username": user,
        "password": password,
        "x": "+2AA-",
        "csrfmiddlewaretoken": token_of(page),
    }
    body = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    headers = {
        "Cookie": cookie_of(page),
        "Content-Type": f"multipart/form-data; boundary=x; charset={charset}",
    }
    answer = client("POST", LOGIN, body=f"{body}--x--\r\n".encode(), headers=headers)
    client.close()
    assert answer.status == 415
    assert fetch_value(sql, FAILURES) == 0


def test_cookies_behind_a_proxy_are_for_https_only(log_in: LogIn) -> None:
    cookies = log_in("right").headers.get_all("Set-Cookie")
    assert cookies
    by_name = {cookie.partition("=")[0]: cookie.lower() for cookie in cookies}
    assert set(by_name) == {"tallybook_sessionid", "tallybook_csrftoken"}
    for cookie in by_name.values():
        assert "; secure" in cookie
        assert "; samesite=lax" in cookie
    assert "; httponly" in by_name["tallybook_sessionid"]


def test_plain_http_behind_a_proxy_redirects_to_https_without_a_cookie(
    proxied_server: Server,
) -> None:
    client = Client(proxied_server.port, None)
    answer = client("GET", LOGIN, headers={"X-Forwarded-Proto": "http"})
    client.close()
    assert answer.status == 301
    assert answer.headers["Location"].startswith("https://")
    assert "Set-Cookie" not in answer.headers


def test_a_login_at_one_server_holds_at_another_on_the_same_database(
    server: Server, proxied_server: Server
) -> None:
    session = log_in_to(server)
    client = Client(proxied_server.port, None)
    cookies = "; ".join(f"{name}={value}" for name, value in session.cookies.items())
    headers = {"Cookie": cookies, "X-Forwarded-Proto": "https"}
    assert client("GET", "/admin/", headers=headers).status == 200
    client.close()
    session.close()
