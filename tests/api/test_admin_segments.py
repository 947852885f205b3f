"""Segments in the admin: saved as the API saves them, and counted while they are made."""

import json
import re
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from crm.contacts import create
from crm.models import Segment, Tag
from crm.segments import create_segment
from events.models import EventName
from events.tracking import track
from tests.api.pages import browser_of, open_page, staff_user

pytestmark = pytest.mark.django_db
SEGMENTS = "/admin/crm/segment/"
HOSTILE = "<script>alert(1)</script>\u202e🎉"
ESCAPED = "&lt;script&gt;alert(1)&lt;/script&gt;\u202e🎉"
BOUGHT: Any = {
    "source": ["event_tracking", "event_tracking_key"],
    "operator": "in",
    "value": ["buy"],
}
CALLED_BOB: Any = {"source": ["subscriber", "first_name"], "operator": "=", "value": "bob"}
WRONG = {**CALLED_BOB, "operator": "is"}
NOT_TAGGED_7: Any = {"source": ["segment", "tags"], "operator": "not_in", "value": [7]}


@pytest.fixture
def ada_and_bob() -> None:
    """Ada, who bought, and Bob, who did not."""
    for name in ("ada", "bob"):
        create({"email": f"{name}@example.com", "first_name": name})
    track({"event_key": "buy", "title": "t", "email": "ada@example.com"})


@pytest.fixture
def bought() -> Segment:
    """A segment of those who bought."""
    return add_segment("Bought", [BOUGHT])


@pytest.fixture
def tag() -> Tag:
    """A tag with markup in its title."""
    return Tag.objects.create(title=HOSTILE, slug="t")


@pytest.fixture
def viewer() -> Client:
    """A browser of a user who may only see segments and contacts."""
    return browser_of(staff_user("view_segment", "view_subscriber"))


def add_segment(title: str, *groups: list[Any]) -> Segment:
    """Create a segment of these groups."""
    return create_segment({"title": title, "slug": title.lower(), "filters": list(groups)})


def save(browser: Client, filters: Any, path: str = "add/", **fields: str) -> Any:
    """Send the form of a segment."""
    text = filters if isinstance(filters, str) else json.dumps(filters)
    form = {"title": "Bought", "slug": "", "filters": text, **fields}
    return browser.post(SEGMENTS + path, form)


def mistakes(response: Any) -> list[str]:
    """Return the mistakes in a form that is shown again."""
    assert response.status_code == 200, "the form was not shown again"
    fields = response.context["adminform"].form.errors.values()
    return [mistake for field in fields for mistake in field]


def count(browser: Client, filters: Any) -> Any:
    """Ask how many contacts a filter finds."""
    body = filters if isinstance(filters, str | bytes) else json.dumps(filters)
    return browser.post(f"{SEGMENTS}count/", body, content_type="application/json")


def builder_table(page: str) -> Any:
    """Return the JSON that the page's builder is made of."""
    found = re.search(r'<script id="segment-table" type="application/json">(.*?)</script>', page)
    assert found
    return json.loads(found[1])


def test_a_segment_is_added_with_a_slug_made_from_its_title(admin_client: Client) -> None:
    response = save(admin_client, [[BOUGHT]], title=" Those  who bought ")
    assert response.status_code == 302
    segment = Segment.objects.get()
    assert (segment.title, segment.slug) == ("Those who bought", "those-who-bought")
    assert "Added." in open_page(admin_client, f"{SEGMENTS}{segment.pk}/history/")


def test_empty_groups_and_empty_fields_are_not_stored(admin_client: Client) -> None:
    assert save(admin_client, [[{**BOUGHT, "note": ""}], []]).status_code == 302
    assert Segment.objects.get().filters == [[BOUGHT]]


def test_the_form_of_a_segment_has_its_filter_as_json(
    admin_client: Client, bought: Segment
) -> None:
    page = open_page(admin_client, f"{SEGMENTS}{bought.pk}/change/")
    assert "&quot;event_tracking_key&quot;" in page


def test_a_segment_is_changed(admin_client: Client, bought: Segment) -> None:
    path = f"{bought.pk}/change/"
    response = save(admin_client, [[CALLED_BOB]], path, title="Bobs", slug="Bob s")
    assert response.status_code == 302
    changed = Segment.objects.get()
    assert (changed.pk, changed.title, changed.slug) == (bought.pk, "Bobs", "bob-s")
    assert changed.filters == [[CALLED_BOB]]
    assert changed.updated_at > bought.updated_at
    history = open_page(admin_client, f"{SEGMENTS}{bought.pk}/history/")
    assert "Changed Title, Slug and JSON." in history


