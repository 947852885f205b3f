"""Every URL has a rule: the API's calls by scopes and by users, all others by name.

A URL that is added to the API needs rows in CALLS and PERMISSIONS (tests/api/calls.py), a public
one a row in PUBLIC, and one of the admin a row in PAGES (tests/api/roles.py).
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from tests.api.calls import ANY, CALLS, OLD_DOOR, OPEN_CALL, OTHERS, PERMISSIONS, send
from tests.api.conftest import MakePassword, basic

SCOPES = ("track", "read", "manage")
# The address of incoming webhooks, which has its credential in the query.
SITE = {("GET", "/fluentcrm"), ("POST", "/fluentcrm")}
# Who has no application password gets something from these alone. Static files and health checks
# are answered by middleware: tests/api/test_access.py.
PUBLIC = {"", "admin", "api/schema/", "api/docs/", "^wp-json/?$"}
# Pages of the admin that are elsewhere: tests/api/test_authorize.py.
PAGES = {"wp-admin/authorize-application.php"}
ROWS = [(method, path, scope, PERMISSIONS[method, path]) for method, path, scope in CALLS]


def routes(patterns: list[Any], before: str = "") -> Iterator[tuple[str, URLPattern]]:
    """Return every URL of the project with its route, without those of the admin."""
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if pattern.namespace != "admin":
                yield from routes(pattern.url_patterns, route)
        else:
            yield route, pattern


ROUTES = list(routes(get_resolver().url_patterns))


def path_of(route: str) -> str:
    """Return the path that CALLS has for the route of a router."""
    path = route.removeprefix("wp-json/fluent-crm/v2/")
    # One pattern of many paths, of which the first is called.
    path = re.sub(r"\(\?P<route>([^|)]*)[^)]*\)", r"\1", path).replace("[0-9]{1,20}/", "1/")
    path = re.sub(r"\(\?P<\w+>(\[[^\]]*\]|[^()])*\)", "1", path).replace("<path:path>", "1")
    return "/" + re.sub(r"[\^$?\\]|/\?$|\.\(\?P.*", "", path).rstrip("/")


def calls_of(prefix: str) -> set[tuple[str, str]]:
    """Return the calls that the resolver knows below a prefix, or at the root."""
    return {
        (method.upper(), path_of(route))
        for route, pattern in ROUTES
        if route.startswith("wp-json/fluent-crm/") is bool(prefix)
        for method in getattr(pattern.callback, "actions", {})
        if method != "head"  # as GET
    }


def test_every_url_is_a_call_or_public() -> None:
    other = {route for route, pattern in ROUTES if not hasattr(pattern.callback, "actions")}
    assert other == PUBLIC | PAGES


def test_every_call_of_the_resolver_is_in_the_table_and_no_other() -> None:
    assert calls_of("") == {OPEN_CALL, *OLD_DOOR, *SITE, *PERMISSIONS}


def test_fluentcrms_calls_are_at_wordpress_prefix_too() -> None:
    others = {call for call in calls_of("") if call[1].startswith(OTHERS)}
    assert calls_of("wp-json") == calls_of("") - others - SITE


def test_every_call_has_a_scope_and_permissions() -> None:
    assert {(method, path) for method, path, _ in CALLS} == set(PERMISSIONS)


@pytest.fixture(scope="session")
def all_permissions(django_db_setup: None, django_db_blocker: Any) -> dict[str, int]:
    """The id of each permission, by the name that has_perm takes."""
    with django_db_blocker.unblock():
        rows = Permission.objects.select_related("content_type")
        return {f"{row.content_type.app_label}.{row.codename}": row.pk for row in rows}


@pytest.fixture
def client_with(make_password: MakePassword, all_permissions: dict[str, int]) -> Any:
    """`client_with(permissions, scope)` is a client of a user with these, and no other."""

    def make(names: Any, scope: str, **fields: Any) -> APIClient:
        user = User.objects.create(username="clerk", **fields)
        user.user_permissions.set([all_permissions[name] for name in names])
        client = APIClient()
        client.credentials(
            HTTP_AUTHORIZATION=basic("clerk", secret := make_password(user, scope)),
            HTTP_API_TOKEN=secret,
        )
        return client

    return make


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(("method", "path", "needed", "permissions"), ROWS)
def test_a_call_is_allowed_to_its_scope_for_a_user_with_its_permissions_alone(
    client_with: Any,
    method: str,
    path: str,
    needed: str | None,
    permissions: tuple[str, ...],
    scope: str,
) -> None:
    status = send(client_with(permissions, scope), method, path, {}).status_code
    assert (status not in (401, 403)) is (needed == ANY or scope in (needed, "manage"))


@pytest.mark.parametrize(
    ("method", "path", "lacking"),
    [(method, path, name) for method, path, _, names in ROWS for name in names],
)
def test_a_call_is_403_without_one_of_its_permissions_but_with_all_others(
    client_with: Any, all_permissions: dict[str, int], method: str, path: str, lacking: str
) -> None:
    client = client_with(all_permissions.keys() - {lacking}, "manage", is_staff=True)
    assert send(client, method, path, {}).status_code == 403


@pytest.mark.parametrize(("method", "path"), list(PERMISSIONS))
def test_a_call_is_401_for_a_user_who_is_not_active(
    client_with: Any, method: str, path: str
) -> None:
    client = client_with((), "manage", is_active=False, is_superuser=True)
    assert send(client, method, path, {}).status_code == 401
