"""Pages of other sites that call the API from a browser (CORS)."""

import json
from types import ModuleType
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import DjangoAssertNumQueries
from pytest_django.fixtures import Settings

from config.server import work
from config.server.work import WorkClass
from crm.models import Tag
from tests.api.conftest import MakePassword, basic

API = "/wp-json/fluent-crm/v2"
SHOP, OTHER = "https://shop.example.com", "https://other.example.com"
ASKING = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization",
}
PATHS = [
    f"{API}/subscribers",
    "/subscribers/track-event",
    "/event",
    "/api/3/eventTracking",
    "/wp-json/wp/v2/users",
    "/wp-json/",
    "/nothing",
    "//wp-json//fluent-crm/v2/tags",
]
PAGES = [
    "/admin/",
    "/admin/crm/tag/",
    "/wp-admin/authorize-application.php",
    "/api/docs/",
    "/",
    "/readyz",
]
Response = tuple[int, dict[str, str], Any]


@pytest.fixture
def fetch(send: Any) -> Any:
    """Send what a browser sends for a page of SHOP."""

    def ask(path: str, method: str = "GET", body: bytes = b"", **headers: str) -> Response:
        sent = {"host": "localhost", "origin": SHOP, **headers}
        if body:
            sent |= {"content-length": str(len(body))}
        response: Response = send(*[body] * bool(body), method=method, path=path, headers=sent)
        return response

    return ask


@pytest.fixture
def login(admin: User, make_password: MakePassword) -> dict[str, str]:
    return {"authorization": basic("admin", make_password(admin))}


@pytest.mark.parametrize("path", PATHS)
def test_a_preflight_of_any_site_needs_no_credentials_and_no_statement(
    fetch: Any, django_assert_num_queries: DjangoAssertNumQueries, path: str
) -> None:
    with django_assert_num_queries(0):
        status, headers, body = fetch(path, "OPTIONS", **ASKING)
    assert (status, body) == (200, b"")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in headers


def test_a_preflight_is_answered_although_no_class_of_work_has_a_place(
    fetch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "API", WorkClass("api", 0, 0))
    assert fetch(f"{API}/tags", "OPTIONS", **ASKING)[0] == 200


def test_a_preflight_names_the_methods_and_headers_of_the_api(fetch: Any) -> None:
    _, headers, _ = fetch(f"{API}/tags", "OPTIONS", **ASKING)
    methods = headers["Access-Control-Allow-Methods"].split(", ")
    assert {"GET", "POST", "PUT", "DELETE"} <= set(methods)
    names = headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Api-Token", "Authorization", "Content-Type", "Idempotency-Key"} <= set(names)


@pytest.mark.parametrize("path", PAGES)
def test_pages_of_the_admin_answer_no_other_site(fetch: Any, path: str) -> None:
    for method, more in (("OPTIONS", ASKING), ("GET", {})):
        _, headers, _ = fetch(path, method, **more)
        assert "Access-Control-Allow-Origin" not in headers


def test_options_that_no_browser_asks_needs_credentials(fetch: Any, send: Any) -> None:
    assert fetch(f"{API}/tags", "OPTIONS")[0] == 401
    status, _, _ = send(
        method="OPTIONS", path=f"{API}/tags", headers={"host": "localhost", **ASKING}
    )
    assert status == 401


def test_a_page_reads_a_response_and_its_headers(fetch: Any, login: dict[str, str]) -> None:
    status, headers, _ = fetch(f"{API}/tags", **login)
    assert status == 200
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Expose-Headers"] == "Idempotency-Replayed, Retry-After"
    assert "Access-Control-Allow-Credentials" not in headers


def test_who_is_no_browser_gets_no_header_of_cors(send: Any) -> None:
    _, headers, _ = send(path=f"{API}/tags")
    assert not [name for name in headers if name.startswith("Access-Control")]


def readable(response: Response) -> int:
    """Return the status of a response that a page can read."""
    status, headers, _ = response
    assert headers["Access-Control-Allow-Origin"] == "*"
    return status


