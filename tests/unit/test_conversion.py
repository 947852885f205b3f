"""transfers.conversion: values of a row as crm and events validate them."""

from typing import Any

import pytest

from config.api.errors import FieldErrors, InvalidFields
from config.api.warnings import Warnings
from crm.models import CustomField, Status
from events.exports import escape_formula, unescape_formula
from transfers.conversion import EventMapping, contact_of
from transfers.options import ContactOptions, Options
from transfers.values import DateOrder, DecimalMark

DECLARED = {
    kind: CustomField(slug=kind, label=kind, type=kind)
    for kind in ("number", "date", "date_time", "checkbox")
}


def contact(
    target: str, value: Any, warnings: Warnings | None = None, **options: Any
) -> dict[str, Any]:
    """Convert a row of one cell."""
    chosen = ContactOptions(**{"status": Status.SUBSCRIBED, **options})
    reported: Warnings = [] if warnings is None else warnings
    item = contact_of({"c": value}, {"c": target}, chosen, DECLARED, reported)
    assert warnings is not None or reported == []
    return item


def errors(convert: Any, *args: Any, **options: Any) -> FieldErrors:
    """Return the errors of a conversion, by field."""
    with pytest.raises(InvalidFields) as rejected:
        convert(*args, **options)
    return rejected.value.detail


DATES: list[tuple[str, Any, str]] = [
    ("ymd", "1990-12-31", "1990-12-31"),
    ("dmy", "1990-12-31", "1990-12-31"),
    ("mdy", "1990-12-31T23:59:00+01:00", "1990-12-31"),
    ("dmy", "31.12.1990", "1990-12-31"),
    ("dmy", "1/2/1990", "1990-02-01"),
    ("mdy", "1/2/1990", "1990-01-02"),
    ("mdy", "12-31-1990", "1990-12-31"),
    ("ymd", "1990/12/31", "1990-12-31"),
    ("ymd", "33238", "1990-12-31"),
    ("dmy", 33238, "1990-12-31"),
    ("mdy", "33238,5", "1990-12-31"),
    ("dmy", " 31.12.1990\xa0", "1990-12-31"),
    ("dmy", "0000-00-00", "0000-00-00"),
]


@pytest.mark.parametrize(("order", "value", "date"), DATES)
def test_a_date_is_read_in_the_chosen_order(order: DateOrder, value: Any, date: str) -> None:
    assert contact("date_of_birth", value, date_order=order)["date_of_birth"] == date


WRONG_DATES: list[tuple[str, Any]] = [
    ("ymd", "31.12.1990"),
    # Not swapped.
    ("mdy", "31/12/1990"),
    ("dmy", "12/31/1990"),
    ("dmy", "1990/12/31"),
    # Programs disagree about the century.
    ("dmy", "31.12.90"),
    ("dmy", "31.02.1990"),
    ("dmy", "31.12-1990"),
    ("ymd", "1990"),
    ("ymd", "1700000000"),
    ("ymd", "2020-13-01"),
    ("ymd", "yesterday {x}"),
    ("mdy", "1/2/1990 13:00 PM"),
    ("ymd", "12:30"),
]


@pytest.mark.parametrize(("order", "value"), WRONG_DATES)
@pytest.mark.parametrize("target", ["date_of_birth", "created_at", "custom:date"])
def test_a_date_that_fits_no_order_is_an_error(target: str, order: DateOrder, value: Any) -> None:
    assert [*errors(contact, target, value, date_order=order)[target]] == ["date"]


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2024-07-01 12:00:00", "2024-07-01T10:00:00+00:00"),
        ("2024-07-01", "2024-06-30T22:00:00+00:00"),
        ("1.7.2024 12:30", "2024-07-01T10:30:00+00:00"),
        ("1.7.2024, 2:30:05 PM", "2024-07-01T12:30:05+00:00"),
        ("1.7.2024 12:05 am", "2024-06-30T22:05:00+00:00"),
        ("45474,5", "2024-07-01T10:00:00+00:00"),
        ("2024-07-01T12:00:00-07:00", "2024-07-01T19:00:00+00:00"),
        ("2024-07-01 12:00:00.123456789 +0000 UTC", "2024-07-01T12:00:00.123456+00:00"),
    ],
)
def test_a_datetime_without_a_zone_is_in_the_named_one(value: str, moment: str) -> None:
    item = contact("created_at", value, date_order="dmy", zone="Europe/Berlin")
    assert item["created_at"] == moment
    options = Options(date_order="dmy", zone="Europe/Berlin")
    event = EventMapping({"c": "occurred_at"}, options).event_of({"c": value}, [])
    assert event["occurred_at"].isoformat() == moment


