"""Bodies, URLs and headers that make no sense: each has a JSON response, never a 5xx."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from rest_framework.test import APIClient

from crm.models import Subscriber
from events.models import TrackedEvent
from tests.api.calls import send

TRACK = "/subscribers/track-event"
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
FORM = "application/x-www-form-urlencoded"
NUL = "a\0b"


@pytest.fixture(autouse=True)
def nothing_is_stored(ada: Subscriber) -> Iterator[None]:
    """Check that each request of this file, which could be about ada, stores nothing."""
    yield
    assert not TrackedEvent.objects.exists()
    assert Subscriber.objects.get() == ada


def assert_rest_error(response: Any, status: int, code: str) -> None:
    """Check that a response is an error as WordPress words it."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/json"
    error = response.json()
    assert (error["code"], error["data"]["status"]) == (code, status)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"event_key":', id="broken"),
        pytest.param(json.dumps(EVENT).encode() + b"x", id="something after it"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="100,000 levels"),
        pytest.param(b'{"event_key": 1e400, "title": "t"}', id="1e400"),
        pytest.param(b'{"event_key": NaN}', id="NaN"),
        pytest.param(b'{"event_key": ' + b"9" * 5000 + b"}", id="5,000 digits"),
        pytest.param(b'{"title": "\\ud800"}', id="lone surrogate"),
        pytest.param(b'{"title": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"title": "\xc0\x80"}', id="overlong"),
        pytest.param(b'{"title": "a\x00b"}', id="raw NUL"),
        pytest.param(json.dumps(EVENT).encode("utf-16"), id="UTF-16"),
    ],
)
def test_a_body_that_is_no_json_is_400(api: APIClient, body: bytes) -> None:
    response = api.post(TRACK, body, content_type="application/json")
    assert_rest_error(response, 400, "rest_invalid_json")


# Parameters that Django cannot read are rejected before it: tests/system/test_bodies.py.
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/xml",
        "application/json; charset=latin-1",
        "application/json; charset=bogus",
        "application/x-www-form-urlencoded; charset=utf-16",
        "nonsense",
        "*/*",
        "application/*",
        "multipart/form-data; boundary=b; charset=utf-16",
    ],
)
def test_another_content_type_or_charset_is_415(api: APIClient, content_type: str) -> None:
    response = api.post(TRACK, json.dumps(EVENT).encode(), content_type=content_type)
    assert_rest_error(response, 415, "rest_unsupported_media_type")


def test_a_415_names_the_content_types_that_are_read(api: APIClient) -> None:
    response = api.post("/subscribers/track-events", b"{}", content_type="text/plain")
    assert response.json()["message"] == (
        "The content type is not supported. Send application/json or application/x-ndjson, in "
        "UTF-8."
    )


def test_a_body_without_a_content_type_that_is_no_json_is_400(api: APIClient) -> None:
    response: Any = api.generic("POST", TRACK, "event_key=k&title=t", content_type="")
    assert_rest_error(response, 400, "rest_invalid_json")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"title=%FF&event_key=k", id="not UTF-8, escaped"),
        pytest.param(b"title=\xff", id="not UTF-8"),
        pytest.param(b"&".join(b"a=1" for _ in range(1200)), id="1,200 fields"),
    ],
)
def test_a_form_that_cannot_be_read_is_400(api: APIClient, body: bytes) -> None:
    assert_rest_error(api.post(TRACK, body, content_type=FORM), 400, "rest_bad_request")


@pytest.mark.parametrize(
    "query",
    [
        pytest.param("title=%FF", id="not UTF-8"),
        pytest.param("a" + "[b]" * 11 + "=1", id="11 levels"),
        pytest.param("&".join(["a=1"] * 1200), id="1,200 parameters"),
    ],
)
def test_a_query_string_that_cannot_be_read_is_400(api: APIClient, query: str) -> None:
    assert_rest_error(api.post(f"{TRACK}?{query}", EVENT), 400, "rest_bad_request")


def test_a_broken_multipart_form_is_400(api: APIClient) -> None:
    response = api.post(TRACK, b"--x\r\nnothing", content_type="multipart/form-data")
    assert_rest_error(response, 400, "rest_bad_request")


@pytest.mark.parametrize(
    ("title", "end"),
    [
        pytest.param(b"t\xff", b"--b--\r\n", id="not UTF-8"),
        pytest.param(b"t", b"", id="without its last boundary"),
    ],
)
def test_a_multipart_form_that_is_not_whole_or_not_utf8_is_400(
    api: APIClient, title: bytes, end: bytes
) -> None:
    fields = {**EVENT, "title": "TITLE"}
    parts = "".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    body = parts.encode().replace(b"TITLE", title) + end
    response = api.post(TRACK, body, content_type="multipart/form-data; boundary=b")
    assert_rest_error(response, 400, "rest_bad_request")


@pytest.mark.parametrize("host", ["evil.example", "localhost@evil.example", "a b", "[::1", "\\"])
def test_a_hostile_host_is_400_in_json(api: APIClient, host: str) -> None:
    assert_rest_error(api.post(TRACK, EVENT, HTTP_HOST=host), 400, "rest_bad_request")


