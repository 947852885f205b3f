"""config.server.target: the method, path and query that a request means."""

import pytest
from pytest_django.fixtures import Settings

from config.server.target import Target, target_of
from tests.api.rsgi import scope

API = "/wp-json/fluent-crm/v2"


def path_of(path: str, query: str = "") -> str:
    return target_of(scope(path=path, query_string=query)).path


def method_of(method: str, path: str = f"{API}/tags/1", query: str = "", **headers: str) -> str:
    return target_of(scope(method=method, path=path, query_string=query, headers=headers)).method


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        (f"{API}/tags", f"{API}/tags"),
        (f"/{API}/tags", f"{API}/tags"),
        ("///wp-json///fluent-crm//v2//tags//", f"{API}/tags/"),
        ("/wp-json//fluent-crm/v2/tags", f"{API}/tags"),
        ("//subscribers//track-event", "/subscribers/track-event"),
        ("//event", "/event"),
        ("//wp-admin//authorize-application.php", "/wp-admin/authorize-application.php"),
        ("//", "/"),
    ],
)
def test_a_run_of_slashes_is_one(path: str, cleaned: str) -> None:
    assert path_of(path) == cleaned


@pytest.mark.parametrize(
    "path", ["//admin/", "/admin//login/", "//api/docs/", "//static/x.css", "//api//schema"]
)
def test_pages_of_the_admin_are_at_their_own_paths_alone(path: str) -> None:
    assert path_of(path) == path


@pytest.mark.parametrize(
    "path", ["/admin/api.php", "/admin/api.php/", "//admin/api.php", "/admin//api.php"]
)
def test_activecampaigns_old_door_is_outside_the_admin(path: str) -> None:
    assert path_of(path) == "/activecampaign"


@pytest.mark.parametrize("path", ["/admin/api.phpx", "/admin/api.php/x", "/admin/x/api.php"])
def test_another_path_of_the_admin_is_none(path: str) -> None:
    assert path_of(path) == path


def test_a_path_behind_index_php_is_that_of_the_api() -> None:
    assert path_of(f"/index.php{API}/tags") == f"{API}/tags"
    assert path_of("/index.php/admin/") == "/index.php/admin/"


def test_the_name_of_an_event_keeps_its_slashes() -> None:
    path = "//api//3/eventTrackingEvents/https://example.com//a"
    assert path_of(path) == "/api/3/eventTrackingEvents/https://example.com//a"


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("/crm", ""),
        ("/crm/", "/"),
        ("/crm/admin/crm/tag/", "/admin/crm/tag/"),
        ("/admin/crm/tag/", "/admin/crm/tag/"),
        ("/crmx/admin/", "/crmx/admin/"),
        ("/crm/crm/", "/crm/"),
        ("/", "/"),
        (f"/crm/{API}/tags", f"{API}/tags"),
        (f"//crm{API}/tags", f"{API}/tags"),
        ("//crm//admin/", "//crm//admin/"),
    ],
)
def test_the_prefix_is_removed_once_where_a_path_has_it(
    settings: Settings, path: str, rest: str
) -> None:
    settings.FORCE_SCRIPT_NAME = "/crm"
    assert path_of(path) == rest


@pytest.mark.parametrize("path", ["", "/", "/crm/"])
def test_without_a_prefix_paths_stay(path: str) -> None:
    assert path_of(path) == path


@pytest.mark.parametrize("path", ["/", "/index.php", "//", "//index.php", ""])
@pytest.mark.parametrize(
    ("query", "meant", "others"),
    [
        ("rest_route=/fluent-crm/v2/tags", f"{API}/tags", ""),
        ("rest_route=%2Ffluent-crm%2Fv2%2Ftags%2F1&x=1", f"{API}/tags/1", "x=1"),
        (
            "per_page=2&rest_route=//fluent-crm/v2//tags&a[]=%26",
            f"{API}/tags",
            "per_page=2&a[]=%26",
        ),
        ("rest_route=/", "/wp-json/", ""),
        ("rest_route=/wp/v2/users/me", "/wp-json/wp/v2/users/me", ""),
        ("rest_route=/../admin/", "/wp-json/../admin/", ""),
    ],
)
def test_rest_route_is_the_path_behind_wp_json(
    path: str, query: str, meant: str, others: str
) -> None:
    assert target_of(scope(path=path, query_string=query)) == Target("GET", meant, others)


@pytest.mark.parametrize("query", ["", "rest_route=", "xrest_route=/fluent-crm/v2/tags"])
def test_the_root_without_a_rest_route_stays(query: str) -> None:
    assert target_of(scope(query_string=query)) == Target("GET", "/", query)


def test_rest_route_means_nothing_elsewhere() -> None:
    assert path_of(f"{API}/tags", "rest_route=/fluent-crm/v2/lists") == f"{API}/tags"


@pytest.mark.parametrize("method", ["DELETE", "put", "Get"])
def test_post_may_stand_for_another_method(method: str) -> None:
    assert method_of("POST", **{"x-http-method-override": method}) == method.upper()
    assert method_of("POST", query=f"_method={method}") == method.upper()


def test_the_parameter_wins_over_the_header_as_in_wordpress() -> None:
    assert method_of("POST", query="_method=PUT", **{"x-http-method-override": "DELETE"}) == "PUT"


def test_an_empty_method_is_none() -> None:
    assert method_of("POST", query="_method=", **{"x-http-method-override": ""}) == "POST"


def test_the_parameter_of_the_method_is_no_parameter_of_the_call() -> None:
    sent = scope(method="POST", path=f"{API}/tags", query_string="_method=GET&page=2")
    assert target_of(sent) == Target("GET", f"{API}/tags", "page=2")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "OPTIONS"])
def test_only_post_stands_for_another_method(method: str) -> None:
    headers = {"x-http-method-override": "DELETE"}
    assert method_of(method, query="_method=DELETE", **headers) == method


def test_a_form_of_the_admin_stands_for_no_other_method() -> None:
    headers = {"x-http-method-override": "GET"}
    assert method_of("POST", "/admin/crm/tag/add/", "_method=GET", **headers) == "POST"