def test_the_zone_is_time_zone_by_default(berlin: None) -> None:
    item = contact("last_activity", "2024-07-01 12:00:00")
    assert item["last_activity"] == "2024-07-01T10:00:00+00:00"


NUMBERS: list[tuple[str, Any, str]] = [
    (".", "1299.5", "1299.5"),
    (".", "1,299.50", "1299.50"),
    (".", "-12", "-12"),
    (",", "1.299,50", "1299.50"),
    (",", "1 299,50", "1299.50"),
    (",", "1'299,5", "1299.5"),
    (",", "1.299", "1299"),
    (",", "12,5", "12.5"),
    (",", 12.5, "12.5"),
]


@pytest.mark.parametrize(("mark", "value", "number"), NUMBERS)
@pytest.mark.parametrize("target", ["latitude", "custom:number"])
def test_a_number_is_read_with_the_chosen_mark(
    target: str, mark: DecimalMark, value: Any, number: str
) -> None:
    item = contact(target, value, decimal_mark=mark)
    assert (item.get("latitude") or item["custom_values"]["number"]) == number


@pytest.mark.parametrize(
    ("mark", "value"),
    [(".", "1,5"), (".", "1.299,50"), (",", "1.5"), (",", "1,299.50"), (".", "x")],
)
def test_a_number_with_another_mark_is_an_error(mark: DecimalMark, value: str) -> None:
    assert errors(contact, "life_time_value", value, decimal_mark=mark) == {
        "life_time_value": {
            "numeric": "The life_time_value is no number with a decimal "
            + ("comma." if mark == "," else "point.")
        }
    }


@pytest.mark.parametrize(
    ("word", "status"),
    [
        *((word, "subscribed") for word in ("Subscribed", "active", "1", "enabled", "Angemeldet")),
        *((word, "unsubscribed") for word in ("UNSUBSCRIBED", "2", "blocklisted", "Désinscrit")),
        *((word, "unsubscribed") for word in ("nicht angemeldet", "Opted Out", "suppressed")),
        *((word, "bounced") for word in ("cleaned", "unreachable", "Bounced", "3", 3)),
        *((word, "pending") for word in ("0", "Unconfirmed", "NEVER_SUBSCRIBED", "non-subscribed")),
        ("complained", "complained"),
        # Unknown words, which crm makes pending.
        ("nicht abonniert", "nicht abonniert"),
        ("true", "true"),
        (True, "True"),
        ("", "empty"),
        (None, "empty"),
    ],
)
def test_a_word_for_a_status_is_known_or_subscribes_no_contact(word: Any, status: str) -> None:
    assert contact("status", word)["status"] == status


def test_a_status_of_a_formula_without_a_value_subscribes_no_contact() -> None:
    warnings: Warnings = []
    assert contact("status", "#N/A", warnings)["status"] == "empty"
    assert [(warning["field"], warning["rule"]) for warning in warnings] == [
        ("status", "spreadsheet")
    ]


def test_contacts_of_a_file_without_a_status_get_the_chosen_one() -> None:
    assert contact("city", "Rome", status=Status.TRANSACTIONAL)["status"] == "transactional"


@pytest.mark.parametrize(
    ("value", "status"),
    [
        *((value, "unsubscribed") for value in ("Yes", "1", "2021-05-06", "too many", True, 1)),
        *((value, "subscribed") for value in ("No", "0", "false", "[]", "", None, False, 0)),
    ],
)
def test_a_column_of_opt_outs_wins_over_the_chosen_status(value: Any, status: str) -> None:
    assert contact("opt_out", value)["status"] == status


