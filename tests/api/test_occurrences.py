"""Every occurrence: properties, context and the caller's time, and where they are read back."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import Subscriber
from events.models import EventOccurrence, TrackedEvent

PREFIX = "/wp-json/fluent-crm/v2"
TRACK = "/subscribers/track-event"
FORM = "application/x-www-form-urlencoded"
EVENT: dict[str, Any] = {
    "event_key": "checkout",
    "title": "Order placed",
    "email": "ada@example.com",
}

pytestmark = pytest.mark.usefixtures("ada")


def post(api: APIClient, **fields: Any) -> Any:
    """Post EVENT with further fields."""
    return api.post(TRACK, EVENT | fields)


def tracked(api: APIClient, **fields: Any) -> int:
    """Post EVENT with further fields and return the event's id."""
    response = post(api, **fields)
    assert response.status_code == 200, response.content
    event_id: int = response.json()["id"]
    return event_id


def path_of(contact: Subscriber, event_id: int) -> str:
    """Return the path of an event's occurrences."""
    return f"/subscribers/{contact.pk}/tracking-events/{event_id}/occurrences"


def page_of(api: APIClient, contact: Subscriber, event_id: int, query: str = "") -> Any:
    """Return a page of an event's occurrences."""
    return api.get(path_of(contact, event_id) + query).json()["occurrences"]


def assert_rejected(response: Any, field: str, rule: str) -> None:
    """Check that a field is named with the rule that it breaks, and that nothing is stored."""
    assert response.status_code == 422, response.content
    assert list(response.json()) == [field]
    assert list(response.json()[field]) == [rule]
    assert not TrackedEvent.objects.exists()
    assert not EventOccurrence.objects.exists()


def nested(levels: int) -> dict[str, Any]:
    """Return an object of that many levels."""
    inner: dict[str, Any] = {}
    for _ in range(levels - 1):
        inner = {"a": inner}
    return inner


ORDERS: list[dict[str, Any]] = [
    {"total": 19.5, "lines": [{"sku": "a", "n": 2}], "gift": None},
    {"total": 7, "note": "ünï 🎁"},
]
CONTEXT = {"url": "https://shop.example/?a=1&b=2", "ip": "192.0.2.1", "utm_source": "news"}


def test_a_page_of_occurrences_has_every_field_and_the_newest_first(
    api: APIClient, ada: Subscriber
) -> None:
    for order in ORDERS:
        event_id = tracked(api, properties=order)
    response = api.get(path_of(ada, event_id)).json()
    assert list(response) == ["occurrences"]
    page = response["occurrences"]
    assert (page["total"], page["last_page"], page["per_page"]) == (2, 1, 15)
    newest, first = page["data"]
    assert newest["id"] > first["id"]
    assert list(newest) == [
        *("id", "event_id", "event_key", "title", "provider", "value", "properties", "context"),
        *("counter", "occurred_at", "received_at"),
    ]
    assert (newest["event_id"], newest["event_key"], newest["title"]) == (
        event_id,
        "checkout",
        "Order placed",
    )


def test_each_occurrence_keeps_its_own_properties_context_value_and_provider(
    api: APIClient, ada: Subscriber
) -> None:
    for number, order in enumerate(ORDERS):
        fields = {"value": number, "provider": f"p{number}"}
        event_id = tracked(api, properties=order, context=CONTEXT, **fields)
    shown = ("properties", "context", "value", "provider", "counter")
    rows = page_of(api, ada, event_id)["data"]
    assert [tuple(row[name] for name in shown) for row in rows] == [
        (ORDERS[1], CONTEXT, "1", "p1", "2"),
        (ORDERS[0], CONTEXT, "0", "p0", "1"),
    ]


def test_a_form_sends_properties_in_brackets_or_as_json_text(api: APIClient) -> None:
    fields = EVENT | {"properties[sku]": "a", "context": '{"ip":"x"}'}
    assert api.post(TRACK, urlencode(fields), content_type=FORM).status_code == 200
    occurrence = EventOccurrence.objects.get()
    assert (occurrence.properties, occurrence.context) == ({"sku": "a"}, {"ip": "x"})


@pytest.mark.parametrize("field", ["properties", "context"])
@pytest.mark.parametrize("empty", [None, "", {}, []])
def test_empty_properties_are_an_empty_object(api: APIClient, field: str, empty: Any) -> None:
    assert post(api, **{field: empty}).status_code == 200
    assert getattr(EventOccurrence.objects.get(), field) == {}


