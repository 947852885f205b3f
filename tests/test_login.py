"""Logging in as a browser does, behind a proxy that ends TLS: guesses are counted and stopped."""

import re
from collections.abc import Callable, Iterator

import psycopg
import pytest
from django.contrib.auth.hashers import ScryptPasswordHasher

from tests.system.server import API, Answer, Client, Server, basic
from tests.system.tools import in_threads

LOCKED = "Too many wrong passwords"
# A hash that costs nothing: what is tested is the counting.
CHEAP_HASH = ScryptPasswordHasher().encode("right", "salt", n=2, r=1, p=1)

Login = Callable[..., Answer]


@pytest.fixture(scope="module")
def behind_proxy(
    server: Server, served_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A Tallybook with production settings, on the database of the other one."""
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
    """Somebody with the password "right"; before and after, nobody has guessed."""
    sql.execute("DELETE FROM axes_accessattempt")
    sql.execute(
        "INSERT INTO auth_user (username, email, password, first_name, last_name, is_superuser, "
        "is_staff, is_active, date_joined) VALUES ('ada', '', %s, '', '', true, true, true, now())",
        [CHEAP_HASH],
    )
    yield "ada"
    sql.execute("DELETE FROM axes_accessattempt; DELETE FROM auth_user WHERE username = 'ada'")


def log_in(
    server: Server,
    name: str,
    password: str,
    forwarded: str | None = "192.0.2.1",
    user_agent: str = "test",
) -> Answer:
    """Open the login page and send its form, over a new connection, to whichever worker."""
    client = Client(server.port, None)
    origin = f"https://127.0.0.1:{server.port}"
    sent = {"X-Forwarded-Proto": "https", "Referer": f"{origin}/admin/", "User-Agent": user_agent}
    if forwarded is not None:
        sent["X-Forwarded-For"] = forwarded
    page = client("GET", "/admin/login/", headers=sent)
    token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page.body)
    assert token, page.body
    form = {
        "username": name,
        "password": password,
        "next": "/admin/",
        "csrfmiddlewaretoken": token[1].decode(),
    }
    sent["Cookie"] = page.headers["Set-Cookie"].split(";")[0]
    try:
        return client("POST", "/admin/login/", form=form, headers=sent)
    finally:
        client.close()


@pytest.fixture
def login(behind_proxy: Server, user: str) -> Login:
    """`login(password, name="ada", …)` behind the proxy."""

    def tried(password: str, name: str = user, **more: str) -> Answer:
        return log_in(behind_proxy, name, password, **more)

    return tried


def failures(sql: psycopg.Connection) -> int:
    row = sql.execute("SELECT sum(failures_since_start)::int FROM axes_accessattempt").fetchone()
    assert row
    return row[0] or 0


def lock(login: Login, **more: str) -> None:
    assert [login("wrong", **more).status for _ in range(5)] == [200, 200, 200, 200, 429]


def test_the_fifth_wrong_password_locks_the_name_from_that_address_and_the_page_says_so(
    login: Login,
) -> None:
    lock(login)
    for answer in (login("wrong"), login("right"), login("right", user_agent="another")):
        assert (answer.status, answer.headers["Retry-After"]) == (429, "600")
        assert answer.headers["Content-Type"].startswith("text/html")
        page = answer.body.decode()
        assert LOCKED in page
        assert "Try again in 10 minutes." in page
        assert 'id="login-form"' in page
        assert "sessionid" not in str(answer.headers)


def test_a_locked_name_may_log_in_from_elsewhere(login: Login) -> None:
    lock(login)
    assert login("right", forwarded="192.0.2.2").status == 302


def test_other_names_are_not_locked(login: Login) -> None:
    lock(login)
    assert login("right", name="ADA").status == 200


def test_a_right_password_makes_earlier_wrong_ones_forgotten(
    login: Login, sql: psycopg.Connection
) -> None:
    for _ in range(4):
        assert login("wrong").status == 200
    assert login("right").status == 302
    assert failures(sql) == 0
    assert login("wrong").status == 200
    # Nor is a record kept of who logged in.
    assert sql.execute("SELECT count(*) FROM axes_accesslog").fetchone() == (0,)


def test_a_lock_ends_after_ten_minutes_and_old_guesses_are_removed(
    login: Login, sql: psycopg.Connection
) -> None:
    lock(login)
    ago = "UPDATE axes_accessattempt SET attempt_time = attempt_time - %s::interval"
    sql.execute(ago, ["9 minutes"])
    assert login("right").status == 429
    sql.execute(ago, ["1 minute"])
    assert login("wrong", name="somebody").status == 200
    assert failures(sql) == 1
    assert login("right").status == 302


def test_of_thirty_guesses_at_once_five_are_looked_at(
    login: Login, sql: psycopg.Connection
) -> None:
    # Nobody's password takes as long to check as a real one.
    answers = in_threads(30, lambda number: login(f"guess {number}", name="nobody"))
    statuses = [answer.status for answer in answers]
    assert failures(sql) == 5
    # 503 is who waited for the others for two seconds.
    assert set(statuses) <= {200, 429, 503}
    assert statuses.count(200) <= 4


def test_who_writes_addresses_of_their_own_in_front_is_known_by_the_proxys(login: Login) -> None:
    for number in range(5):
        login("wrong", forwarded=f"198.51.100.{number}, 192.0.2.1")
    assert login("right").status == 429


def test_an_ipv6_address_stands_for_its_network(login: Login) -> None:
    for number in range(5):
        login("wrong", forwarded=f"2001:db8::{number}")
    assert login("right", forwarded="2001:db8::ffff:1").status == 429
    assert login("right", forwarded="2001:db8:0:1::1").status == 302


def test_without_a_proxy_the_header_is_not_believed(
    server: Server, user: str, sql: psycopg.Connection
) -> None:
    for number in range(5):
        log_in(server, user, "wrong", forwarded=f"192.0.2.{number}")
    assert log_in(server, user, "right", forwarded="192.0.2.9").status == 429


@pytest.mark.parametrize("header", [None, "unknown", "192.0.2.1:80", "::1%eth0", ",", "9" * 5000])
def test_nonsense_in_the_proxys_header_is_no_error(
    behind_proxy: Server, user: str, header: str | None
) -> None:
    assert log_in(behind_proxy, user, "wrong", forwarded=header).status == 200


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", "x" * 1_000_000),
        ("a" * 1_000_000, "right"),
        ("ada\0", "right\0"),
        ("\U0001f468" * 200, "\u202e"),
    ],
    ids=range(4),
)
def test_nonsense_for_a_name_or_a_password_gets_the_form_again(
    login: Login, name: str, password: str
) -> None:
    answer = login(password, name=name)
    assert answer.status == 200
    assert b'id="login-form"' in answer.body
    assert LOCKED not in answer.body.decode()


@pytest.mark.parametrize("charset", ["utf-7", "base64", "latin-1"])
def test_a_form_in_another_charset_is_refused_before_its_password_is_looked_at(
    server: Server, user: str, sql: psycopg.Connection, charset: str
) -> None:
    client = Client(server.port, None)
    page = client("GET", "/admin/login/")
    token = re.search(rb'name="csrfmiddlewaretoken" value="(\w+)"', page.body)
    assert token
    client.close()
    sent = {
        "Cookie": page.headers["Set-Cookie"].split(";")[0],
        "Content-Type": f"multipart/form-data; boundary=x; charset={charset}",
    }
    for password in ("wrong", "right"):
        fields = {"username": user, "password": password, "x": "+2AA-"}
        fields["csrfmiddlewaretoken"] = token[1].decode()
        body = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        )
        # Anew: what is refused before it is read ends its connection.
        client = Client(server.port, None)
        answer = client("POST", "/admin/login/", body=f"{body}--x--\r\n".encode(), headers=sent)
        assert answer.status == 415
        client.close()


def test_wrong_application_passwords_lock_nobody_out(
    server: Server, user: str, sql: psycopg.Connection
) -> None:
    client = server.client(basic(user, "wrong"))
    for _ in range(6):
        assert client("GET", f"{API}/subscribers").status == 401
    client.close()
    assert failures(sql) == 0


def test_behind_a_proxy_cookies_are_for_https_alone_and_scripts_do_not_see_the_session(
    login: Login, behind_proxy: Server
) -> None:
    cookies = login("right").headers.get_all("Set-Cookie")
    assert cookies
    by_name = {cookie.partition("=")[0]: cookie.lower() for cookie in cookies}
    assert set(by_name) == {"sessionid", "csrftoken"}
    for cookie in by_name.values():
        assert "; secure" in cookie
        assert "; samesite=lax" in cookie
    assert "; httponly" in by_name["sessionid"]
    plain = Client(behind_proxy.port, None)
    answer = plain("GET", "/admin/login/")
    plain.close()
    assert answer.status == 301
    assert answer.headers["Location"].startswith("https://")
    assert "Set-Cookie" not in answer.headers