def test_a_column_of_opt_outs_keeps_another_opt_out() -> None:
    values, mapping = {"a": "cleaned", "b": "yes"}, {"a": "status", "b": "opt_out"}
    options = ContactOptions(status=Status.SUBSCRIBED)
    assert contact_of(values, mapping, options, {}, [])["status"] == "bounced"


WRONG_OPTIONS: dict[str, Any] = {
    **{"date_order": "dym", "decimal_mark": ";", "zone": "Mars", "status": "Subscribed"},
    "separator": ", ",
}


@pytest.mark.parametrize("name", WRONG_OPTIONS)
def test_an_option_that_there_is_not_is_rejected(name: str) -> None:
    options = {"status": "pending", name: WRONG_OPTIONS[name]}
    assert [*errors(ContactOptions, **options)] == [name]


@pytest.mark.parametrize(
    ("separator", "value", "titles"),
    [
        (",", "VIP, Buyer,,", ["VIP", "Buyer"]),
        (";", "a, b; c", ["a, b", "c"]),
        ("|", "a|b", ["a", "b"]),
        (",", '"VIP","Blog, weekly"', ["VIP", "Blog, weekly"]),
        (",", "2024", ["2024"]),
        (",", 2024, ["2024"]),
        (",", ["a, b", "c"], ["a, b", "c"]),
        (",", '["a, b"]', ["a, b"]),
        (",", "[VIP], x", ["[VIP]", "x"]),
        (",", "日本", ["日本"]),
    ],
)
def test_labels_are_titles_between_separators(
    separator: str, value: Any, titles: list[str]
) -> None:
    assert contact("tags", value, separator=separator)["tags"] == [
        {"title": title} for title in titles
    ]


def test_all_contacts_get_the_chosen_labels() -> None:
    item = contact("tags", "a", tags=("Import",), lists=("News",))
    assert (item["tags"], item["lists"]) == (
        [{"title": "a"}, {"title": "Import"}],
        [{"title": "News"}],
    )


@pytest.mark.parametrize("value", ["4.91511E+12", "4,91511E+12", "4e9", 4.9e15])
@pytest.mark.parametrize("target", ["phone", "postal_code", "user_id"])
def test_a_number_that_a_spreadsheet_rounded_is_left_out(target: str, value: Any) -> None:
    warnings: Warnings = []
    assert target not in contact(target, value, warnings)
    assert [(warning["field"], warning["rule"]) for warning in warnings] == [
        (target, "spreadsheet")
    ]


@pytest.mark.parametrize("value", ["+49 151 1", "01067", 4915112345678, "1E", "E5"])
def test_another_phone_number_stays(value: Any) -> None:
    assert contact("phone", value)["phone"] == value


def test_invisible_characters_around_a_value_are_ignored() -> None:
    assert contact("email", "\ufeff ada@example.com\u200b\xa0")["email"] == "ada@example.com"


@pytest.mark.parametrize(
    ("target", "value", "stored"),
    [
        ("custom:plan", "gold", "gold"),
        ("custom:plan", 5, 5),
        ("custom:number", "1,299", "1299"),
        ("custom:date_time", "2024-01-01", "2024-01-01T00:00:00+00:00"),
        ("custom:checkbox", "Red||Blue", ["Red", "Blue"]),
        ("custom:checkbox", "Red,Blue", "Red,Blue"),
    ],
)
def test_a_custom_value_is_converted_by_its_type(target: str, value: Any, stored: Any) -> None:
    slug = target.removeprefix("custom:")
    assert contact(target, value)["custom_values"] == {slug: stored}


def test_a_column_wins_over_an_object_of_custom_values() -> None:
    values = {"a": '{"plan": "a", "size": "L"}', "b": "gold"}
    mapping = {"a": "custom_values", "b": "custom:plan"}
    options = ContactOptions(status=Status.SUBSCRIBED)
    item = contact_of(values, mapping, options, {}, [])
    assert item["custom_values"] == {"plan": "gold", "size": "L"}


