"""WordPress's doors through the web server: odd paths and methods, the index, users, a login."""

import json
from types import ModuleType
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from config.server import work
from crm.models import Subscriber, Tag
from tests.api.conftest import MakePassword, basic
from tests.api.rsgi import HTTPProtocol, scope

API = "/wp-json/fluent-crm/v2"
JSON = "application/json"


@pytest.fixture
def call(send: Any, admin: User, make_password: MakePassword) -> Any:
    """Send a request through the web server: `call("GET /path?query", {"field": …})`.

    Returns the status and the JSON of the response.
    """

    def ask(target: str, data: Any = None, scope: str = "manage", **headers: str) -> Any:
        method, _, url = target.partition(" ")
        path, _, query = url.partition("?")
        body = b"" if data is None else json.dumps(data).encode()
        sent = {
            "host": "localhost",
            "authorization": basic("admin", make_password(admin, scope)),
            **({"content-type": JSON, "content-length": str(len(body))} if body else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        parts = {"method": method, "path": path, "query_string": query, "headers": sent}
        status, _, content = send(*([body] if body else []), **parts)
        return status, json.loads(content)

    return ask


@pytest.fixture
def tag(db: None) -> Tag:
    return Tag.objects.create(title="VIP", slug="vip")


@pytest.mark.parametrize(
    "url",
    [
        f"/{API}/tags/{{}}",
        "//wp-json//fluent-crm/v2///tags//{}/",
        "/?rest_route=/fluent-crm/v2/tags/{}",
        "/index.php?rest_route=%2Ffluent-crm%2Fv2%2Ftags%2F{}",
        "//?rest_route=//fluent-crm/v2/tags/{}/",
    ],
)
def test_a_tag_is_found_at_each_url_that_wordpress_accepts(call: Any, tag: Tag, url: str) -> None:
    status, body = call("GET " + url.format(tag.pk))
    assert (status, body["tag"]["slug"]) == (200, "vip")


def test_an_event_is_tracked_at_a_path_with_two_slashes(call: Any, ada: Subscriber) -> None:
    event = {"event_key": "k", "title": "t", "email": "ada@example.com"}
    status, _ = call(f"POST /{API}//subscribers/track-event", event)
    assert (status, ada.tracked_events.count()) == (200, 1)


def test_the_other_parameters_of_a_rest_route_are_those_of_the_call(call: Any, tag: Tag) -> None:
    Tag.objects.create(title="Guest", slug="guest")
    query = "rest_route=/fluent-crm/v2/tags&per_page=1&sort_by=id&sort_order=ASC"
    _, body = call(f"GET /?{query}")
    page = body["tags"]
    assert [row["slug"] for row in page["data"]] == ["vip"]
    assert page["next_page_url"] == (f"{API}/tags?per_page=1&sort_by=id&sort_order=ASC&page=2")


@pytest.mark.parametrize("scope", ["read", "manage"])
def test_a_rest_route_that_is_none_is_404_in_json(call: Any, scope: str) -> None:
    status, body = call("POST /?rest_route=/acme/v1/x", {}, scope)
    assert (status, body["code"]) == (404, "rest_no_route")


def test_an_odd_path_is_in_the_class_of_work_of_the_one_that_it_means(rsgi: ModuleType) -> None:
    def class_of(**parts: Any) -> Any:
        return rsgi.Request(rsgi.application, scope(**parts), HTTPProtocol())._class

    path = "//wp-json//fluent-crm/v2/subscribers//track-event"
    assert class_of(method="POST", path=path) is work.TRACKING
    query = "rest_route=/fluent-crm/v2/subscribers&search=ada"
    assert class_of(path="/", query_string=query) is work.MANY
    query = "_method=DELETE"
    assert class_of(method="POST", path="/tags/1", query_string=query) is work.MANY


@pytest.mark.parametrize(
    ("query", "headers"),
    [("", {"x_http_method_override": "DELETE"}), ("?_method=delete", {})],
)
def test_post_deletes_where_it_stands_for_delete(
    call: Any, tag: Tag, query: str, headers: dict[str, str]
) -> None:
    status, body = call(f"POST {API}/tags/{tag.pk}{query}", **headers)
    assert (status, body) == (200, {"message": "Successfully removed the tag."})
    assert not Tag.objects.exists()


@pytest.mark.parametrize("scope", ["track", "read"])
def test_the_rights_are_those_of_the_method_that_post_stands_for(
    call: Any, tag: Tag, scope: str
) -> None:
    status, _ = call(f"POST {API}/tags/{tag.pk}?_method=DELETE", scope=scope)
    assert (status, Tag.objects.count()) == (403, 1)


def test_post_reads_with_the_scope_read_where_it_stands_for_get(call: Any, tag: Tag) -> None:
    status, body = call(f"POST {API}/tags/{tag.pk}", scope="read", x_http_method_override="GET")
    assert (status, body["tag"]["slug"]) == (200, "vip")


@pytest.mark.parametrize("method", ["PURGE", "GET /x", "\0", "é" * 300, "OPTIONS\n"])
def test_a_method_that_there_is_not_is_405_and_does_nothing(call: Any, method: str) -> None:
    status, body = call(f"POST {API}/tags?_method={quote(method)}", {"title": "New"})
    assert (status, body["code"]) == (405, "rest_method_not_allowed")
    assert not Tag.objects.exists()


def test_a_link_stands_for_no_other_method(call: Any, tag: Tag) -> None:
    status, _ = call(f"GET {API}/tags/{tag.pk}?_method=DELETE", x_http_method_override="DELETE")
    assert (status, Tag.objects.count()) == (200, 1)


@pytest.mark.parametrize("mode", ["navigate", "cors"])
def test_a_form_of_another_site_that_stands_for_delete_is_403(
    call: Any, tag: Tag, mode: str
) -> None:
    status, _ = call(
        f"POST {API}/tags/{tag.pk}?_method=DELETE",
        sec_fetch_mode=mode,
        sec_fetch_site="cross-site",
        content_type="application/x-www-form-urlencoded",
    )
    assert (status, Tag.objects.count()) == (403, 1)


@pytest.mark.parametrize(
    "content_type",
    ["application/vnd.api+json", "Application/LD+JSON; charset=utf-8", "application/a.b-c+json"],
)
def test_a_content_type_that_names_json_is_read_as_json(call: Any, content_type: str) -> None:
    status, _ = call(f"POST {API}/tags", {"title": "VIP"}, content_type=content_type)
    assert (status, Tag.objects.get().title) == (200, "VIP")


def test_a_body_without_a_content_type_is_read_as_json(call: Any) -> None:
    status, _ = call(f"POST {API}/tags", {"title": "VIP"}, content_type="")
    assert (status, Tag.objects.get().title) == (200, "VIP")


@pytest.mark.parametrize("content_type", ["application/json+x", "text/x+json", "application/+json"])
def test_another_content_type_stays_415(call: Any, content_type: str) -> None:
    status, _ = call(f"POST {API}/tags", {"title": "VIP"}, content_type=content_type)
    assert status == 415


@pytest.mark.parametrize("scheme", ["Basic  {}", " Basic {} ", "basic \t {}"])
def test_whitespace_around_the_credentials_is_ignored(
    anonymous: APIClient, admin: User, make_password: MakePassword, scheme: str
) -> None:
    encoded = basic("admin", make_password(admin)).removeprefix("Basic ")
    response = anonymous.get("/tags", headers={"Authorization": scheme.format(encoded)})
    assert response.status_code == 200


@pytest.mark.parametrize("url", ["/wp-json/", "/wp-json", "//wp-json//", "/?rest_route=/"])
def test_the_index_tells_anyone_where_a_password_is_to_be_had(send: Any, url: str) -> None:
    path, _, query = url.partition("?")
    status, _, content = send(path=path, query_string=query)
    index = json.loads(content)
    assert status == 200
    assert index == {
        "name": "Tallybook",
        "description": "",
        "url": "http://localhost",
        "home": "http://localhost",
        "gmt_offset": 0,
        "timezone_string": "UTC",
        "namespaces": ["fluent-crm/v2", "wp/v2"],
        "authentication": {
            "application-passwords": {
                "endpoints": {
                    "authorization": "http://localhost/wp-admin/authorize-application.php"
                }
            }
        },
        "routes": {},
    }


def test_the_index_has_the_public_scheme(send: Any, settings: Settings) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    headers = {"host": "crm.localhost", "x-forwarded-proto": "https"}
    settings.ALLOWED_HOSTS = ["crm.localhost"]
    _, _, content = send(path="/wp-json/", headers=headers)
    index = json.loads(content)
    assert index["url"] == "https://crm.localhost"
    page = index["authentication"]["application-passwords"]["endpoints"]["authorization"]
    assert page == "https://crm.localhost/wp-admin/authorize-application.php"


def test_the_index_is_read_alone(anonymous: APIClient) -> None:
    assert anonymous.post("/wp-json/").status_code == 405


@pytest.mark.parametrize("scope", ["track", "read", "manage"])
def test_a_login_is_tested_by_its_user_with_any_scope(call: Any, admin: User, scope: str) -> None:
    user = {
        "id": admin.pk,
        "name": "admin",
        "url": "",
        "description": "",
        "link": "",
        "slug": "admin",
        "avatar_urls": {},
        "meta": [],
    }
    assert call("GET /wp-json/wp/v2/users/me", scope=scope) == (200, user)
    assert call("GET /wp-json/wp/v2/users", scope=scope) == (200, [user])


def test_a_user_sees_no_other_user(
    anonymous: APIClient, admin: User, make_password: MakePassword
) -> None:
    clerk = User.objects.create(username="clerk")
    anonymous.credentials(HTTP_AUTHORIZATION=basic("clerk", make_password(clerk)))
    assert [user["name"] for user in anonymous.get("/wp-json/wp/v2/users").json()] == ["clerk"]