@pytest.mark.parametrize("field", ["properties", "context"])
@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("text", "json"),
        ("[1]", "object"),
        (5, "object"),
        (True, "object"),
        ([1], "object"),
        ({"a": "b\0"}, "string"),
        ({"a\0": 1}, "string"),
        (nested(11), "depth"),
        ({str(number): 1 for number in range(301)}, "keys"),
        ({"a": {"b": [{str(number): 1 for number in range(301)}]}}, "keys"),
        ({"a": "x" * 65_529}, "max"),
        ({"a": [1e308] * 220}, "max"),  # 309 digits each, as PostgreSQL keeps them
        ({"a": {"b": [5e-324] * 220}}, "max"),
    ],
)
def test_properties_that_are_no_object_or_too_large_or_too_deep_are_rejected(
    api: APIClient, field: str, value: Any, rule: str
) -> None:
    assert_rejected(post(api, **{field: value}), field, rule)


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param(nested(10), id="10 levels"),
        pytest.param({str(number): "a:b" for number in range(300)}, id="300 keys"),
        pytest.param({"a": "x" * 65_528}, id="64 KB of JSON"),
        pytest.param({"n": [2**63, -(2**63), 1e22, 5e-324, 0.1, *[5e-324] * 190]}, id="numbers"),
    ],
)
def test_the_largest_properties_are_stored_and_shown_as_sent(
    api: APIClient, ada: Subscriber, properties: dict[str, Any]
) -> None:
    assert post(api, properties=properties).status_code == 200
    assert EventOccurrence.objects.get().properties == properties
    [row] = api.get(f"/subscribers/{ada.pk}/timeline").json()["timeline"]["data"]
    assert row["properties"] == properties


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2024-01-17 14:27:35", datetime(2024, 1, 17, 14, 27, 35, tzinfo=UTC)),
        ("2024-01-17T14:27:35Z", datetime(2024, 1, 17, 14, 27, 35, tzinfo=UTC)),
        (
            "2024-01-17T14:27:35.123456+14:00",
            datetime(2024, 1, 17, 0, 27, 35, 123456, tzinfo=UTC),
        ),
        ("2024-01-17T14:27-02:30", datetime(2024, 1, 17, 16, 57, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_the_callers_time_may_be_iso_8601_or_in_the_form_of_fluentcrm(
    api: APIClient, sent: str, kept: datetime
) -> None:
    assert post(api, occurred_at=sent).status_code == 200
    occurrence = EventOccurrence.objects.select_related("event").get()
    assert occurrence.occurred_at == kept
    assert (occurrence.event.created_at, occurrence.event.updated_at) == (kept, kept)
    assert occurrence.received_at > timezone.now() - timedelta(minutes=1)


@pytest.mark.parametrize("empty", [None, "", " "])
def test_an_event_without_a_time_happened_when_it_was_received(
    api: APIClient, empty: str | None
) -> None:
    assert post(api, occurred_at=empty).status_code == 200
    occurrence = EventOccurrence.objects.get()
    assert occurrence.occurred_at == occurrence.received_at


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("yesterday", "date"),
        ("2024-01-17", "date"),
        ("20240117T142735Z", "date"),
        ("2024-02-30T00:00:00Z", "date"),
        ("2024-01-17T23:59:60Z", "date"),
        ("2024-01-17T14:27:35+25:00", "date"),
        (1_700_000_000, "date"),
        ("1700000000", "date"),
        (True, "date"),
        (["2024-01-17T14:27:35Z"], "date"),
        ("300000-01-01T00:00:00Z", "date"),
        ("0001-01-01T00:00:00Z", "date"),
        ("1969-12-31T23:59:59Z", "between"),
        ("9998-01-01T00:00:00Z", "between"),
    ],
)
def test_a_time_that_is_invalid_or_before_1970_or_in_the_future_is_rejected(
    api: APIClient, value: Any, rule: str
) -> None:
    assert_rejected(post(api, occurred_at=value), "occurred_at", rule)


def from_tomorrow(minutes: int) -> str:
    """Return the time a day and some minutes ahead as ISO 8601."""
    return (timezone.now() + timedelta(days=1, minutes=minutes)).isoformat()


def test_a_time_less_than_a_day_ahead_is_accepted(api: APIClient) -> None:
    assert post(api, occurred_at=from_tomorrow(-5)).status_code == 200


def test_a_time_more_than_a_day_ahead_is_rejected(api: APIClient) -> None:
    assert_rejected(post(api, occurred_at=from_tomorrow(5)), "occurred_at", "between")