def test_a_segment_is_deleted(admin_client: Client, bought: Segment) -> None:
    admin_client.post(f"{SEGMENTS}{bought.pk}/delete/", {"post": "yes"})
    assert not Segment.objects.exists()


@pytest.mark.parametrize(
    ("filters", "mistake"),
    [
        ("", "The filters must be JSON: a list of lists of conditions."),
        ("[[", "The filters must be JSON: a list of lists of conditions."),
        ("[" * 2000 + "]" * 2000, "The filters must be JSON: a list of lists of conditions."),
        ("[[\0]]", "The filters must be JSON: a list of lists of conditions."),
        ({}, "The filters must be a list of lists."),
        ([[1]], "Group 1, condition 1: The condition must be an object."),
        (
            [[BOUGHT], [], [CALLED_BOB, WRONG]],
            "Group 3, condition 2: The operator must be one of: =, !=, contains, not_contains, in, "
            "not_in, is_null, not_null.",
        ),
        ([[{**BOUGHT, "value": []}]], "Group 1, condition 1: The value field is required."),
        (
            [[{**BOUGHT, "²": 1}]],
            "Group 1, condition 1: The ² has no meaning for event_tracking_key.",
        ),
        (
            [[{**BOUGHT, "a.7": 1}]],
            "Group 1, condition 1: The a.7 has no meaning for event_tracking_key.",
        ),
        (
            [[CALLED_BOB, NOT_TAGGED_7]],
            "Group 1, condition 2: The value names labels that do not exist: tag 7.",
        ),
        (
            [[{**BOUGHT, "value": ["a\0"]}]],
            "Group 1, condition 1: The value must not contain a NUL character.",
        ),
        (
            [[{**BOUGHT, "value": ["x" * 99] * 999}]],
            "The filters may not be greater than 64 KB.",
        ),
    ],
    ids=range(13),
)
def test_a_wrong_filter_is_rejected_with_a_sentence(
    admin_client: Client, filters: Any, mistake: str
) -> None:
    assert mistakes(save(admin_client, filters)) == [mistake]
    assert not Segment.objects.exists()


def test_a_rejected_filter_stays_in_the_form_as_typed(admin_client: Client) -> None:
    page = save(admin_client, f'[[ "{HOSTILE}" ]]').content.decode()
    assert HOSTILE not in page
    assert f"[[ &quot;{ESCAPED}&quot; ]]" in page


@pytest.mark.parametrize("fields", [{"title": " "}, {"title": "a\0"}, {"slug": "x" * 193}])
def test_a_wrong_title_or_slug_is_rejected(admin_client: Client, fields: dict[str, str]) -> None:
    assert len(mistakes(save(admin_client, [], **fields))) == 1
    assert not Segment.objects.exists()


def test_a_slug_that_exists_in_another_case_is_rejected(admin_client: Client) -> None:
    create_segment({"title": "x", "slug": "BOUGHT", "filters": []})
    assert mistakes(save(admin_client, [])) == ["Another segment has this slug."]
    assert Segment.objects.count() == 1


@pytest.mark.usefixtures("ada_and_bob")
def test_the_builder_offers_labels_event_names_and_providers(admin_client: Client) -> None:
    tag = Tag.objects.create(title="</script>" + HOSTILE, slug="t")
    page = open_page(admin_client, f"{SEGMENTS}add/")
    assert HOSTILE not in page
    choices = {name: one["items"] for name, one in builder_table(page)["choices"].items()}
    assert choices["tags"] == [[tag.pk, tag.title]]
    assert choices["event_keys"] == [["buy", "buy"]]
    assert choices["event_providers"] == [["custom", "custom"]]
    assert choices["contact_types"] == [["lead", "Lead"], ["customer", "Customer"]]


def test_the_builder_says_which_values_have_choices(admin_client: Client) -> None:
    table = builder_table(open_page(admin_client, f"{SEGMENTS}add/"))
    events = {one["value"]: one for one in table["providers"][2]["children"]}
    assert events["event_tracking_property"]["choices"] == {"extra_value": "event_keys"}
    assert events["event_tracking_key"]["choices"] == {"value": "event_keys"}


@pytest.mark.usefixtures("ada_and_bob")
def test_the_builder_does_not_offer_what_the_user_may_not_see() -> None:
    Tag.objects.create(title="Secret tag", slug="t")
    browser = browser_of(staff_user("view_segment", "add_segment", "view_list"))
    page = open_page(browser, f"{SEGMENTS}add/")
    assert "Secret tag" not in page
    assert '["buy", "buy"]' not in page


