"""How PostgreSQL reads filters: for all of their contacts, and no table that they do not need."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.db.models import QuerySet
from rest_framework.test import APIClient

from config.database import fetch_rows
from crm.filters import compile_filters, contacts_matching, those_matching
from crm.models import Subscriber
from events.tracking import track
from tests.api.filters import (
    ANY_PROPERTY,
    ANY_PROVIDER,
    ANY_TITLE,
    ANY_VALUE,
    COUNT,
    FIRST_NAME,
    KEY,
    LAST_SEEN,
    NOT_DONE,
    PROPERTY,
    SINCE_FIRST,
    SINCE_LAST,
    TITLE,
    TOTAL,
    WITHIN,
    ask,
    condition,
    found,
    names_of,
)
from tests.api.many import add_events, add_occurrences
from tests.api.statements import count_statements

OF_KEY = {"extra_value": "buy"}
BOUGHT = condition(KEY, "in", ["buy"])
NOT_BOUGHT = condition(KEY, "not_in", ["buy"])
OFTEN = condition(COUNT, ">", 8, **OF_KEY)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The statements for pages of contacts, each with its parameters."""
    sent = []

    def fetch_and_keep(statement: str, parameters: Any, prepare: bool | None = None) -> Any:
        sent.append((statement, parameters))
        return fetch_rows(statement, parameters, prepare=prepare)

    monkeypatch.setattr("crm.selectors.fetch_rows", fetch_and_keep)
    return sent


def explain(statement: str, parameters: Any) -> Any:
    """Return the plan of a statement."""
    with psycopg.ClientCursor(connection.connection) as sql:
        sql.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        (plans,) = sql.fetchone() or ([],)
    return plans[0]["Plan"]


def branches(plan: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Yield each node of a plan behind those that it is in."""
    yield [plan]
    for inner in plan.get("Plans", []):
        for branch in branches(inner):
            yield [plan, *branch]


@pytest.mark.parametrize(
    "filters",
    [[[NOT_BOUGHT]], [[BOUGHT, OFTEN]], [[BOUGHT], [condition(FIRST_NAME, "contains", "a")]]],
    ids=["negated", "two conditions", "two groups"],
)
@pytest.mark.parametrize("order", ["id", "email"])
def test_a_filter_is_planned_for_all_of_its_contacts(
    api: APIClient, statements: list[tuple[str, Any]], filters: Any, order: str
) -> None:
    # Where a LIMIT stands above a filter, PostgreSQL before 17 chose a loop that took a minute.
    assert ask(api, filters, sort_by=order).status_code == 200
    plan = explain(*statements[0])
    scans = [branch for branch in branches(plan) if branch[-1].get("Relation Name")]
    assert scans
    for *outer, _ in scans:
        names = [node.get("Subplan Name") for node in outer]
        inside = outer[names.index("CTE found") :]
        assert "Limit" not in [node["Node Type"] for node in inside]


@pytest.mark.parametrize(
    "filters",
    [[[BOUGHT]], [[OFTEN]], [[BOUGHT], [OFTEN]], [[condition(TITLE, "contains", "a")]]],
    ids=["key", "count", "two groups", "title"],
)
def test_a_filter_of_one_set_is_read_without_the_table_of_contacts(
    api: APIClient, statements: list[tuple[str, Any]], filters: Any
) -> None:
    assert ask(api, filters).status_code == 200
    tables = {branch[-1].get("Relation Name") for branch in branches(explain(*statements[0]))}
    assert tables - {None} == {"events_trackedevent"}


FORGET_STATISTICS = """
DELETE FROM pg_statistic WHERE starelid = ANY (
    ARRAY['crm_subscriber', 'events_trackedevent', 'events_eventoccurrence']::regclass[])
"""


def plan_by_indexes(contacts: QuerySet[Subscriber]) -> Any:
    """Return the plan that does without sequential scans wherever an index can be used."""
    with connection.cursor() as cursor:
        # On tables as small as these, a sequential scan is cheaper.
        cursor.execute("SET LOCAL enable_seqscan = off")
    return explain(*contacts.query.sql_with_params())


@pytest.fixture
def no_statistics(db: None) -> None:
    """Empty tables. Tests before may have left pages and statistics, by which PostgreSQL plans."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE crm_subscriber CASCADE")
        cursor.execute(FORGET_STATISTICS)