def test_a_backdated_occurrence_counts_and_does_not_replace_a_newer_value(
    api: APIClient, ada: Subscriber
) -> None:
    post(api, value="new", occurred_at="2024-06-01 12:00:00")
    post(api, value="old", occurred_at="2024-05-01 12:00:00")
    [event] = api.get(f"/subscribers/{ada.pk}/tracking-events").json()["events"]["data"]
    assert (event["counter"], event["value"]) == ("2", "new")
    assert (event["created_at"], event["updated_at"]) == (
        "2024-05-01 12:00:00",
        "2024-06-01 12:00:00",
    )


def test_occurrences_are_ordered_by_the_time_when_they_happened(
    api: APIClient, ada: Subscriber
) -> None:
    post(api, value="new", occurred_at="2024-06-01 12:00:00")
    event_id = tracked(api, value="old", occurred_at="2024-05-01 12:00:00")
    rows = page_of(api, ada, event_id)["data"]
    assert [(row["value"], row["occurred_at"]) for row in rows] == [
        ("new", "2024-06-01 12:00:00"),
        ("old", "2024-05-01 12:00:00"),
    ]


@pytest.fixture
def seven(api: APIClient) -> int:
    """The id of an event with seven occurrences, among those of another event."""
    for number in range(7):
        event_id = tracked(api, value=number)
        post(api, title="Another")
    return event_id


def test_the_pages_of_an_event_have_its_occurrences_only(
    api: APIClient, ada: Subscriber, seven: int
) -> None:
    page = page_of(api, ada, seven, "?per_page=3&page=2")
    assert [row["value"] for row in page["data"]] == ["3", "2", "1"]
    assert (page["total"], page["from"], page["to"], page["last_page"]) == (7, 4, 6, 3)


@pytest.mark.parametrize("mount", ["", PREFIX])
def test_the_link_to_the_next_page_keeps_the_path_and_per_page(
    api: APIClient, ada: Subscriber, seven: int, mount: str
) -> None:
    path = mount + path_of(ada, seven)
    page = api.get(f"{path}?per_page=3&page=2").json()["occurrences"]
    assert page["next_page_url"] == f"{path}?per_page=3&page=3"


def test_a_page_beyond_the_last_has_no_occurrences(
    api: APIClient, ada: Subscriber, seven: int
) -> None:
    assert page_of(api, ada, seven, "?page=9")["data"] == []


def test_an_event_that_does_not_repeat_has_its_own_occurrence_only(
    api: APIClient, ada: Subscriber, seven: int
) -> None:
    other = tracked(api, repeatable=False)
    assert page_of(api, ada, other)["total"] == 1


def test_an_event_of_another_contact_is_404(api: APIClient) -> None:
    bob = create({"email": "bob@example.com", "status": "subscribed"})
    response = api.get(path_of(bob, tracked(api)))
    assert (response.status_code, response.json()) == (404, {"message": "Event not found"})


@pytest.mark.parametrize("event_id", [lambda event_id: event_id + 1, lambda _: 2**63])
def test_a_missing_event_is_404(api: APIClient, ada: Subscriber, event_id: Any) -> None:
    response = api.get(path_of(ada, event_id(tracked(api))))
    assert (response.status_code, response.json()) == (404, {"message": "Event not found"})


def test_the_occurrences_of_a_missing_contact_are_404(api: APIClient, ada: Subscriber) -> None:
    response = api.get(path_of(Subscriber(pk=ada.pk + 99), tracked(api)))
    assert (response.status_code, response.json()) == (404, {"message": "Subscriber not found"})


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/subscribers/{ada}/tracking-events/{event}/occurrences", 200),
        ("/subscribers/{ada}/timeline", 200),
        ("/subscribers/{ada}/tracking-events", 422),
    ],
)
def test_occurrences_stay_readable_while_tracking_is_switched_off(
    api: APIClient, ada: Subscriber, path: str, status: int
) -> None:
    event_id = tracked(api)
    api.post("/setting/experiments", {"event_tracking": "no"})
    assert api.get(path.format(ada=ada.pk, event=event_id)).status_code == status


def test_hostile_text_comes_back_as_it_was_sent(api: APIClient, ada: Subscriber) -> None:
    hostile = {"<script>": "</script>\u202e\u2028'\";--", "%_\\": "\\u0000", "": ""}
    event_id = tracked(api, properties=hostile)
    assert page_of(api, ada, event_id)["data"][0]["properties"] == hostile
