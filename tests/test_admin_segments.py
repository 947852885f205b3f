"""Segments in the admin: made by a form that counts, and saved as the API saves them."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import psycopg
import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from config.server.postgres import USER, EmbeddedPostgres
from crm.contacts import create
from crm.models import List, Segment, Subscriber, Tag
from crm.segments import create_segment
from events.models import EventName
from events.tracking import track
from tests.system.server import wait_until

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


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def clerk(*permissions: str) -> Client:
    user = User.objects.create_user("clerk", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return client_of(user)


@pytest.fixture
def admin() -> Client:
    return client_of(User.objects.create_superuser("admin", "admin@example.com"))


@pytest.fixture
def people() -> dict[str, Subscriber]:
    """Ada bought, Bob did not."""
    names = ("ada", "bob")
    found = {name: create({"email": f"{name}@example.com", "first_name": name}) for name in names}
    track({"event_key": "buy", "title": "t", "email": "ada@example.com"})
    return found


def keep(title: str, *groups: list[Any]) -> Segment:
    return create_segment({"title": title, "slug": title.lower(), "filters": list(groups)})


def save(client: Client, filters: Any, path: str = "add/", **fields: str) -> Any:
    text = filters if isinstance(filters, str) else json.dumps(filters)
    form = {"title": "Bought", "slug": "", "filters": text, **fields}
    return client.post(SEGMENTS + path, form)


def mistakes(answer: Any) -> list[str]:
    assert answer.status_code == 200, "the form was not shown again"
    found: list[str] = []
    for lines in answer.context["adminform"].form.errors.values():
        found += lines
    return found


def count(client: Client, filters: Any) -> Any:
    body = filters if isinstance(filters, str | bytes) else json.dumps(filters)
    return client.post(f"{SEGMENTS}count/", body, content_type="application/json")


def test_a_segment_is_saved_with_a_slug_made_from_its_title(admin: Client) -> None:
    # Empty groups and what a filter has no use for are not kept, as in the API.
    answer = save(admin, [[{**BOUGHT, "note": 1}], []], title=" Those  who bought ")
    assert answer.status_code == 302
    made = Segment.objects.get()
    assert (made.title, made.slug, made.filters) == (
        "Those who bought",
        "those-who-bought",
        [[BOUGHT]],
    )
    history = admin.get(f"{SEGMENTS}{made.pk}/history/").content.decode()
    assert "Added." in history


def test_a_segment_is_changed_and_deleted(admin: Client) -> None:
    made = keep("Bought", [BOUGHT])
    path = f"{made.pk}/change/"
    page = admin.get(SEGMENTS + path).content.decode()
    assert "&quot;event_tracking_key&quot;" in page
    answer = save(admin, [[CALLED_BOB]], path, title="Bobs", slug="Bob s")
    assert answer.status_code == 302
    changed = Segment.objects.get()
    assert (changed.title, changed.slug, changed.filters) == ("Bobs", "bob-s", [[CALLED_BOB]])
    assert changed.updated_at > made.updated_at
    assert (
        "Changed Title, Slug and JSON."
        in admin.get(f"{SEGMENTS}{made.pk}/history/").content.decode()
    )
    admin.post(f"{SEGMENTS}{made.pk}/delete/", {"post": "yes"})
    assert not Segment.objects.exists()


@pytest.mark.parametrize(
    ("filters", "said"),
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
            [[{**BOUGHT, "value": ["a\0"]}]],
            "Group 1, condition 1: The value must not contain a NUL character.",
        ),
        (
            [[{**BOUGHT, "value": ["x" * 99] * 999}]],
            "The filters may not be greater than 64 KB.",
        ),
    ],
)
def test_a_wrong_filter_is_told_in_words_and_not_stored(
    admin: Client, filters: Any, said: str
) -> None:
    assert mistakes(save(admin, filters)) == [said]
    assert not Segment.objects.exists()


def test_what_was_typed_stays_in_the_form_that_refuses_it(admin: Client) -> None:
    page = save(admin, f'[[ "{HOSTILE}" ]]').content.decode()
    assert HOSTILE not in page
    assert f"[[ &quot;{ESCAPED}&quot; ]]" in page


@pytest.mark.parametrize("fields", [{"title": " "}, {"title": "a\0"}, {"slug": "x" * 193}])
def test_a_wrong_title_or_slug_is_told(admin: Client, fields: dict[str, str]) -> None:
    assert len(mistakes(save(admin, [], **fields))) == 1
    assert not Segment.objects.exists()


def test_a_slug_that_is_taken_however_it_is_spelled_is_told(admin: Client) -> None:
    create_segment({"title": "x", "slug": "BOUGHT", "filters": []})
    assert mistakes(save(admin, [])) == ["Another segment has this slug."]
    assert Segment.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_slug_that_is_taken_meanwhile_is_told(admin: Client, postgres: EmbeddedPostgres) -> None:
    def save_elsewhere() -> list[str]:
        try:
            return mistakes(save(admin, []))
        finally:
            connection.close()

    where = f"host={postgres.socket_dir} user={USER} dbname={connection.settings_dict['NAME']}"
    with psycopg.connect(where) as faster, ThreadPoolExecutor() as threads:
        faster.execute(
            "INSERT INTO crm_segment (title, slug, filters, created_at, updated_at) "
            "VALUES ('x', 'bought', '[]', now(), now())"
        )
        slower = threads.submit(save_elsewhere)
        with psycopg.connect(where, autocommit=True) as watching:
            waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
            wait_until(lambda: watching.execute(waits).fetchone())
        faster.commit()
        assert slower.result() == ["Another segment has this slug."]


def test_the_page_has_the_table_of_what_can_be_asked_and_chosen(
    admin: Client, people: dict[str, Subscriber]
) -> None:
    tag = Tag.objects.create(title="</script>" + HOSTILE, slug="t")
    page = admin.get(f"{SEGMENTS}add/").content.decode()
    assert HOSTILE not in page
    found = re.search(r'<script id="segment-table" type="application/json">(.*?)</script>', page)
    assert found
    table = json.loads(found[1])
    choices = {name: one["items"] for name, one in table["choices"].items()}
    assert choices["tags"] == [[tag.pk, tag.title]]
    assert choices["event_keys"] == [["buy", "buy"]]
    assert choices["event_providers"] == [["custom", "custom"]]
    assert choices["contact_types"] == [["lead", "Lead"], ["customer", "Customer"]]
    events = {one["value"]: one for one in table["providers"][2]["children"]}
    assert events["event_tracking_property"]["choices"] == {"extra_value": "event_keys"}
    assert events["event_tracking_key"]["choices"] == {"value": "event_keys"}


def test_what_somebody_may_not_see_is_not_there_to_choose(people: dict[str, Subscriber]) -> None:
    Tag.objects.create(title="Secret tag", slug="t")
    client = clerk("view_segment", "add_segment", "view_list")
    page = client.get(f"{SEGMENTS}add/").content.decode()
    assert "Secret tag" not in page
    assert '["buy", "buy"]' not in page


def test_no_more_than_a_thousand_keys_are_suggested(admin: Client) -> None:
    EventName.objects.bulk_create(
        EventName(name=f"key{number:04}", first_seen_at="2026-01-01T00:00Z")
        for number in range(1001)
    )
    page = admin.get(f"{SEGMENTS}add/").content.decode()
    assert "key0999" in page
    assert "key1000" not in page


def test_contacts_are_counted_while_the_filter_is_made(
    admin: Client, people: dict[str, Subscriber]
) -> None:
    for filters, number in (
        ([], 2),
        ([[]], 2),
        ([[BOUGHT]], 1),
        ([[BOUGHT], [CALLED_BOB]], 2),
        ([[BOUGHT, CALLED_BOB]], 0),
        ([[{"source": ["segment", "tags"], "operator": "in", "value": [7]}]], 0),
    ):
        answer = count(admin, filters)
        assert (answer.status_code, orjson.loads(answer.content)) == (200, {"count": number})


@pytest.mark.parametrize(
    ("sent", "places"),
    [
        ([[BOUGHT, WRONG]], ["filters.0.1.operator"]),
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
)
def test_a_filter_that_cannot_be_counted_is_told_by_places(
    admin: Client, sent: Any, places: list[str]
) -> None:
    answer = count(admin, sent)
    assert (answer.status_code, list(orjson.loads(answer.content)["errors"])) == (200, places)


def test_contacts_are_counted_by_one_statement_of_its_own(
    admin: Client, people: dict[str, Subscriber]
) -> None:
    with CaptureQueriesContext(connection) as django:
        assert orjson.loads(count(admin, [[BOUGHT]]).content) == {"count": 1}
    # The session and its user; the count goes past Django's cursor, which would prepare it.
    assert len(django) == 2
    assert not any("event_key" in query["sql"] for query in django)


@pytest.mark.django_db(transaction=True)
def test_a_count_that_takes_too_long_is_503(admin: Client, postgres: EmbeddedPostgres) -> None:
    where = f"host={postgres.socket_dir} user={USER} dbname={connection.settings_dict['NAME']}"
    with (
        psycopg.connect(where) as other,
        connection.cursor() as cursor,
    ):
        other.execute("LOCK TABLE crm_subscriber IN ACCESS EXCLUSIVE MODE")
        cursor.execute("SET statement_timeout = 100")
        answer = count(admin, [[CALLED_BOB]])
        cursor.execute("RESET statement_timeout")
    assert answer.status_code == 503
    assert "takes too long" in orjson.loads(answer.content)["message"]


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        (["view_segment", "view_subscriber"], 200),
        (["view_segment"], 403),
        (["view_subscriber", "add_segment"], 403),
        ([], 403),
    ],
)
def test_who_sees_segments_and_contacts_may_count(permissions: list[str], status: int) -> None:
    assert count(clerk(*permissions), []).status_code == status


def test_a_count_needs_a_login_a_post_and_the_token(admin: Client) -> None:
    assert count(Client(), []).status_code == 302
    assert admin.get(f"{SEGMENTS}count/").status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get())
    assert count(strict, []).status_code == 403


def test_who_may_only_look_sees_the_filter_and_saves_nothing() -> None:
    made = keep("Bought", [BOUGHT])
    client = clerk("view_segment", "view_subscriber")
    page = client.get(f"{SEGMENTS}{made.pk}/change/").content.decode()
    assert "Event Key includes in “<bdi>buy</bdi>”" in page
    assert re.search(r'<textarea id="id_filters"[^>]* readonly>[^<]*event_tracking_key', page)
    assert "?segment=bought" in page
    assert 'name="_save"' not in page
    assert save(client, [], f"{made.pk}/change/").status_code == 403
    assert client.post(f"{SEGMENTS}{made.pk}/delete/", {"post": "yes"}).status_code == 403
    assert save(client, []).status_code == 403
    assert Segment.objects.get().filters == [[BOUGHT]]


def test_the_list_says_what_each_segment_asks(admin: Client) -> None:
    tag = Tag.objects.create(title=HOSTILE, slug="t")
    total = {
        **{"source": ["event_tracking", "event_tracking_count_within"], "operator": ">="},
        **{"value": 3, "extra_value": HOSTILE, "within_days": 30},
    }
    path = {
        **{"source": ["event_tracking", "event_tracking_property"], "operator": "exists"},
        **{"extra_value": "buy", "path": "order.total"},
    }
    tags = {"source": ["segment", "tags"], "operator": "in", "value": [tag.pk, 99]}
    status = {"source": ["segment", "status"], "operator": "in", "value": ["PENDING"]}
    many = {**BOUGHT, "value": [f"k{number}" for number in range(7)]}
    keep(HOSTILE, [total, path], [tags, status])
    keep("Many", [many])
    keep("Everybody")
    page = admin.get(SEGMENTS).content.decode()
    assert HOSTILE not in page
    assert (
        f"Event Count Within Days of “<bdi>{ESCAPED}</bdi>” in 30 days at least 3, and "
        "Event Property of “<bdi>buy</bdi>” at “<bdi>order.total</bdi>” exists; or "
        f"Tags includes “<bdi>{ESCAPED}</bdi>”, “<bdi>99</bdi>”, and "
        "Status includes in “<bdi>Pending</bdi>”"
    ) in page
    assert "“<bdi>k4</bdi>”, 2 more</td>" in page
    assert "All contacts" in page
    assert '<a href="/admin/crm/subscriber/?segment=many">Show contacts</a>' in page
    found = admin.get(f"{SEGMENTS}?q=every").content.decode()
    assert "1 segment" in found


def test_a_segment_that_has_become_invalid_is_listed_with_its_mistake(admin: Client) -> None:
    keep("Old", [CALLED_BOB])
    wrong: Any = [[WRONG]]
    Segment.objects.update(filters=wrong)
    page = admin.get(SEGMENTS).content.decode()
    assert "Not valid: Group 1, condition 1: The operator must be one of" in page


def test_a_full_list_of_segments_takes_as_many_queries_as_a_short_one(admin: Client) -> None:
    tag = Tag.objects.create(title="t", slug="t")
    tags = {"source": ["segment", "tags"], "operator": "in", "value": [tag.pk]}

    def queries() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert admin.get(SEGMENTS).status_code == 200
        return len(asked)

    keep("0", [tags])
    one = queries()
    for number in range(1, 40):
        keep(str(number), [tags])
    assert queries() == one <= 15


@pytest.mark.parametrize(("kind", "model"), [("tag", Tag), ("list", List)])
def test_tags_and_lists_tell_how_many_contacts_they_have(
    admin: Client,
    people: dict[str, Subscriber],
    kind: str,
    model: type[Tag | List],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = model.objects.create(title=HOSTILE, slug="used")
    unused = model.objects.create(title="Unused", slug="unused")
    for contact in people.values():
        getattr(contact, f"{kind}s").add(used)
    address = "/admin/crm/subscriber/"
    page = admin.get(f"/admin/crm/{kind}/").content.decode()
    assert f'<a href="{address}?{kind}={used.pk}">2</a>' in page
    assert f'<a href="{address}?{kind}={unused.pk}">0</a>' in page
    monkeypatch.setattr("crm.admin.labels.MAX_COUNTED", 1)
    page = admin.get(f"/admin/crm/{kind}/").content.decode()
    assert f'<a href="{address}?{kind}={used.pk}">more than 1</a>' in page
    page = clerk(f"view_{kind}").get(f"/admin/crm/{kind}/").content.decode()
    assert address not in page


@pytest.mark.parametrize(("kind", "model"), [("tag", Tag), ("list", List)])
def test_tags_and_lists_are_deleted_and_their_contacts_stay(
    admin: Client,
    people: dict[str, Subscriber],
    kind: str,
    model: type[Tag | List],
) -> None:
    ids = [model.objects.create(title=HOSTILE, slug=str(number)).pk for number in range(3)]
    getattr(people["ada"], f"{kind}s").set(ids)
    page = admin.get(f"/admin/crm/{kind}/{ids[0]}/delete/").content.decode()
    assert "that they are taken off: 1" in page
    assert HOSTILE not in page
    admin.post(f"/admin/crm/{kind}/{ids[0]}/delete/", {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": ids[1], "post": "yes"}
    admin.post(f"/admin/crm/{kind}/", chosen)
    assert list(model.objects.values_list("pk", flat=True)) == [ids[2]]
    assert Subscriber.objects.count() == 2
