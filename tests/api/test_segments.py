"""Segments: filters that are saved under a title and a slug."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import Segment, Subscriber
from events.tracking import track
from tests.api.calls import send

SEGMENTS = "/segments"
FORM = "application/x-www-form-urlencoded"
BOUGHT: Any = [
    [{"source": ["event_tracking", "event_tracking_key"], "operator": "in", "value": ["buy"]}]
]
CALLED_BOB: Any = [[{"source": ["subscriber", "first_name"], "operator": "=", "value": "bob"}]]
TAGGED_7: Any = [[{"source": ["segment", "tags"], "operator": "not_in", "value": [7]}]]
WRONG: Any = [[{"source": ["subscriber", "first_name"], "operator": "is", "value": "bob"}]]


@pytest.fixture
def bob(db: None) -> Subscriber:
    """The contact bob@example.com, whose first name is Bob."""
    return create({"email": "bob@example.com", "first_name": "bob"})


def save(api: APIClient, title: str, filters: Any, **more: Any) -> dict[str, Any]:
    """Save a segment and return it as the response shows it."""
    response = api.post(SEGMENTS, {"title": title, "filters": filters, **more})
    assert response.status_code == 200, response.content
    segment: dict[str, Any] = response.json()["segment"]
    return segment


def buy(contact: Subscriber) -> None:
    """Track the event that BOUGHT looks for."""
    track({"event_key": "buy", "title": "t", "subscriber_id": contact.pk})


def path_of(segment: dict[str, Any]) -> str:
    """Return the path of a segment."""
    return f"{SEGMENTS}/{segment['id']}"


def get_segment(api: APIClient, segment: dict[str, Any]) -> Any:
    """Return the segment as its URL shows it now."""
    return api.get(path_of(segment)).json()["segment"]


def emails(api: APIClient, path: str) -> list[str]:
    """Return the e-mails of the contacts on a page."""
    return [row["email"] for row in api.get(path).json()["subscribers"]["data"]]


def segments_of(api: APIClient, contact: Subscriber) -> Any:
    """Return the segments that a contact is in."""
    return api.get(f"/subscribers/{contact.pk}/segments").json()["segments"]


def test_a_segment_is_saved_and_shown_as_it_was_sent(api: APIClient) -> None:
    segment = save(api, "Those who bought", BOUGHT)
    assert (segment["title"], segment["slug"], segment["filters"]) == (
        "Those who bought",
        "those-who-bought",
        BOUGHT,
    )
    assert api.get(path_of(segment)).json() == {"segment": segment}


def test_a_slug_may_be_chosen(api: APIClient) -> None:
    assert save(api, "Bobs", CALLED_BOB, slug="The Bobs")["slug"] == "the-bobs"


def test_the_list_has_the_segments_by_title(api: APIClient) -> None:
    bought = save(api, "Those who bought", BOUGHT)
    bobs = save(api, "Bobs", CALLED_BOB)
    page = api.get(SEGMENTS).json()["segments"]
    assert (page["total"], page["data"]) == (2, [bobs, bought])


def test_a_search_finds_segments_by_title_without_regard_to_case(api: APIClient) -> None:
    bought = save(api, "Those who bought", BOUGHT)
    save(api, "Bobs", CALLED_BOB)
    assert api.get(f"{SEGMENTS}?search=BOUGHT").json()["segments"]["data"] == [bought]


def test_a_segment_has_the_contacts_that_match_now(
    api: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    buy(ada)
    path = f"{path_of(save(api, 'Bought', BOUGHT))}/subscribers"
    assert emails(api, path) == ["ada@example.com"]
    buy(bob)
    assert emails(api, path) == ["bob@example.com", "ada@example.com"]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("{segment}/subscribers?per_page=1&page=2", ["ada@example.com"]),
        ("{segment}/subscribers?search=bob", ["bob@example.com"]),
        (
            "/subscribers?segment=BOUGHT&sort_by=email&sort_type=ASC",
            ["ada@example.com", "bob@example.com"],
        ),
        ("/subscribers?segment=bought&search=ada", ["ada@example.com"]),
    ],
)
def test_the_contacts_of_a_segment_are_paged_searched_and_sorted(
    api: APIClient, ada: Subscriber, bob: Subscriber, path: str, found: list[str]
) -> None:
    buy(ada)
    buy(bob)
    segment = save(api, "Bought", BOUGHT)
    assert emails(api, path.format(segment=path_of(segment))) == found


@pytest.mark.parametrize(
    ("email", "titles"),
    [
        ("ada@example.com", ["Bought", "Either", "Everyone"]),
        ("bob@example.com", ["A Bob", "Either", "Everyone"]),
    ],
)
def test_a_contact_has_the_segments_whose_filters_it_matches(
    api: APIClient, ada: Subscriber, bob: Subscriber, email: str, titles: list[str]
) -> None:
    buy(ada)
    saved = [
        save(api, "Bought", BOUGHT),
        save(api, "A Bob", CALLED_BOB),
        save(api, "Either", [*BOUGHT, *CALLED_BOB]),
        save(api, "Everyone", []),
    ]
    found = segments_of(api, Subscriber.objects.get(email=email))
    expected = [segment for segment in saved if segment["title"] in titles]
    assert sorted(found, key=lambda one: one["id"]) == expected
    assert len(expected) == len(titles)


def test_the_segments_of_a_missing_contact_are_404(api: APIClient, ada: Subscriber) -> None:
    response = api.get(f"/subscribers/{ada.pk + 1000}/segments")
    assert (response.status_code, response.json()) == (404, {"message": "Subscriber not found"})


def test_a_contact_may_be_in_more_segments_than_one_statement_asks(
    api: APIClient, ada: Subscriber, bob: Subscriber
) -> None:
    buy(ada)
    first = save(api, "1", BOUGHT)
    Segment.objects.bulk_create(
        Segment(title=str(number), slug=str(number), filters=BOUGHT) for number in range(2, 46)
    )
    found = segments_of(api, ada)
    assert {segment["title"] for segment in found} == {str(number) for number in range(1, 46)}
    assert first in found
    assert segments_of(api, bob) == []


def test_a_contact_is_in_no_segment_if_there_is_none(api: APIClient, ada: Subscriber) -> None:
    response = api.get(f"/subscribers/{ada.pk}/segments")
    assert response.json() == {"segments": []}


def test_a_change_leaves_the_fields_that_are_not_sent(api: APIClient) -> None:
    segment = save(api, "Bought", BOUGHT)
    response = api.put(path_of(segment), {"filters": CALLED_BOB})
    assert response.json()["message"] == "Segment has been updated"
    changed = response.json()["segment"]
    assert (changed["title"], changed["filters"]) == ("Bought", CALLED_BOB)


def test_every_field_of_a_segment_can_be_changed(api: APIClient) -> None:
    segment = save(api, "Bought", CALLED_BOB)
    api.put(path_of(segment), {"title": "Bobs", "slug": "Bob s", "filters": []})
    changed = get_segment(api, segment)
    assert (changed["title"], changed["slug"], changed["filters"]) == ("Bobs", "bob-s", [])


def test_a_segment_is_deleted_and_its_contacts_stay(api: APIClient, ada: Subscriber) -> None:
    buy(ada)
    segment = save(api, "Bought", BOUGHT)
    assert api.delete(path_of(segment)).json() == {"message": "Segment has been deleted"}
    assert not Segment.objects.exists()
    assert api.get("/subscribers").json()["subscribers"]["total"] == 1


@pytest.mark.parametrize(
    ("method", "below", "fields"),
    [
        ("GET", "", None),
        ("PUT", "", {"title": "x"}),
        ("DELETE", "", None),
        ("GET", "/subscribers", None),
    ],
)
def test_a_deleted_segment_is_404(
    api: APIClient, method: str, below: str, fields: dict[str, str] | None
) -> None:
    segment = save(api, "Bought", BOUGHT)
    api.delete(path_of(segment))
    response = send(api, method, f"{path_of(segment)}{below}", fields)
    assert (response.status_code, response.json()) == (404, {"message": "Segment not found"})


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        ({"filters": BOUGHT}, ["title"]),
        ({"title": " ", "filters": BOUGHT}, ["title"]),
        ({"title": "x"}, ["filters"]),
        ({"title": "x", "filters": None}, ["filters"]),
        ({"title": "x", "filters": ""}, ["filters"]),
        ({}, ["title", "filters"]),
        ({"title": "x", "filters": {}}, ["filters"]),
        ({"title": "x", "filters": "[["}, ["filters"]),
        ({"title": "x", "filters": WRONG}, ["filters.0.0.operator"]),
        ({"title": "x", "filters": [[], *WRONG]}, ["filters.1.0.operator"]),
        ({"title": ["x"], "filters": BOUGHT}, ["title"]),
        ({"title": "a\0", "filters": BOUGHT}, ["title"]),
        ({"title": "x", "filters": [[{**BOUGHT[0][0], "value": ["x" * 99] * 999}]]}, ["filters"]),
        ({"title": "x", "filters": [[{**BOUGHT[0][0], "path": "\0"}]]}, ["filters.0.0.path"]),
        ({"title": "x", "filters": [[{**BOUGHT[0][0], "note": "\0"}]]}, ["filters.0.0.note"]),
        ({"title": "x", "filters": TAGGED_7}, ["filters.0.0.value"]),
    ],
)
def test_an_invalid_segment_is_rejected_and_not_stored(
    api: APIClient, sent: dict[str, Any], where: list[str]
) -> None:
    response = api.post(SEGMENTS, sent)
    assert (response.status_code, list(response.json())) == (422, where)
    assert not Segment.objects.exists()


@pytest.mark.parametrize("sent", [{"title": ""}, {"filters": WRONG}, {"filters": None}])
def test_an_invalid_change_is_rejected_and_changes_nothing(
    api: APIClient, sent: dict[str, Any]
) -> None:
    segment = save(api, "Bought", BOUGHT)
    assert api.put(path_of(segment), sent).status_code == 422
    assert get_segment(api, segment) == segment


def test_empty_fields_of_a_condition_and_empty_groups_are_not_stored(api: APIClient) -> None:
    filters = [[{**BOUGHT[0][0], "path": "", "note": None}], []]
    assert save(api, "Bought", filters)["filters"] == BOUGHT


def test_a_value_that_an_operator_ignores_is_not_stored(api: APIClient) -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    empty = {"source": ["subscriber", "first_name"], "operator": "is_null"}
    assert save(api, "Nameless", [[{**empty, "value": deep}]])["filters"] == [[empty]]


@pytest.mark.parametrize("number", [1e20, 1e308, 5.0, 2**63, 2**70, 0.1, 1e-300, -7])
def test_a_number_is_kept_as_it_was_sent(
    api: APIClient, ada: Subscriber, bob: Subscriber, number: float
) -> None:
    item = {"source": ["subscriber", "last_name"], "operator": "!=", "value": number}
    segment = save(api, "Numbers", [[item]])
    assert float(segment["filters"][0][0]["value"]) == number
    assert get_segment(api, segment) == segment
    assert api.get(SEGMENTS).json()["segments"]["data"] == [segment]
    assert segments_of(api, ada) == [segment]
    found = api.get(f"{path_of(segment)}/subscribers").json()["subscribers"]
    assert found["total"] == 2


SAME_SLUG = {"slug": {"unique": "Another segment has this slug."}}


def test_a_segment_with_the_slug_of_another_is_rejected(api: APIClient) -> None:
    save(api, "Bought", BOUGHT)
    response = api.post(SEGMENTS, {"title": "BOUGHT", "filters": BOUGHT})
    assert (response.status_code, response.json()) == (422, SAME_SLUG)


def test_a_change_to_the_slug_of_another_segment_is_rejected(api: APIClient) -> None:
    bought = save(api, "Bought", BOUGHT)
    bobs = save(api, "Bobs", CALLED_BOB)
    response = api.put(path_of(bobs), {"slug": bought["slug"]})
    assert (response.status_code, response.json()) == (422, SAME_SLUG)


@pytest.mark.parametrize("slug", ["", "no-such-segment", "a%00"])
def test_a_missing_segment_is_422_and_does_not_find_every_contact(
    api: APIClient, ada: Subscriber, slug: str
) -> None:
    response = api.get(f"/subscribers?segment={slug}")
    assert (response.status_code, list(response.json())) == (422, ["segment"])


def test_a_form_sends_the_filters_as_json(api: APIClient) -> None:
    fields = {"title": "Bought", "filters": json.dumps(BOUGHT)}
    response = api.post(SEGMENTS, urlencode(fields), content_type=FORM)
    assert response.json()["segment"]["filters"] == BOUGHT
