"""GET /subscribers/{id}/timeline: everything that a contact did, page after page, by cursor."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from rest_framework.test import APIClient

from crm.models import Subscriber
from events.tracking import track

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}


def get_timeline(api: APIClient, contact: Subscriber, query: dict[str, Any] | None = None) -> Any:
    """Return the response of a contact's timeline."""
    return api.get(f"/subscribers/{contact.pk}/timeline?{urlencode(query or {})}")


def page_of(api: APIClient, contact: Subscriber, query: dict[str, Any]) -> Any:
    """Return a page of a contact's timeline."""
    response = get_timeline(api, contact, query)
    assert response.status_code == 200, response.content
    return response.json()["timeline"]


def values(api: APIClient, contact: Subscriber, query: dict[str, Any]) -> list[str]:
    """Return the values of all pages, from the first on."""
    page = page_of(api, contact, query)
    found: list[str] = [row["value"] for row in page["data"]]
    while page["next_cursor"] is not None:
        page = page_of(api, contact, {**query, "cursor": page["next_cursor"]})
        found += [row["value"] for row in page["data"]]
    return found


@pytest.mark.parametrize("per_page", [1, 2, 5, 10, 11, 12, 1000])
def test_the_pages_have_every_occurrence_once_the_newest_first(
    api: APIClient, ada: Subscriber, per_page: int
) -> None:
    for number in range(11):
        track({**EVENT, "title": f"t{number % 3}", "value": number})
    assert values(api, ada, {"per_page": per_page}) == [str(number) for number in range(10, -1, -1)]


def test_occurrences_of_one_microsecond_are_on_pages_of_their_own(
    api: APIClient, ada: Subscriber
) -> None:
    for number in range(6):
        moment = f"2024-01-17T14:27:35.12345{number // 3}Z"
        track({**EVENT, "value": number, "occurred_at": moment})
    assert values(api, ada, {"per_page": 1}) == ["5", "4", "3", "2", "1", "0"]


def test_the_next_page_stays_the_same_while_events_arrive(api: APIClient, ada: Subscriber) -> None:
    for number in range(6):
        track({**EVENT, "value": number})
    first = page_of(api, ada, {"per_page": 3})
    for number in range(6, 9):
        track({**EVENT, "value": number})
    second = page_of(api, ada, {"per_page": 3, "cursor": first["next_cursor"]})
    assert [row["value"] for row in second["data"]] == ["2", "1", "0"]
    assert second["next_cursor"] is None


def test_a_row_has_every_field_of_an_occurrence(api: APIClient, ada: Subscriber) -> None:
    fields = {"value": "v", "provider": "shop", "properties": {"a": 1}}
    event = track({**EVENT, **fields, "occurred_at": "2024-01-17 14:27:35"})
    response = get_timeline(api, ada).json()
    assert list(response) == ["timeline"]
    assert list(response["timeline"]) == ["data", "next_cursor"]
    [row] = response["timeline"]["data"]
    assert isinstance(row.pop("id"), int)
    assert row.pop("received_at") > "2024-01-17 14:27:35"
    assert row == {
        "event_id": event.pk,
        "event_key": "k",
        "title": "t",
        "provider": "shop",
        "value": "v",
        "properties": {"a": 1},
        "context": {},
        "counter": "1",
        "occurred_at": "2024-01-17 14:27:35",
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"event_key": "a"}, ["2", "0"]),
        ({"provider": "shop"}, ["3", "1", "0"]),
        ({"event_key": "a", "provider": "shop", "per_page": 1}, ["0"]),
        ({"from": "2024-01-11 12:00:00"}, ["3", "2", "1"]),
        ({"from": "2024-01-12"}, ["3", "2"]),
        ({"to": "2024-01-11"}, ["1", "0"]),
        # A whole second belongs to it, as it is shown.
        ({"to": "2024-01-11 12:00:00"}, ["1", "0"]),
        ({"to": "2024-01-11T12:00:00.4Z"}, ["0"]),
        ({"from": "2024-01-11", "to": "2024-01-12", "per_page": 1}, ["2", "1"]),
        ({"event_key": "nothing"}, []),
    ],
)
def test_key_provider_and_time_narrow_the_timeline_down(
    api: APIClient, ada: Subscriber, query: dict[str, Any], found: list[str]
) -> None:
    rows = [("a", "shop"), ("b", "shop"), ("a", "course"), ("A", "shop")]
    for number, (key, provider) in enumerate(rows):
        at = f"2024-01-1{number} 12:00:00.5"
        fields = {"event_key": key, "provider": provider, "value": number, "occurred_at": at}
        track(EVENT | fields)
    assert values(api, ada, query) == found


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("from", "yesterday"),
        ("from", "1709061200000"),
        ("to", "2024-13-01"),
        ("cursor", "x"),
        ("cursor", "1"),
        ("cursor", "1-"),
        ("cursor", "-1-2"),
        ("cursor", "9" * 40 + "-1"),
        ("cursor", "1-" + "9" * 30),
        ("cursor", "1_0-1"),
        ("cursor", "1--1"),
        ("event_key[]", "a"),
    ],
)
def test_an_invalid_parameter_is_422_by_name(
    api: APIClient, ada: Subscriber, field: str, value: str
) -> None:
    response = api.get(f"/subscribers/{ada.pk}/timeline?{quote(field)}={quote(value)}")
    assert response.status_code == 422, response.content
    assert list(response.json()) == [field.removesuffix("[]")]


@pytest.mark.parametrize("per_page", ["abc", "0", "-1", ""])
def test_an_invalid_per_page_is_15(api: APIClient, ada: Subscriber, per_page: str) -> None:
    api.post("/subscribers/track-events", {"events": [EVENT] * 16})
    assert len(page_of(api, ada, {"per_page": per_page})["data"]) == 15


@pytest.mark.parametrize(("per_page", "rows"), [(700, 700), (1000, 1000), (99_999, 1000)])
def test_a_page_has_at_most_1000_rows(
    api: APIClient, ada: Subscriber, per_page: int, rows: int
) -> None:
    for _ in range(2):
        api.post("/subscribers/track-events", {"events": [EVENT] * 501})
    assert len(page_of(api, ada, {"per_page": per_page})["data"]) == rows


def test_a_contact_without_events_has_an_empty_timeline(api: APIClient, ada: Subscriber) -> None:
    assert get_timeline(api, ada).json() == {"timeline": {"data": [], "next_cursor": None}}


def test_the_timeline_of_a_missing_contact_is_404(api: APIClient, ada: Subscriber) -> None:
    response = get_timeline(api, Subscriber(pk=ada.pk + 1))
    assert (response.status_code, response.json()) == (404, {"message": "Subscriber not found"})
