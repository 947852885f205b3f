"""Filters over HTTP: what is refused and where, what counts as the same, and what days are."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest

from tests.system.server import API, Answer, Client, Server

CONTACTS = f"{API}/subscribers"
NAME = ["subscriber", "first_name"]
KEY = ["event_tracking", "event_tracking_key"]
COUNT = ["event_tracking", "event_tracking_key_count"]
VALUE = ["event_tracking", "event_tracking_value"]
WITHIN = ["event_tracking", "event_tracking_count_within"]
LAST = ["event_tracking", "event_tracking_last_seen"]
PROPERTY = ["event_tracking", "event_tracking_property"]
TITLE = ["event_tracking", "event_tracking_title"]
TOTAL = ["event_tracking", "event_tracking_total"]
PROVIDER = ["event_tracking", "event_tracking_provider"]
TAGS = ["segment", "tags"]
CREATED = ["subscriber", "created_at"]
PLACE = "advanced_filters.0.0"


def condition(source: Any, operator: Any, value: Any = None, **more: Any) -> dict[str, Any]:
    return {"source": source, "operator": operator, "value": value, **more}


def ask(api: Client, filters: Any, **more: str) -> Answer:
    text = filters if isinstance(filters, str) else json.dumps(filters)
    query = {"filter_type": "advanced", "advanced_filters": text, **more}
    return api("GET", f"{CONTACTS}?{urlencode(query)}")


def found(api: Client, *conditions: dict[str, Any]) -> list[str]:
    """The names before the @ of who fits all the conditions, the oldest contact first."""
    answer = ask(api, [list(conditions)], sort_type="ASC")
    assert answer.status == 200, answer.body
    return [row["email"].partition("@")[0] for row in answer.json()["subscribers"]["data"]]


@pytest.fixture(scope="module")
def caller(server: Server) -> Iterator[Client]:
    """A client for calls that look at nothing stored."""
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def people(api: Client) -> Client:
    """Ada bought twice, Bob logged in, and Cy did nothing."""
    for name in ("ada", "bob", "cy"):
        api.contact(f"{name}@example.com", first_name=name.capitalize() if name != "cy" else None)
    for _ in range(2):
        api.track(event_key="buy", title="Paid 50%", value="9.5", email="ada@example.com")
    api.track(event_key="Login", title="In_app", value="web", email="bob@example.com")
    return api


# A condition, the place of its mistake, and what the refusal says of it.
REFUSED: list[tuple[str, Any, str, str]] = [
    ("no object", "x", "", "must be an object"),
    ("a list for an object", [], "", "must be an object"),
    ("no source", {"operator": "=", "value": "x"}, ".source", "provider and property"),
    ("a source of one", condition(["subscriber"], "=", "x"), ".source", "provider and property"),
    ("a source of three", condition([*NAME, "x"], "=", "x"), ".source", "provider and property"),
    ("a source as text", condition("subscriber", "=", "x"), ".source", "provider and property"),
    ("numbers in the source", condition([1, 2], "=", "x"), ".source", "provider and property"),
    (
        "an unknown provider",
        condition(["woo", "x"], "=", "x"),
        ".source",
        "must be one of: subscriber, segment, event_tracking.",
    ),
    (
        "an unknown property",
        condition(["segment", "tag"], "in", [1]),
        ".source",
        "must be one of: status, contact_type, tags, lists.",
    ),
    (
        "an unknown operator",
        condition(COUNT, ">=", 3, extra_value="buy"),
        ".operator",
        "must be one of: =, !=, >, <.",
    ),
    ("an operator of another property", condition(KEY, "=", "buy"), ".operator", "in, not_in"),
    ("no operator", {"source": NAME, "value": "x"}, ".operator", "must be one of: =, !=, contains"),
    ("a list for an operator", condition(NAME, ["="], "x"), ".operator", "must be one of"),
    ("an operator in capitals", condition(KEY, "IN", ["x"]), ".operator", "must be one of"),
    ("no value", {"source": NAME, "operator": "="}, ".value", "is required"),
    ("null", condition(NAME, "=", None), ".value", "is required"),
    ("the empty text", condition(NAME, "!=", ""), ".value", "is required"),
    ("blanks", condition(NAME, "=", " \n"), ".value", "is required"),
    ("the empty text to contain", condition(NAME, "not_contains", ""), ".value", "is required"),
    ("the empty list", condition(NAME, "not_in", []), ".value", "is required"),
    ("a list of the empty text", condition(NAME, "not_in", ["x", ""]), ".value", "empty items"),
    ("an object as text", condition(NAME, "=", {}), ".value", "must be a string"),
    ("a list as text", condition(NAME, "=", ["x"]), ".value", "must be a string"),
    ("true as text", condition(NAME, "=", True), ".value", "must be a string"),
    ("NUL", condition(NAME, "=", "a\0"), ".value", "NUL"),
    ("an object in a list", condition(NAME, "in", [{}]), ".value", "must be a string"),
    ("a text for keys", condition(KEY, "in", "buy"), ".value", "must be an array"),
    ("an object for keys", condition(KEY, "in", {"0": "buy"}), ".value", "must be an array"),
    ("a key of blanks", condition(KEY, "not_in", [" "]), ".value", "empty items"),
    ("1,001 keys", condition(KEY, "in", ["x"] * 1001), ".value", "more than 1000 items"),
    ("a mistyped status", condition(["subscriber", "status"], "!=", "subscribd"), ".value", "one"),
    ("a mistyped status", condition(["segment", "status"], "not_in", ["x"]), ".value", "one of"),
    ("a tag's name", condition(TAGS, "not_in", ["vip"]), ".value", "must be a number"),
    ("a tag alone", condition(TAGS, "in", 1), ".value", "must be an array"),
    ("half a tag", condition(TAGS, "in", [1.5]), ".value", "must be a number"),
    ("a user by name", condition(["subscriber", "user_id"], "!=", "x"), ".value", "a number"),
    ("no date", condition(["subscriber", "created_at"], "before", "soon"), ".value", "valid date"),
    *(
        (f"{value} as a time", condition(CREATED, "after", value), ".value", "valid date")
        for value in (20261122, "20261122", "2026-W47-7", "2026-11-22 soon", "2026-11-22 25:99")
    ),
    *(
        (f"{value} as a day", condition(CREATED, "date_equal", value), ".value", "valid date")
        for value in ("9999-12-31", "2026-11-22 nonsense", "2026-1-2", "2026-02-30")
    ),
    ("a time", condition(CREATED, "date_equal", "2026-01-01 10:00:00"), ".value", "valid date"),
    ("no day", condition(["subscriber", "date_of_birth"], "after", "x"), ".value", "valid date"),
    ("a day of days", condition(LAST, "days_within", "x", extra_value="buy"), ".value", "a number"),
    ("days ahead", condition(LAST, "days_before", -1, extra_value="buy"), ".value", "a number"),
    ("an age", condition(LAST, "days_before", 36501, extra_value="b"), ".value", "0 to 36500"),
    ("a count as text", condition(COUNT, ">", "many", extra_value="buy"), ".value", "a number"),
    ("half a count", condition(COUNT, "=", 1.5, extra_value="buy"), ".value", "a number"),
    ("a count of 2^63", condition(COUNT, "<", 2**63, extra_value="buy"), ".value", "a number"),
    ("a count in a list", condition(COUNT, ">", [1], extra_value="buy"), ".value", "a number"),
    ("a negative count", condition(TOTAL, ">", -1, extra_value="buy"), ".value", "a number"),
    ("true for a count", condition(TOTAL, "=", True, extra_value="buy"), ".value", "a number"),
    ("a number in a list", condition(VALUE, ">", [1], extra_value="buy"), ".value", "a number"),
    ("no number", condition(VALUE, ">", "12abc", extra_value="buy"), ".value", "a number"),
    ("not a number", condition(VALUE, "<", "NaN", extra_value="buy"), ".value", "a number"),
    ("endless", condition(VALUE, "<", "Infinity", extra_value="buy"), ".value", "a number"),
    ("a huge number", condition(VALUE, "<", "1e9999", extra_value="buy"), ".value", "a number"),
    ("a long number", condition(VALUE, "<", "1" * 101, extra_value="buy"), ".value", "a number"),
    ("no key", condition(COUNT, ">", 3), ".extra_value", "is required"),
    ("an empty key", condition(VALUE, "=", "x", extra_value=" "), ".extra_value", "is required"),
    (
        "a list of keys",
        condition(LAST, "after", "2026-01-01", extra_value=["b"]),
        ".extra_value",
        "",
    ),
    (
        "days that mean nothing",
        condition(TOTAL, ">", 1, extra_value="buy", within_days=1),
        ".within_days",
        "has no meaning for event_tracking_total",
    ),
    ("a path that means nothing", condition(KEY, "in", ["b"], path="a"), ".path", "no meaning"),
    ("no days", condition(WITHIN, ">", 3, extra_value="buy"), ".within_days", "is required"),
    ("no path", condition(PROPERTY, "exists", extra_value="buy"), ".path", "is required"),
    ("half a path", condition(PROPERTY, "exists", extra_value="b", path="a."), ".path", "dots"),
    (
        "a path of 11",
        condition(PROPERTY, "exists", extra_value="b", path="a" + ".a" * 10),
        ".path",
        "",
    ),
    ("a property as object", condition(PROPERTY, "=", {}, extra_value="b", path="a"), ".value", ""),
]


@pytest.mark.parametrize(
    ("sent", "place", "says"),
    [pytest.param(*row, id=f"{number} {name}") for number, (name, *row) in enumerate(REFUSED)],
)
def test_a_mistake_is_refused_at_its_place(
    caller: Client, sent: Any, place: str, says: str
) -> None:
    answer = ask(caller, [[sent]])
    assert answer.status == 422, answer.body
    [(where, rules)] = answer.json().items()
    assert where == PLACE + place
    [text] = rules.values()
    assert text.startswith("The ")
    assert says in text


@pytest.mark.parametrize(
    "filters",
    ["", " ", "x", "[[", "null", "1", "{}", '"x"', "[1]", "[null]", "[[],{}]", '{"0":[]}', "[[]]]"],
)
def test_what_is_no_list_of_lists_is_refused(caller: Client, filters: str) -> None:
    answer = ask(caller, filters)
    assert (answer.status, list(answer.json())) == (422, ["advanced_filters"])


def test_all_mistakes_are_told_at_once(caller: Client) -> None:
    right = condition(NAME, "=", "Ada")
    wrong = condition(NAME, "~", "x")
    answer = ask(caller, [[right, wrong], [], [wrong, condition(COUNT, ">", "x")]])
    assert answer.status == 422
    assert list(answer.json()) == [
        "advanced_filters.0.1.operator",
        "advanced_filters.2.0.operator",
        "advanced_filters.2.1.extra_value",
        "advanced_filters.2.1.value",
    ]


def test_fifty_conditions_are_taken_and_fifty_one_are_not(caller: Client) -> None:
    one = condition(KEY, "in", ["buy"])
    assert ask(caller, [[one] * 25, [one] * 25]).status == 200
    answer = ask(caller, [[one] * 25, [one] * 26])
    assert answer.status == 422
    assert answer.json() == {
        "advanced_filters": {"max": "The advanced_filters may not have more than 50 conditions."}
    }


@pytest.mark.parametrize("filters", ["[]", "[[]]", "[[],[]]"])
def test_no_condition_is_no_filter(people: Client, filters: str) -> None:
    assert ask(people, filters).json()["subscribers"]["total"] == 3


def test_no_condition_in_a_json_body_is_no_filter_either(people: Client) -> None:
    sent = {"filter_type": "advanced", "advanced_filters": []}
    assert people("GET", CONTACTS, sent).json()["subscribers"]["total"] == 3


def test_an_empty_group_beside_others_is_dropped(people: Client) -> None:
    answer = ask(people, [[], [condition(NAME, "=", "Ada")], []])
    assert answer.json()["subscribers"]["total"] == 1


def test_a_filter_may_come_in_brackets_as_a_form_sends_it(people: Client) -> None:
    item = "advanced_filters[0][0]"
    query = urlencode(
        {
            "filter_type": "advanced",
            f"{item}[source][0]": "event_tracking",
            f"{item}[source][1]": "event_tracking_key",
            f"{item}[operator]": "in",
            f"{item}[value][]": "buy",
        }
    )
    page = people("GET", f"{CONTACTS}?{query}").json()["subscribers"]
    assert [row["email"] for row in page["data"]] == ["ada@example.com"]


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        (condition(KEY, "in", ["login"]), []),
        (condition(KEY, "in", ["Login"]), ["bob"]),
        (condition(KEY, "in", ["  Login "]), ["bob"]),
        (condition(TITLE, "=", "PAID 50%"), ["ada"]),
        (condition(TITLE, "contains", "0%"), ["ada"]),
        (condition(TITLE, "contains", "%"), ["ada"]),
        (condition(TITLE, "contains", "_"), ["bob"]),
        (condition(TITLE, "contains", "\\"), []),
        (condition(TITLE, "contains", "'"), []),
        (condition(PROVIDER, "in", ["CUSTOM"]), []),
        (condition(NAME, "=", "ADA"), ["ada"]),
        (condition(NAME, "!=", "ada"), ["bob", "cy"]),
        (condition(NAME, "not_contains", "a"), ["bob", "cy"]),
        (condition(NAME, "not_in", ["bob", "ADA"]), ["cy"]),
        (condition(NAME, "in", "Bob"), ["bob"]),
        (condition(NAME, "is_null", "passed over"), ["cy"]),
        (condition(NAME, "not_null"), ["ada", "bob"]),
        (condition(VALUE, ">", 9, extra_value="buy"), ["ada"]),
        (condition(VALUE, "<", "9.50", extra_value="buy"), []),
        (condition(VALUE, "<", 10**9, extra_value="Login"), []),
        (condition(COUNT, "!=", 2, extra_value="buy"), ["bob", "cy"]),
        (
            condition(TOTAL, "=", 0, extra_value="buy"),
            ["bob", "cy"],
        ),
        (
            condition(TOTAL, ">=", 0, extra_value="buy"),
            ["ada", "bob", "cy"],
        ),
        (
            condition(TOTAL, "<", 2, extra_value="buy"),
            ["bob", "cy"],
        ),
        (condition(WITHIN, "=", "2", extra_value="buy", within_days="1"), ["ada"]),
        (condition(TOTAL, "=", 2**32 + 2, extra_value="buy"), []),
        (condition(TOTAL, "<", 2**31, extra_value="buy"), ["ada", "bob", "cy"]),
        (condition(COUNT, ">", 2**63 - 1, extra_value="buy"), []),
        (condition(COUNT, "!=", 2**32 + 2, extra_value="buy"), ["ada", "bob", "cy"]),
        (condition(WITHIN, ">=", 2**31, extra_value="buy", within_days=1), []),
        (condition(TAGS, "not_in", [2**63 - 1]), ["ada", "bob", "cy"]),
        (condition(VALUE, "=", " 9.5 ", extra_value="buy"), ["ada"]),
        (condition(KEY, "in", ["buy"], extra_value="passed over"), ["ada"]),
        (condition(WITHIN, "<=", 1, extra_value="buy", within_days=1), ["bob", "cy"]),
    ],
)
def test_finds_whom_it_means(people: Client, sent: dict[str, Any], names: list[str]) -> None:
    assert found(people, sent) == names


def test_total_is_over_all_titles_and_count_is_of_each(people: Client) -> None:
    for title in "123":
        people.track(event_key="buy", title=title, email="bob@example.com")
    assert found(people, condition(TOTAL, ">=", 3, extra_value="buy")) == ["bob"]
    assert found(people, condition(COUNT, ">", 1, extra_value="buy")) == ["ada"]


def test_a_title_longer_than_its_column_is_found_by_what_was_sent(people: Client) -> None:
    title = "long " * 50
    people.track(event_key="x", title=title, email="cy@example.com")
    sent = condition(TITLE, "=", title)
    assert found(people, sent) == ["cy"]


def test_a_provider_that_was_cut_at_a_blank_is_found_by_what_was_sent(people: Client) -> None:
    provider = "p" * 49 + " shop"
    people.track(event_key="x", title="t", provider=provider, email="cy@example.com")
    assert found(people, condition(PROVIDER, "in", [provider])) == ["cy"]


def test_the_latest_occurrence_has_the_property_that_counts(people: Client) -> None:
    for days, colour in ((1, "red"), (3, "blue")):
        people.track(
            event_key="ship",
            title=colour,
            email="cy@example.com",
            occurred_at=(datetime.now(UTC) - timedelta(days=days)).isoformat(),
            properties={"box": {"colour": colour, "size": 10}},
        )
    asked = {"extra_value": "ship", "path": "box.colour"}
    assert found(people, condition(PROPERTY, "=", "RED", **asked)) == ["cy"]
    assert found(people, condition(PROPERTY, "=", "blue", **asked)) == []
    assert found(people, condition(PROPERTY, "!=", "red", **asked)) == ["ada", "bob"]
    assert found(people, condition(PROPERTY, "exists", **asked)) == ["cy"]
    people.track(
        event_key="ship",
        title="red",
        email="cy@example.com",
        properties={"box": {"colour": "red", "size": "010"}},
    )
    size = {"extra_value": "ship", "path": "box.size"}
    assert found(people, condition(PROPERTY, ">", 9, **size)) == ["cy"]
    assert found(people, condition(PROPERTY, "=", 10.0, **size)) == ["cy"]
    assert found(people, condition(PROPERTY, "=", "10", **size)) == []


def test_first_and_last_seen_are_over_all_events_of_the_key(people: Client) -> None:
    for title, day in (("a", 10), ("a", 20), ("b", 15), ("b", 25)):
        at = f"2026-01-{day} 12:00:00"
        people.track(event_key="log", title=title, email="cy@example.com", occurred_at=at)

    def seen(property_name: str, operator: str, value: str) -> list[str]:
        source = ["event_tracking", f"event_tracking_{property_name}"]
        return found(people, condition(source, operator, value, extra_value="log"))

    assert seen("first_seen", "date_equal", "2026-01-10") == ["cy"]
    assert seen("last_seen", "date_equal", "2026-01-25") == ["cy"]
    for operator in ("before", "after"):
        assert seen("first_seen", operator, "2026-01-10 12:00:00") == []
    assert seen("last_seen", "after", "2026-01-20") == ["cy"]
    assert seen("last_seen", "before", "2026-01-21") == []


def test_days_begin_where_the_day_began_so_many_days_ago(
    people: Client, store: psycopg.Connection
) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begin = today - timedelta(days=7)
    for name, at in (("ada", begin), ("bob", begin - timedelta(microseconds=1)), ("cy", today)):
        email = f"{name}@example.com"
        store.execute("UPDATE crm_subscriber SET created_at = %s WHERE email = %s", [at, email])
    assert found(people, condition(CREATED, "days_within", 7)) == ["ada", "cy"]
    assert found(people, condition(CREATED, "days_before", 7)) == ["bob"]
    assert found(people, condition(CREATED, "date_equal", f"{begin:%Y-%m-%d}")) == ["ada"]
    assert found(people, condition(CREATED, "before", f"{begin:%Y-%m-%d}")) == ["bob"]
    assert found(people, condition(CREATED, "after", begin.isoformat())) == ["cy"]


def test_a_user_id_is_that_of_the_first_user_with_the_contacts_email(
    people: Client, store: psycopg.Connection
) -> None:
    row = store.execute("SELECT id, email FROM auth_user WHERE username = 'admin'").fetchone()
    assert row
    people.contact(row[1].upper())
    admin = row[1].upper().partition("@")[0]
    user = ["subscriber", "user_id"]
    assert found(people, condition(user, "=", row[0])) == [admin]
    assert found(people, condition(user, "not_null")) == [admin]
    assert found(people, condition(user, "!=", str(row[0]))) == ["ada", "bob", "cy"]
    assert found(people, condition(user, "is_null")) == ["ada", "bob", "cy"]


def test_search_sort_pages_and_the_other_parameters_go_with_a_filter(people: Client) -> None:
    bought = [[condition(KEY, "in", ["buy", "Login"])]]
    page = ask(people, bought, search="example", sort_by="email", sort_type="DESC", per_page="1")
    shown = page.json()["subscribers"]
    assert (shown["total"], shown["last_page"]) == (2, 2)
    assert [row["email"] for row in shown["data"]] == ["bob@example.com"]
    second = people("GET", shown["next_page_url"]).json()["subscribers"]
    assert [row["email"] for row in second["data"]] == ["ada@example.com"]
    beyond = ask(people, bought, page="3", per_page="1").json()["subscribers"]
    assert (beyond["total"], beyond["data"], beyond["from"]) == (2, [], None)
    for number in (2**63 - 1, 2**63, 10**18):
        beyond = ask(people, bought, page=str(number), per_page="1000").json()["subscribers"]
        assert (beyond["total"], beyond["data"] == []) == (2, number != 2**63)
    assert ask(people, bought, search="bob").json()["subscribers"]["total"] == 1
    narrowed = ask(people, bought, **{"statuses[]": "pending"}).json()["subscribers"]
    assert (narrowed["total"], narrowed["last_page"]) == (0, 0)


def test_the_groups_of_one_contact_are_one_contact(people: Client) -> None:
    groups = [[condition(KEY, "in", ["buy"])], [condition(NAME, "=", "ada")]]
    shown = ask(people, groups).json()["subscribers"]
    assert (shown["total"], len(shown["data"])) == (1, 1)


def test_filters_answer_while_tracking_is_switched_off(people: Client) -> None:
    people("POST", f"{API}/setting/experiments", {"event_tracking": "no"})
    assert found(people, condition(KEY, "in", ["buy"])) == ["ada"]


def test_a_filter_that_waits_for_a_lock_is_503_and_the_worker_goes_on(
    people: Client, store: psycopg.Connection
) -> None:
    with store.transaction():
        store.execute("LOCK TABLE events_trackedevent IN ACCESS EXCLUSIVE MODE")
        answer = ask(people, [[condition(KEY, "in", ["buy"])]])
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert found(people, condition(KEY, "in", ["buy"])) == ["ada"]


def test_a_filter_longer_than_the_statement_timeout_is_503(
    people: Client, store: psycopg.Connection
) -> None:
    # Every contact has 20 megabytes of values to look through, all of them in vain.
    store.execute("UPDATE events_trackedevent SET value = repeat('ab', 30000)")
    store.execute(
        "INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, "
        "counter, unlogged, repeatable, created_at, updated_at) "
        "SELECT s.id, 'buy', n::text, repeat(md5(n::text), 2000), 'x', 1, 1, true, now(), now() "
        "FROM crm_subscriber s, generate_series(1, 1000) n"
    )
    groups = [[condition(VALUE, "contains", f"z{n}", extra_value="buy")] for n in range(50)]
    answer = ask(people, groups)
    assert (answer.status, answer.json()["code"]) == (503, "service_unavailable")
    assert answer.headers["Retry-After"] == "1"


def test_every_option_is_taken_and_says_what_it_needs(people: Client) -> None:
    examples = {
        "text": "x",
        "texts": ["x"],
        "text or number": 1,
        "status": "pending",
        "statuses": ["pending"],
        "id": 1,
        "ids": [1],
        "number": 1,
        "whole number": 1,
        "days": 7,
        "date": "2026-01-01",
        "date or time": "2026-01-01 10:00:00",
        "event key": "buy",
        "event keys": ["buy"],
        "providers": ["custom"],
        "path": "a.b",
    }
    options = people("GET", f"{CONTACTS}/filter-options").json()["options"]
    assert [group["value"] for group in options] == ["subscriber", "segment", "event_tracking"]
    for group in options:
        for child in group["children"]:
            assert [one["value"] for one in child["operators"]] == list(child["custom_operators"])
            needs = {name: examples[kind] for name, kind in child["needs"].items()}
            for one in child["operators"]:
                value = examples[one["value_type"]] if one["value_type"] else ""
                source = [group["value"], child["value"]]
                answer = ask(people, [[condition(source, one["value"], value, **needs)]])
                assert answer.status == 200, (source, one, answer.body)
                for name in needs:
                    lacking = {key: example for key, example in needs.items() if key != name}
                    refused = ask(people, [[condition(source, one["value"], value, **lacking)]])
                    assert list(refused.json()) == [f"{PLACE}.{name}"]


def test_the_keys_and_providers_to_choose_from_are_those_there_are(people: Client) -> None:
    people.track(event_key="buy", title="t", provider="shop", email="cy@example.com")
    for option, names in (("keys", ["Login", "buy"]), ("providers", ["custom", "shop"])):
        address = f"{API}/reports/ajax-options?option_key=event_tracking_{option}"
        expected = [{"id": name, "title": name} for name in names]
        assert people("GET", address).json() == {"options": expected}


def test_the_filter_options_are_fluentcrms_groups(people: Client) -> None:
    options = people("GET", f"{CONTACTS}/filter-options").json()["options"]
    events = {child["value"]: child for child in options[2]["children"]}
    assert {key: options[2][key] for key in ("label", "value")} == {
        "label": "Event Tracking",
        "value": "event_tracking",
    }
    key = events["event_tracking_key"]
    assert (key["type"], key["component"], key["option_key"], key["is_multiple"]) == (
        "selections",
        "ajax_selector",
        "event_tracking_keys",
        True,
    )
    assert events["event_tracking_key_count"]["type"] == "composite_optioned_compare"
    assert events["event_tracking_key_count"]["custom_operators"] == {
        "=": "equal",
        "!=": "not equal",
        ">": "greater than",
        "<": "less than",
    }


def test_fifty_thousand_values_do_not_keep_a_worker_busy(people: Client) -> None:
    statuses = condition(["subscriber", "status"], "not_in", ["pending"] * 1000)
    sent = {"filter_type": "advanced", "advanced_filters": [[statuses]] * 50}
    began = time.monotonic()
    assert people("GET", CONTACTS, sent).json()["subscribers"]["total"] == 3
    # Alone it takes a fifth of a second; as many parameters of their own took seven.
    assert time.monotonic() - began < 3


def test_an_address_of_100_kilobytes_of_filter_is_answered(people: Client) -> None:
    keys = [f"key{number:05}" for number in range(1000)]
    text = quote(json.dumps([[condition(KEY, "not_in", keys)]]))
    answer = people("GET", f"{CONTACTS}?filter_type=advanced&advanced_filters={text}")
    assert (answer.status, answer.json()["subscribers"]["total"]) == (200, 3)
