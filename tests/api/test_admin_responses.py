"""What browsers are told with every page of people's, and errors as pages and not as JSON."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client

from tests.system.server import API
from tests.system.server import Client as Program
from tests.test_roles import PAGES, Things, filled, people, things

__all__ = ["people", "things"]  # fixtures

STRICT = {
    "default-src": {"'self'"},
    "img-src": {"'self'", "data:"},
    "object-src": {"'none'"},
    "base-uri": {"'none'"},
    "form-action": {"'self'"},
    "frame-ancestors": {"'none'"},
}
# A script with code in it, a handler, a style: what the policy would not run.
INLINE = re.compile(
    r"<script(?![^>]*(?:\ssrc=|type=\"application/json\"))[^>]*>|<[^>]*\son[a-z]+=|<style|"
    r"<[^>]*\sstyle=|javascript:",
    re.IGNORECASE,
)


def policy(header: str | None) -> dict[str, set[str]]:
    directives = [part.split() for part in (header or "").split(";")]
    return {name: set(values) for name, *values in directives}


def test_every_page_of_the_admin_has_the_policy_and_nothing_that_it_forbids(
    people: dict[str, Client], things: Things
) -> None:
    doors = ["login/", "logout/"]
    visited = {
        "anybody": ["", *doors],
        "staff": ["", "crm/", "auth/user/"],
        "superuser": [*doors, *(path for path, *_ in PAGES)],
    }
    opened = set()
    for role, paths in visited.items():
        for path in paths:
            answer = people[role].get(filled(f"/admin/{path}", things))
            opened.add(answer.status_code)
            assert policy(answer.headers["Content-Security-Policy"]) == STRICT, path
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            if answer.headers["Content-Type"].startswith("text/html"):
                page = answer.content.decode()
                assert not INLINE.findall(page), path
                assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page), path
    assert opened == {200, 302, 403, 404, 405}


def test_the_description_of_the_api_runs_no_inline_script(api: Program) -> None:
    page = api("GET", "/api/docs/", auth=None)
    told = policy(page.headers["Content-Security-Policy"])
    assert told == STRICT | {"style-src": {"'self'", "'unsafe-inline'"}}
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page.body.decode(), re.DOTALL)
    assert len(scripts) == 3
    for attributes, code in scripts:
        source = re.search(r'src="(/[^"/][^"]*)"', attributes)
        assert source
        assert not code.strip()
        script = api("GET", source[1], auth=None)
        assert "javascript" in script.headers["Content-Type"]
    schema = api("GET", "/api/schema/", auth=None)
    assert policy(schema.headers["Content-Security-Policy"]) == STRICT


def test_programs_are_told_no_policy(api: Program) -> None:
    for path in (f"{API}/subscribers", "/nothing", "/healthz"):
        assert "Content-Security-Policy" not in api("GET", path).headers


def assert_is_a_page(text: str, sentence: str) -> None:
    assert sentence in text
    assert '<a href="/admin/">' in text
    assert not INLINE.findall(text)


def test_an_address_of_the_admin_that_is_none_is_a_page_and_json_elsewhere(
    people: dict[str, Client],
) -> None:
    answer = people["staff"].get("/admin/nothing/")
    assert answer.status_code == 404
    assert_is_a_page(answer.content.decode(), "There is no such page.")
    assert people["staff"].get("/nothing/").json()["code"] == "rest_no_route"


def test_the_way_in_is_found_without_a_slash_and_leads_nowhere_else(
    people: dict[str, Client],
) -> None:
    assert people["anybody"].get("/admin").headers["Location"] == "/admin/"
    answer = people["viewer"].get("/admin/login/?next=//example.com/")
    assert answer.headers["Location"] == "/admin/"


def test_what_somebody_may_not_see_is_a_page(people: dict[str, Client]) -> None:
    answer = people["viewer"].get("/admin/auth/user/")
    assert answer.status_code == 403
    assert_is_a_page(answer.content.decode(), "You are not allowed to do that.")


@contextmanager
def failing(error: Exception) -> Iterator[None]:
    """Every statement fails."""

    def fail(*_: object) -> None:
        raise error

    with connection.execute_wrapper(fail):
        yield


@pytest.mark.parametrize(
    ("error", "status", "retry", "sentence"),
    [
        (OperationalError("away"), 503, "1", "The database cannot answer right now."),
        (ValueError("a mistake"), 500, None, "Something went wrong here."),
    ],
    ids=["database", "mistake"],
)
def test_an_error_is_a_page_that_asks_the_database_nothing(
    db: None, error: Exception, status: int, retry: str | None, sentence: str
) -> None:
    browser = Client(raise_request_exception=False)
    browser.force_login(User.objects.create_superuser("admin"))
    with failing(error):
        answer = browser.get("/admin/crm/subscriber/")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry)
    assert_is_a_page(answer.content.decode(), sentence)
    assert policy(answer.headers["Content-Security-Policy"]) == STRICT


def test_a_host_that_is_not_ours_gets_a_page_without_its_name() -> None:
    answer = Client().get("/admin/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert_is_a_page(answer.content.decode(), "The request could not be understood.")
    assert "evil.example" not in answer.content.decode()