def test_the_builder_offers_at_most_a_thousand_event_names(admin_client: Client) -> None:
    EventName.objects.bulk_create(
        EventName(name=f"key{number:04}", first_seen_at="2026-01-01T00:00Z")
        for number in range(1001)
    )
    page = open_page(admin_client, f"{SEGMENTS}add/")
    assert "key0999" in page
    assert "key1000" not in page


@pytest.mark.usefixtures("ada_and_bob")
@pytest.mark.parametrize(
    ("filters", "number"),
    [
        ([], 2),
        ([[]], 2),
        ([[BOUGHT]], 1),
        ([[BOUGHT], [CALLED_BOB]], 2),
        ([[BOUGHT, CALLED_BOB]], 0),
    ],
)
def test_contacts_are_counted_while_the_filter_is_made(
    admin_client: Client, filters: Any, number: int
) -> None:
    response = count(admin_client, filters)
    assert (response.status_code, response.json()) == (200, {"count": number})


def of_key(key: str) -> dict[str, Any]:
    """Return a condition about the total of an event key."""
    source = ["event_tracking", "event_tracking_total"]
    return {"source": source, "operator": "=", "value": 0, "extra_value": key}


@pytest.mark.usefixtures("ada_and_bob")
@pytest.mark.parametrize(
    ("conditions", "hints"),
    [
        ([{**BOUGHT, "value": ["buy", "bye"]}], ["There is no event “bye”. Did you mean “buy”?"]),
        ([of_key(" BUY ")], ["There is no event “BUY”. Did you mean “buy”?"]),
        ([of_key("other"), of_key("other")], ["There is no event “other”."]),
        (
            [of_key("other"), of_key("more")],
            ["There is no event “other”.", "There is no event “more”."],
        ),
        ([of_key("planned")], ["There is no event “planned”."]),
    ],
)
def test_an_event_key_that_no_contact_has_is_told_beside_the_count(
    admin_client: Client, conditions: list[Any], hints: list[str]
) -> None:
    EventName.objects.create(name="planned", first_seen_at="2026-01-01T00:00Z")
    assert count(admin_client, [conditions]).json()["hints"] == hints


@pytest.mark.usefixtures("ada_and_bob")
def test_of_many_event_keys_that_no_contact_has_three_are_told(admin_client: Client) -> None:
    keys = [f"{number}{number}" for number in range(1000)]
    response = count(admin_client, [[{**BOUGHT, "value": keys}]])
    assert len(response.json()["hints"]) == 3


@pytest.mark.usefixtures("ada_and_bob")
def test_users_who_may_not_see_events_are_not_told_which_exist(viewer: Client) -> None:
    assert count(viewer, [[of_key("bye")]]).status_code == 403


@pytest.mark.parametrize(
    ("sent", "places"),
    [
        ([[BOUGHT, WRONG]], ["filters.0.1.operator"]),
        ([[NOT_TAGGED_7]], ["filters.0.0.value"]),
        ([[{**BOUGHT, "value": [{}]}], [None]], ["filters.0.0.value", "filters.1.0"]),
        ("[[", ["filters"]),
        ("", ["filters"]),
        ("\0", ["filters"]),
        (b"\xff", ["filters"]),
        ("[" * 2000, ["filters"]),
        ("[" * 900 + "]" * 900, ["filters.0.0"]),
        ('[[{"source":' + "[" * 900 + "]" * 900 + "}]]", ["filters.0.0.source"]),
        ([[{**BOUGHT, "value": ["x" * 99] * 999}]], ["filters"]),
        ([[CALLED_BOB] * 51], ["filters"]),
        (7, ["filters"]),
    ],
    ids=range(13),
)
def test_a_filter_that_cannot_be_counted_has_errors_by_place(
    admin_client: Client, sent: Any, places: list[str]
) -> None:
    response = count(admin_client, sent)
    assert (response.status_code, list(response.json()["errors"])) == (200, places)


@pytest.mark.usefixtures("ada_and_bob")
def test_contacts_are_counted_by_one_statement_of_its_own(admin_client: Client) -> None:
    with CaptureQueriesContext(connection) as django:
        assert count(admin_client, [[BOUGHT]]).json() == {"count": 1}
    # The session and its user; the count goes past Django's cursor, which would prepare it.
    assert len(django) == 2
    assert not any("event_key" in query["sql"] for query in django)