@pytest.mark.parametrize("value", ["{", "x", "[1]", 5])
@pytest.mark.parametrize("target", ["custom_values", "properties", "context"])
def test_an_object_that_is_none_is_an_error(target: str, value: Any) -> None:
    if target == "custom_values":
        found = errors(contact, target, value)
    else:
        found = errors(event, **{target: value})
    assert {field: [*rules] for field, rules in found.items()} == {target: ["json"]}


def event(**values: Any) -> dict[str, Any]:
    """Convert an event whose columns are called as their targets."""
    return EventMapping({name: name for name in values}, Options()).event_of(values, [])


VIEWS: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "page", "name": "Home"}, "page", "Home"),
    ({"type": "0", "properties": '{"title":"Home | Shop","url":"/"}'}, "page", "Home | Shop"),
    ({"type": "screen", "name": "", "properties": {"path": "/cart"}}, "screen", "/cart"),
    ({"type": "page", "properties": "null"}, "page", "page"),
    ({"type": "track", "event": "x", "event_key": "Order"}, "Order", "Order"),
    ({"type": "track", "name": "Order"}, "Order", "Order"),
    ({"event_key": "order", "title": "Order placed"}, "order", "Order placed"),
]


@pytest.mark.parametrize(("values", "key", "title"), VIEWS)
def test_an_event_has_the_key_and_the_title_of_its_call(
    values: dict[str, Any], key: str, title: str
) -> None:
    values.pop("event", None)
    item = event(**values)
    assert (item["event_key"], item["title"]) == (key, title)


@pytest.mark.parametrize("kind", ["identify", "group", "alias", "1", "Track!"])
def test_a_call_that_is_no_event_is_an_error(kind: str) -> None:
    assert [*errors(event, type=kind, name="x")["type"]] == ["in"]


@pytest.mark.parametrize(
    ("named", "context", "email"),
    [
        ({}, {"traits": {"email": "ada@example.com"}}, "ada@example.com"),
        ({"user_id": "7"}, {"traits": {"email": "ada@example.com"}}, None),
        ({"email": "bob@example.com"}, {"traits": {"email": "ada@example.com"}}, "bob@example.com"),
        ({}, {"traits": "x"}, None),
        ({}, {}, None),
    ],
)
def test_a_call_without_a_contact_is_of_the_email_that_its_context_knows(
    named: dict[str, str], context: dict[str, Any], email: str | None
) -> None:
    assert event(type="track", name="x", context=context, **named).get("email") == email


def test_properties_of_columns_join_the_object() -> None:
    values = {"properties": '{"a":1,"b":2}', "properties.b": "3", "properties.c": ""}
    assert event(**values) == {"properties": {"a": 1, "b": "3"}}


@pytest.mark.parametrize("counter", ["3", 3])
def test_a_counter_is_a_whole_number(counter: Any) -> None:
    assert event(counter=counter) == {"counter": 3}


@pytest.mark.parametrize("counter", ["x", "1.5", "-1"])
def test_a_counter_that_is_none_is_an_error(counter: str) -> None:
    assert [*errors(event, counter=counter)["counter"]] == ["numeric"]


@pytest.mark.parametrize(
    ("mark", "value", "stored"),
    [(",", "1.299,50", "1299.50"), (",", "version 2", "version 2"), (".", "1,299", "1,299")],
)
def test_a_value_of_an_event_is_a_number_where_a_comma_is_chosen(
    mark: DecimalMark, value: str, stored: str
) -> None:
    mapping = EventMapping({"c": "value"}, Options(decimal_mark=mark))
    assert mapping.event_of({"c": value}, []) == {"value": stored}


@pytest.mark.parametrize(
    "text", ["=1+1", "+49 30 1", "x;=1", "\t=1", "a\n-b", "5", "a=1", "\u202e=1"]
)
def test_an_escaped_formula_is_as_before(text: str) -> None:
    assert unescape_formula(escape_formula(text)) == text