@pytest.mark.parametrize(
    "path",
    [
        "/wp-json/fluent-crm/v2/nonsense",
        "/wp-json/acme/v1/",
        "/wp-login.php",
        "/subscribers/abc",
        "/subscribers/-1",
        "/subscribers/\u0661",
        f"/subscribers/{'9' * 500}",
        "/subscribers/1/tracking-events/x",
        "/..%2f..%2fetc/passwd",
        "/%00",
        "/%ff",
    ],
)
def test_an_unknown_path_is_404_in_json(api: APIClient, path: str) -> None:
    assert_rest_error(api.get(quote(path, safe="/%.")), 404, "rest_no_route")


MISSING_IDS = [0, 2**63 - 1, 2**63, 2**64]


@pytest.mark.parametrize("number", MISSING_IDS)
def test_showing_a_contact_that_does_not_exist_is_422(api: APIClient, number: int) -> None:
    response = api.get(f"/subscribers/{number}")
    assert (response.status_code, response.json()) == (422, {"message": "Subscriber not found"})


@pytest.mark.parametrize("number", MISSING_IDS)
@pytest.mark.parametrize(
    ("method", "below"), [("GET", "/tracking-events"), ("PUT", ""), ("DELETE", "")]
)
def test_other_calls_about_a_contact_that_does_not_exist_are_404(
    api: APIClient, number: int, method: str, below: str
) -> None:
    response = send(api, method, f"/subscribers/{number}{below}")
    assert (response.status_code, response.json()) == (404, {"message": "Subscriber not found"})


@pytest.mark.parametrize("method", ["PATCH", "PUT", "GET", "BREW", "DELETE", "TRACE"])
def test_a_wrong_method_is_405_and_names_those_that_are_allowed(
    api: APIClient, method: str
) -> None:
    response: Any = api.generic(method, TRACK)
    assert_rest_error(response, 405, "rest_method_not_allowed")
    assert response.headers["Allow"] == "POST, OPTIONS"


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_url_that_is_only_read_is_405_in_json_for_other_methods(path: str, method: str) -> None:
    # As from a program, which sends no CSRF token.
    response = send(APIClient(enforce_csrf_checks=True), method, path, {})
    assert_rest_error(response, 405, "rest_method_not_allowed")
    assert response.headers["Allow"] == "GET, HEAD"


def test_head_is_accepted(api: APIClient) -> None:
    assert api.head("/subscribers").status_code == 200


def test_options_are_accepted(api: APIClient) -> None:
    assert api.options(TRACK).status_code == 200


@pytest.mark.parametrize("page", [str(2**63), str(2**63 - 1), "9" * 300, "1e9", "%00", "-1", "٣"])
def test_any_page_number_is_accepted_with_at_most_a_thousand_rows_a_page(
    api: APIClient, page: str
) -> None:
    response = api.get(f"/subscribers?page={quote(page, safe='%')}&per_page=1001")
    assert response.status_code == 200
    assert response.json()["subscribers"]["per_page"] == 1000


@pytest.mark.parametrize(
    "field",
    [
        *("email", "status", "prefix", "first_name", "last_name", "full_name", "phone"),
        *("address_line_1", "city", "country", "timezone", "source", "avatar", "ip"),
        *("date_of_birth", "latitude", "contact_type", "last_activity"),
    ],
)
def test_a_nul_in_a_field_of_a_contact_is_422_by_field(api: APIClient, field: str) -> None:
    fields = {"email": "new@example.com", "status": "subscribed", field: NUL}
    response = api.post("/subscribers", fields)
    assert response.status_code == 422
    assert list(response.json()) == [field]


@pytest.mark.parametrize(
    "fields", [{"custom_values": {NUL: 1}}, {"custom_values": {"a": NUL}}, {"tags": [NUL]}]
)
def test_a_nul_inside_a_field_of_a_contact_is_422_by_field(
    api: APIClient, fields: dict[str, Any]
) -> None:
    response = api.post("/subscribers", {"email": "n@example.com", "status": "x", **fields})
    assert response.status_code == 422
    assert list(response.json()) == list(fields)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/subscribers?search=a%00b", "search"),
        ("/subscribers?tags[]=a%00b", "tags"),
        ("/subscribers?statuses[]=a%00b", "statuses"),
        ("/subscribers?sort_by=a%00b", "sort_by"),
        ("/subscribers/0?get_by_email=a%00b", "get_by_email"),
        ("/subscribers/search-contacts?search=a%00b", "search"),
        ("/reports/ajax-options?option_key=a%00b", "option_key"),
    ],
)
def test_a_nul_in_a_query_string_is_422_by_parameter(api: APIClient, path: str, field: str) -> None:
    response = api.get(path)
    assert response.status_code == 422
    assert list(response.json()) == [field]


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/tags", {"title": NUL, "slug": "t"}, "title"),
        ("POST", "/tags", {"title": "t", "slug": NUL}, "slug"),
        ("POST", "/lists", {"title": "t", "description": NUL}, "description"),
        (
            "POST",
            "/subscribers/sync-segments",
            {"type": "tags", "attach": [NUL], "subscribers": [1]},
            "attach",
        ),
        (
            "PUT",
            "/subscribers/subscribers-property",
            {"property": "avatar", "value": NUL, "subscribers": [1]},
            "value",
        ),
        (
            "POST",
            "/subscribers/do-bulk-action",
            {"action_name": "change_contact_type", "new_status": NUL, "subscriber_ids": [1]},
            "new_status",
        ),
    ],
)
def test_a_nul_in_another_call_is_422_by_field(
    api: APIClient, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    response = send(api, method, path, body)
    assert response.status_code == 422
    assert list(response.json()) == [field]
