"""The headers of the pages for people, their errors as pages, and the API's without either."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.http.response import HttpResponseBase
from django.test import Client
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from tests.api.pages import browser_of
from tests.api.roles import PAGES, RoleStore, role_store
from tests.api.snapshots import without_snapshots

pytestmark = pytest.mark.django_db
PREFIX = "/wp-json/fluent-crm/v2"
STRICT = {
    "default-src": {"'self'"},
    "img-src": {"'self'", "data:"},
    "object-src": {"'none'"},
    "base-uri": {"'none'"},
    "form-action": {"'self'"},
    "frame-ancestors": {"'none'"},
}
# What the policy would not run: a script with code in it, a handler, a style.
INLINE = re.compile(
    r"<script(?![^>]*(?:\ssrc=|type=\"application/json\"))[^>]*>|<[^>]*\son[a-z]+=|<style|"
    r"<[^>]*\sstyle=|javascript:",
    re.IGNORECASE,
)
OTHER_HOST = re.compile(r'(?:src|href|action)="(?:https?:)?//')


def policy_of(response: HttpResponseBase) -> dict[str, set[str]]:
    """Return the directives of the Content-Security-Policy header."""
    header = response.headers["Content-Security-Policy"]
    directives = [part.split() for part in header.split(";")]
    return {name: set(values) for name, *values in directives}


@pytest.fixture(scope="module")
def rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[RoleStore]:
    """One row of each model, and a user of each role."""
    with django_db_blocker.unblock(), role_store() as store:
        yield store


VISITED = pytest.mark.parametrize(
    ("role", "path"),
    [
        *(("anonymous", path) for path in ("", "login/", "logout/")),
        *(("staff", path) for path in ("", "crm/", "auth/user/")),
        *(("superuser", path) for path in ("login/", "logout/", *(path for path, *_ in PAGES))),
    ],
)


@VISITED
def test_a_page_of_the_admin_has_the_headers_of_security(
    rows: RoleStore, role: str, path: str
) -> None:
    with without_snapshots():
        response = rows.browser(role).get(rows.url(path))
    response.getvalue()  # closes the file of an export
    assert policy_of(response) == STRICT
    assert response.headers["Referrer-Policy"] == "same-origin"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["X-Frame-Options"] == "DENY"


@VISITED
def test_a_page_of_the_admin_has_nothing_that_its_policy_forbids(
    rows: RoleStore, role: str, path: str
) -> None:
    with without_snapshots():
        page = rows.browser(role).get(rows.url(path)).getvalue().decode()
    assert not INLINE.findall(page)
    assert not OTHER_HOST.findall(page)


DOCS = "/api/docs/"


def scripts_of(page: str) -> list[tuple[str, str]]:
    """Return the attributes and the code of each script of a page."""
    return re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)


def test_the_description_of_the_api_may_have_styles_inside(anonymous: APIClient) -> None:
    response = anonymous.get(DOCS)
    assert policy_of(response) == STRICT | {"style-src": {"'self'", "'unsafe-inline'"}}


def test_the_description_of_the_api_has_three_scripts_and_no_code_inside(
    anonymous: APIClient,
) -> None:
    scripts = scripts_of(anonymous.get(DOCS).content.decode())
    assert [code.strip() for _, code in scripts] == ["", "", ""]


@pytest.mark.parametrize("position", range(3))
def test_a_script_of_the_description_comes_from_this_host(
    anonymous: APIClient, position: int
) -> None:
    attributes, _ = scripts_of(anonymous.get(DOCS).content.decode())[position]
    source = re.search(r'src="(/[^"/][^"]*)"', attributes)
    assert source
    script = anonymous.get(source[1])
    script.getvalue()  # closes the file
    assert "javascript" in script.headers["Content-Type"]


def test_the_schema_of_the_api_has_the_policy(anonymous: APIClient) -> None:
    assert policy_of(anonymous.get("/api/schema/")) == STRICT


@pytest.mark.parametrize("path", [f"{PREFIX}/subscribers", "/nothing", "/healthz"])
def test_api_clients_get_no_policy(api: APIClient, path: str) -> None:
    assert "Content-Security-Policy" not in api.get(path).headers


def assert_is_a_page(response: Any, sentence: str) -> None:
    text = response.content.decode()
    assert sentence in text
    assert '<a href="/admin/">' in text
    assert not INLINE.findall(text)


def test_a_url_that_the_admin_does_not_have_is_a_page(rows: RoleStore) -> None:
    response = rows.browser("staff").get("/admin/nothing/")
    assert response.status_code == 404
    assert_is_a_page(response, "There is no such page.")


def test_a_url_outside_the_admin_that_does_not_exist_is_json(rows: RoleStore) -> None:
    assert rows.browser("staff").get("/nothing/").json()["code"] == "rest_no_route"


def test_the_admin_is_found_without_its_slash(anonymous: APIClient) -> None:
    assert anonymous.get("/admin").headers["Location"] == "/admin/"


def test_the_login_redirects_to_no_other_host(rows: RoleStore) -> None:
    response = rows.browser("viewer").get("/admin/login/?next=//example.com/")
    assert response.headers["Location"] == "/admin/"


def test_a_missing_permission_is_a_page(rows: RoleStore) -> None:
    response = rows.browser("viewer").get("/admin/auth/user/")
    assert response.status_code == 403
    assert_is_a_page(response, "You are not allowed to do that.")


@contextmanager
def failing(error: Exception) -> Iterator[None]:
    """Let every statement fail."""

    def fail(*_: object) -> None:
        raise error

    with connection.execute_wrapper(fail):
        yield


@pytest.mark.parametrize(
    ("error", "status", "retry_after", "sentence"),
    [
        (OperationalError("away"), 503, "1", "The database cannot answer right now."),
        (ValueError("a mistake"), 500, None, "Something went wrong here."),
    ],
    ids=["database", "mistake"],
)
def test_an_error_is_a_page_that_asks_the_database_nothing(
    admin: User, error: Exception, status: int, retry_after: str | None, sentence: str
) -> None:
    browser = browser_of(admin)
    browser.raise_request_exception = False
    with failing(error):
        response = browser.get("/admin/crm/subscriber/")
    assert (response.status_code, response.headers.get("Retry-After")) == (status, retry_after)
    assert_is_a_page(response, sentence)
    assert policy_of(response) == STRICT


def test_an_unknown_host_gets_a_page_that_does_not_name_it() -> None:
    response = Client().get("/admin/", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert_is_a_page(response, "The request could not be understood.")
    assert "evil.example" not in response.content.decode()
