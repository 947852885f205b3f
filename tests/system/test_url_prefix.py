"""Tallybook below a path of another site, behind a proxy that removes the path or keeps it."""

import re
from collections.abc import Iterator

import pytest

from tests.system.admin_session import AdminSession
from tests.system.server import API, Client, Server

# The path in the requests that the proxy sends: it keeps the prefix, or removes it.
BOTH = pytest.mark.parametrize("sent", ["/crm", ""], ids=["kept", "removed"])


@pytest.fixture(scope="module")
def prefixed(
    server: Server, served_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A Tallybook at /crm, on the database of the other one."""
    running = Server(
        tmp_path_factory.mktemp("prefixed"),
        DATABASE_URL=served_url,
        TALLYBOOK_URL_PREFIX="/crm",
        TALLYBOOK_WORKERS="1",
    ).start()
    yield running
    running.stop()


@pytest.fixture
def browser(prefixed: Server) -> Iterator[AdminSession]:
    session = AdminSession(prefixed)
    yield session
    session.close()


@BOTH
def test_the_root_leads_to_the_admin_below_the_prefix(browser: AdminSession, sent: str) -> None:
    assert browser("GET", f"{sent}/").headers["Location"] == "/crm/admin/"


@BOTH
def test_a_login_leads_to_the_admin_with_cookies_of_the_prefix(
    server: Server, browser: AdminSession, sent: str
) -> None:
    fields = {"username": "admin", "password": server.admin_password(), "next": ""}
    answer = browser.submit(f"{sent}/admin/login/", fields)
    assert (answer.status, answer.headers["Location"]) == (302, "/crm/admin/")
    cookies = answer.headers.get_all("Set-Cookie") or []
    assert len(cookies) == 2
    assert all("; Path=/crm/" in cookie for cookie in cookies)


@BOTH
def test_the_files_of_a_page_are_below_the_prefix(browser: AdminSession, sent: str) -> None:
    page = browser("GET", f"{sent}/api/docs/").body.decode()
    files = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css|png))"', page)
    assert files
    for file in files:
        assert file.startswith("/crm/static/")
        assert browser("GET", sent + file.removeprefix("/crm")).status == 200


@BOTH
def test_page_links_of_the_api_have_the_prefix(
    server: Server, prefixed: Server, http: Client, sent: str
) -> None:
    http.contact("ada@example.com")
    http.contact("bob@example.com")
    client = prefixed.client(server.auth)
    page = client("GET", f"{sent}{API}/subscribers?per_page=1").json()["subscribers"]
    client.close()
    assert page["next_page_url"] == f"/crm{API}/subscribers?per_page=1&page=2"


@pytest.mark.parametrize(
    "url",
    [f"/crm/{API}/tags", f"//crm//{API}/tags", "/crm/?rest_route=/fluent-crm/v2/tags"],
)
def test_the_api_is_at_each_url_that_wordpress_accepts(
    server: Server, prefixed: Server, http: Client, url: str
) -> None:
    client = prefixed.client(server.auth)
    answer = client("GET", url)
    client.close()
    assert (answer.status, answer.json()["tags"]["data"]) == (200, [])


@BOTH
def test_the_index_names_the_page_that_authorizes_below_the_prefix(
    prefixed: Server, browser: AdminSession, sent: str
) -> None:
    host = f"http://127.0.0.1:{prefixed.port}"
    index = browser("GET", f"{sent}/wp-json/").json()
    page = index["authentication"]["application-passwords"]["endpoints"]["authorization"]
    assert (index["url"], page) == (f"{host}/crm", f"{host}/crm/wp-admin/authorize-application.php")
    login = browser("GET", page.removeprefix(f"{host}/crm") + "?app_name=x").headers["Location"]
    assert login == "/crm/admin/login/?next=/crm/wp-admin/authorize-application.php%3Fapp_name%3Dx"


def test_the_api_description_names_the_prefix(browser: AdminSession) -> None:
    assert browser("GET", "/crm/api/schema/").json()["servers"] == [{"url": "/crm"}]


@BOTH
def test_health_checks_are_answered(browser: AdminSession, sent: str) -> None:
    assert browser("GET", f"{sent}/readyz").status == 200