def test_a_count_that_takes_too_long_is_unavailable(admin_client: Client) -> None:
    with (
        psycopg.connect(connection.connection.info.dsn) as other,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        other.execute("LOCK TABLE crm_subscriber IN ACCESS EXCLUSIVE MODE")
        cursor.execute("SET LOCAL statement_timeout = 100")
        response = count(admin_client, [[CALLED_BOB]])
        transaction.set_rollback(True)
    assert response.status_code == 503
    assert "takes too long" in response.json()["message"]


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        (["view_segment", "view_subscriber"], 200),
        (["view_segment"], 403),
        (["view_subscriber", "add_segment"], 403),
        ([], 403),
    ],
)
def test_users_who_see_segments_and_contacts_may_count(permissions: list[str], status: int) -> None:
    assert count(browser_of(staff_user(*permissions)), []).status_code == status


def test_a_count_needs_a_login() -> None:
    assert count(Client(), []).status_code == 302


def test_a_count_needs_a_post(admin_client: Client) -> None:
    assert admin_client.get(f"{SEGMENTS}count/").status_code == 405


def test_a_count_needs_the_csrf_token(admin_user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert count(strict, []).status_code == 403


def test_users_who_may_only_see_a_segment_read_its_filter(viewer: Client, bought: Segment) -> None:
    page = open_page(viewer, f"{SEGMENTS}{bought.pk}/change/")
    assert "Event Key includes in “<bdi>buy</bdi>”" in page
    assert re.search(r'<textarea id="id_filters"[^>]* readonly>[^<]*event_tracking_key', page)
    assert "?segment=bought" in page
    assert 'name="_save"' not in page


@pytest.mark.parametrize("path", ["add/", "{pk}/change/", "{pk}/delete/"])
def test_users_who_may_only_see_segments_change_none(
    viewer: Client, bought: Segment, path: str
) -> None:
    response = save(viewer, [], path.format(pk=bought.pk), post="yes")
    assert response.status_code == 403
    assert Segment.objects.get().filters == [[BOUGHT]]


def test_the_list_says_what_a_segment_asks_for(admin_client: Client, tag: Tag) -> None:
    total = {
        **{"source": ["event_tracking", "event_tracking_count_within"], "operator": ">="},
        **{"value": 3, "extra_value": HOSTILE, "within_days": 30},
    }
    path = {
        **{"source": ["event_tracking", "event_tracking_property"], "operator": "exists"},
        **{"extra_value": "buy", "path": "order.total"},
    }
    tags = {"source": ["segment", "tags"], "operator": "in", "value": [tag.pk]}
    status = {"source": ["segment", "status"], "operator": "in", "value": ["PENDING"]}
    add_segment(HOSTILE, [total, path], [tags, status])
    page = open_page(admin_client, SEGMENTS)
    assert HOSTILE not in page
    assert (
        f"Recent Event Count of “<bdi>{ESCAPED}</bdi>” in 30 days at least 3, and "
        "Event Property of “<bdi>buy</bdi>” at “<bdi>order.total</bdi>” exists; or "
        f"Tags includes “<bdi>{ESCAPED}</bdi>”, and "
        "Status includes in “<bdi>Pending</bdi>”"
    ) in page


def test_the_list_shortens_many_values(admin_client: Client) -> None:
    add_segment("Many", [{**BOUGHT, "value": [f"k{number}" for number in range(7)]}])
    assert "“<bdi>k4</bdi>”, 2 more</td>" in open_page(admin_client, SEGMENTS)


def test_the_list_links_to_a_segments_contacts(admin_client: Client, bought: Segment) -> None:
    link = '<a href="/admin/crm/subscriber/?segment=bought">Show contacts</a>'
    assert link in open_page(admin_client, SEGMENTS)


def test_an_empty_filter_is_called_all_contacts(admin_client: Client) -> None:
    add_segment("Everybody")
    assert "All contacts" in open_page(admin_client, SEGMENTS)


def test_segments_are_searched_by_title(admin_client: Client, bought: Segment) -> None:
    add_segment("Everybody")
    assert "1 segment" in open_page(admin_client, f"{SEGMENTS}?q=every")


def test_the_list_names_the_mistake_of_an_invalid_segment(
    admin_client: Client, bought: Segment
) -> None:
    wrong: Any = [[WRONG]]
    Segment.objects.update(filters=wrong)
    page = open_page(admin_client, SEGMENTS)
    assert "Not valid: Group 1, condition 1: The operator must be one of" in page


def test_a_long_list_takes_as_many_queries_as_a_short_one(admin_client: Client, tag: Tag) -> None:
    tags = {"source": ["segment", "tags"], "operator": "in", "value": [tag.pk]}
    add_segment("0", [tags])
    with CaptureQueriesContext(connection) as short:
        open_page(admin_client, SEGMENTS)
    for number in range(1, 40):
        add_segment(str(number), [tags])
    with CaptureQueriesContext(connection) as long:
        open_page(admin_client, SEGMENTS)
    assert len(long) == len(short) <= 15
