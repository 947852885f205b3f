"""Who may not see events learns nothing about them from filters, segments and counts."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from rest_framework.test import APIClient

from crm.models import Segment, Subscriber
from crm.segments import create_segment
from events.tracking import track
from tests.api.conftest import MakePassword, basic
from tests.api.filters import KEY, TAGS, VALUE, ask, condition, names_of
from tests.api.pages import CONTACTS, browser_of, open_page, rows_of, staff_user

DID = condition([*KEY], "in", ["diagnosis"])
NAMED = condition(["subscriber", "first_name"], "=", "Ada")
COUNT = "/admin/crm/segment/count/"


@pytest.fixture
def patient(ada: Subscriber) -> Subscriber:
    """A contact with an event that few may see."""
    track({"event_key": "diagnosis", "title": "HIV", "value": "positive", "email": ada.email})
    return ada


@pytest.fixture
def clerk(patient: Subscriber) -> User:
    """A user who may see contacts and segments, and no events."""
    return staff_user("view_subscriber", "view_segment")


@pytest.fixture
def clerk_api(clerk: User, make_password: MakePassword) -> APIClient:
    """A client with a password of the clerk, scope read."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=basic("clerk", make_password(clerk, "read")))
    return client


@pytest.fixture
def did() -> Segment:
    """A segment that asks for an event."""
    return create_segment({"title": "Did", "slug": "did", "filters": [[NAMED], [DID]]})


@pytest.fixture
def named() -> Segment:
    """A segment that asks for no event."""
    return create_segment({"title": "Others", "slug": "others", "filters": [[NAMED]]})


@pytest.fixture
def grant(clerk: User) -> Any:
    """`grant("view_tag")` gives the clerk a permission more."""

    def give(*codenames: str) -> None:
        clerk.user_permissions.add(*Permission.objects.filter(codename__in=codenames))

    return give


def assert_forbidden(response: Any) -> None:
    assert response.status_code == 403, response.content
    assert response.json()["code"] == "rest_forbidden"


@pytest.mark.parametrize("item", [DID, condition(VALUE, "contains", "x", extra_value="k")])
def test_an_advanced_filter_by_events_is_403_and_says_what_is_forbidden(
    clerk_api: APIClient, item: dict[str, Any]
) -> None:
    response = ask(clerk_api, [[item]])
    assert_forbidden(response)
    assert "Event Tracking" in response.json()["message"]


@pytest.mark.parametrize(
    "query",
    [
        {"event_key": "diagnosis"},
        {"event_value_contains": "positive"},
        {"event_count_min": "1"},
        {"event_since": "30d"},
        {"event_provider": "custom"},
    ],
)
def test_a_query_parameter_about_events_is_403(clerk_api: APIClient, query: dict[str, str]) -> None:
    assert_forbidden(clerk_api.get(f"/subscribers?{urlencode(query)}"))


@pytest.mark.parametrize("path", ["/subscribers?segment=did", "/segments/{}/subscribers"])
def test_the_contacts_of_a_segment_that_asks_for_events_are_403(
    clerk_api: APIClient, did: Segment, path: str
) -> None:
    assert_forbidden(clerk_api.get(path.format(did.id)))


@pytest.mark.parametrize("path", ["/subscribers?segment=others", "/segments/{}/subscribers"])
def test_the_contacts_of_a_segment_that_asks_for_no_event_are_shown(
    clerk_api: APIClient, named: Segment, path: str
) -> None:
    assert clerk_api.get(path.format(named.id)).status_code == 200


@pytest.mark.parametrize("path", ["/subscribers?segment=others", "/segments/{}/subscribers"])
def test_the_contacts_of_a_segment_are_403_to_those_who_may_not_see_segments(
    clerk: User, clerk_api: APIClient, named: Segment, path: str
) -> None:
    clerk.user_permissions.set(Permission.objects.filter(codename="view_subscriber"))
    assert_forbidden(clerk_api.get(path.format(named.id)))


@pytest.mark.parametrize("path", ["/segments/{}/subscribers", "/subscribers/{}/segments"])
def test_segments_and_contacts_are_403_to_those_who_may_not_see_contacts(
    clerk: User, clerk_api: APIClient, named: Segment, path: str
) -> None:
    clerk.user_permissions.set(Permission.objects.filter(codename="view_segment"))
    assert_forbidden(clerk_api.get(path.format(named.id)))


def test_the_segments_of_a_contact_leave_out_those_that_ask_for_events_and_say_so(
    clerk_api: APIClient, patient: Subscriber, did: Segment
) -> None:
    body = clerk_api.get(f"/subscribers/{patient.id}/segments").json()
    assert body["segments"] == []
    [warning] = body["warnings"]
    assert (warning["field"], warning["rule"]) == ("segments", "forbidden")
    assert 'The segment "Did" is left out.' in warning["message"]


def test_the_filter_options_are_those_that_may_be_used(clerk_api: APIClient) -> None:
    groups = clerk_api.get("/subscribers/filter-options").json()["options"]
    assert [group["value"] for group in groups] == ["subscriber", "segment"]


def test_who_may_see_events_filters_by_them(clerk_api: APIClient, grant: Any, did: Segment) -> None:
    grant("view_trackedevent", "view_eventoccurrence")
    assert names_of(ask(clerk_api, [[DID]])) == ["ada"]
    assert names_of(clerk_api.get("/subscribers?segment=did")) == ["ada"]


@pytest.fixture
def browser(clerk: User) -> Client:
    """A browser of the clerk."""
    return browser_of(clerk)


def test_the_admins_list_shows_no_contact_of_a_segment_that_asks_for_events_and_says_so(
    browser: Client, did: Segment
) -> None:
    page = open_page(browser, f"{CONTACTS}?segment=did")
    assert "ada@example.com" not in page
    assert "You may not filter by Event Tracking" in page


def test_the_admins_list_shows_the_contacts_of_other_segments(
    browser: Client, patient: Subscriber, named: Segment
) -> None:
    Subscriber.objects.update(first_name="Ada")
    assert rows_of(browser, f"{CONTACTS}?segment=others") == ["ada@example.com"]


def test_the_admins_list_is_not_filtered_by_segment_without_its_permission(
    browser: Client, clerk: User, named: Segment
) -> None:
    clerk.user_permissions.set(Permission.objects.filter(codename="view_subscriber"))
    assert "Others" not in open_page(browser, CONTACTS)
    assert browser.get(f"{CONTACTS}?segment=others").status_code == 400


def test_the_builder_counts_no_filter_by_events(browser: Client) -> None:
    assert browser.post(COUNT, json.dumps([[DID]]), "application/json").status_code == 403


def test_the_builder_offers_no_events(browser: Client, grant: Any) -> None:
    grant("add_segment")
    page = open_page(browser, "/admin/crm/segment/add/")
    assert "First Name" in page
    assert "Event Tracking" not in page


def test_tags_are_filtered_by_whoever_sees_contacts(clerk_api: APIClient) -> None:
    assert ask(clerk_api, [[condition(TAGS, "in", [1])]]).status_code == 422