def test_a_page_reads_errors(
    fetch: Any, login: dict[str, str], rsgi: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    json_type = {"content-type": "application/json"}
    assert readable(fetch(f"{API}/tags")) == 401
    assert readable(fetch(f"{API}/tags/1", **login)) == 404
    assert readable(fetch("/nothing", **login)) == 404
    assert readable(fetch(f"{API}/tags", "PATCH", **login)) == 405
    assert readable(fetch(f"{API}/tags", "POST", b"{", **login, **json_type)) == 400
    assert readable(fetch(f"{API}/tags", "POST", b"{}", **login, **json_type)) == 422
    too_long = {"content-length": "99999999", **json_type}
    assert readable(fetch(f"{API}/tags", "POST", **login, **too_long)) == 413
    monkeypatch.setattr(rsgi, "PACE_SECONDS", (0, 0))
    monkeypatch.setattr(rsgi, "respond", lambda *_: rsgi.Answer(429, []))
    assert readable(fetch(f"{API}/tags")) == 429
    monkeypatch.setattr(work, "API", WorkClass("api", 0, 0))
    assert readable(fetch(f"{API}/tags")) == 503


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain"])
def test_a_simple_request_with_a_login_that_the_browser_remembers_is_403(
    fetch: Any, login: dict[str, str], content_type: str
) -> None:
    browser = {"sec-fetch-mode": "cors", "sec-fetch-site": "cross-site"}
    sent = {**login, **browser, "content-type": content_type}
    status, _, body = fetch(f"{API}/tags", "POST", b"title=VIP", **sent)
    assert (status, json.loads(body)["code"]) == (403, "rest_forbidden")
    assert not Tag.objects.exists()


@pytest.mark.parametrize(
    "browser", [{}, {"sec-fetch-mode": "cors", "sec-fetch-site": "cross-site"}]
)
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"title":"VIP"}'),
        ("application/x-www-form-urlencoded", b"title=VIP"),
    ],
)
def test_a_page_with_a_token_of_its_own_sends_json_and_forms(
    fetch: Any,
    admin: User,
    make_password: MakePassword,
    browser: dict[str, str],
    content_type: str,
    body: bytes,
) -> None:
    token = {"authorization": f"Bearer {make_password(admin)}", "content-type": content_type}
    assert readable(fetch(f"{API}/tags", "POST", body, **token, **browser)) == 200


def test_a_page_with_basic_sends_json(fetch: Any, login: dict[str, str]) -> None:
    browser = {"sec-fetch-mode": "cors", "sec-fetch-site": "cross-site"}
    sent = {**login, **browser, "content-type": "application/json"}
    assert readable(fetch(f"{API}/tags", "POST", b'{"title":"VIP"}', **sent)) == 200


def test_a_page_with_basic_deletes(fetch: Any, login: dict[str, str]) -> None:
    tag = Tag.objects.create(title="VIP", slug="vip")
    browser = {"sec-fetch-mode": "cors", "sec-fetch-site": "cross-site"}
    assert readable(fetch(f"{API}/tags/{tag.pk}", "DELETE", **login, **browser)) == 200


def test_a_list_of_sites_names_the_one_that_asks(fetch: Any, settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [SHOP, "http://localhost:3000"]
    for method, more in (("OPTIONS", ASKING), ("GET", {})):
        _, headers, _ = fetch(f"{API}/tags", method, **more)
        assert headers["Access-Control-Allow-Origin"] == SHOP
        assert headers["Vary"] == "Origin"
        assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("allowed", [[OTHER], []])
def test_a_site_that_is_not_listed_is_not_answered(
    fetch: Any, settings: Settings, allowed: list[str]
) -> None:
    settings.CORS_ALLOWED_ORIGINS = allowed
    for method, more in (("OPTIONS", ASKING), ("GET", {})):
        status, headers, _ = fetch(f"{API}/tags", method, **more)
        assert status == 401
        assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(("protocol", "status"), [("https", 200), ("HTTPS", 200), ("http", 401)])
def test_behind_tls_a_page_may_ask_over_https_alone(
    fetch: Any, settings: Settings, protocol: str, status: int
) -> None:
    settings.HTTPS = True
    asking = {**ASKING, "x-forwarded-proto": protocol}
    assert fetch(f"{API}/tags", "OPTIONS", **asking)[0] == status