IN_HOURS = {**OF_KEY, "within_hours": 36}
ON_OCCURRENCES = [
    condition(WITHIN, ">=", 3, **IN_HOURS),
    condition(LAST_SEEN, "hours_within", 36, **OF_KEY),
    condition(NOT_DONE, "hours_within", 36, **OF_KEY),
    condition(ANY_VALUE, ">", 9, **IN_HOURS),
    condition(ANY_TITLE, "contains", "a", **IN_HOURS),
    condition(ANY_PROVIDER, "not_in", ["shop"], **IN_HOURS),
    condition(ANY_PROPERTY, ">", 9, **IN_HOURS, path="order.total"),
    condition(SINCE_LAST, "not_done", "pay", **IN_HOURS),
    condition(SINCE_LAST, "not_done", "pay", **IN_HOURS, same="cart_id"),
    condition(SINCE_FIRST, "done", "pay", **OF_KEY, same="cart_id"),
]


@pytest.fixture
def many_events(ada: Subscriber) -> None:
    """Events of another key than that of the filters, as many as decide which index is cheaper."""
    add_events(ada, 500)
    add_occurrences(ada, 500)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE crm_subscriber, events_trackedevent, events_eventoccurrence")


@pytest.mark.parametrize(
    "asked", ON_OCCURRENCES, ids=lambda asked: f"{asked['source'][1]} {asked.get('same', '')}"
)
@pytest.mark.usefixtures("many_events")
def test_the_rows_of_a_key_alone_are_read_by_an_index(asked: dict[str, Any]) -> None:
    sent = {**asked, "source": list(asked["source"])}
    plan = plan_by_indexes(contacts_matching([[sent]]))
    nodes = [branch[-1] for branch in branches(plan)]
    looks = [node["Index Cond"] for node in nodes if "event_key" in node.get("Index Cond", "")]
    assert looks
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]


ASKED = [
    BOUGHT,
    condition(TOTAL, ">=", 3, **OF_KEY),
    condition(WITHIN, "<", 3, **OF_KEY, within_days=30),
    condition(PROPERTY, "=", "a", **OF_KEY, path="plan"),
    condition(TITLE, "contains", "a"),
    condition(("segment", "tags"), "in_all", [1, 2]),
    *ON_OCCURRENCES,
]


@pytest.mark.parametrize("contact_ids", [[1], list(range(1, 201))], ids=["one", "200"])
@pytest.mark.parametrize(
    "asked", ASKED, ids=lambda asked: f"{asked['source'][1]} {asked.get('same', '')}"
)
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.usefixtures("no_statistics")
def test_of_named_contacts_their_own_rows_alone_are_read(
    contact_ids: list[int], asked: dict[str, Any], groups: int
) -> None:
    sent = {**asked, "source": list(asked["source"])}
    filters = compile_filters([[sent]] * groups, "filters")
    plan = plan_by_indexes(those_matching(contact_ids, filters))
    nodes = [branch[-1] for branch in branches(plan)]
    # The scan of an index, or that of a bitmap.
    looks = [node["Index Cond"] for node in nodes if "Index Name" in node]
    assert len(looks) >= 2
    assert all("id = " in look for look in looks)
    assert "Seq Scan" not in [node["Node Type"] for node in nodes]


@pytest.mark.django_db
def test_of_no_contacts_none_matches() -> None:
    assert not those_matching([], []).exists()


def test_titles_are_found_among_the_first_10_000_and_after_them(
    api: APIClient, ada: Subscriber
) -> None:
    bob = Subscriber.objects.create(email="bob@example.com")
    add_events(bob, 10_000)
    for title, provider in (("A late title", "later"), ("Zebra", "custom")):
        track({"event_key": "k", "title": title, "provider": provider, "email": ada.email})
    assert found(api, condition(TITLE, "=", "TITLE 1234")) == ["bob"]
    assert found(api, condition(TITLE, "contains", "zebra")) == ["ada"]
    assert found(api, condition(TITLE, "contains", "late title")) == ["ada"]
    assert found(api, condition(TITLE, "contains", "title")) == ["ada", "bob"]


def test_filtered_contacts_are_in_order_on_every_page(api: APIClient, ada: Subscriber) -> None:
    bob = Subscriber.objects.create(email="bob@example.com")
    for contact in (ada, bob):
        track({"event_key": "buy", "title": "t", "email": contact.email})
    pages = [
        names_of(ask(api, [[BOUGHT]], sort_by="email", per_page="1", page=str(page)))
        for page in (1, 2, 3)
    ]
    assert pages == [["bob"], ["ada"], []]


@pytest.mark.parametrize("path", ["/tags", "/lists"])
def test_the_contacts_of_labels_are_counted_in_one_statement(api: APIClient, path: str) -> None:
    assert api.post(path, {"title": "VIP", "slug": "vip"}).status_code == 200
    without_counts = count_statements(lambda: api.get(f"{path}?exclude_counts=true"))
    assert count_statements(lambda: api.get(path)) == without_counts + 1
