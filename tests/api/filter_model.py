"""Random contacts and filters, and which contacts match: evaluated in plain Python."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.utils import timezone
from hypothesis import strategies as st

TEXTS = ("Ada", "ADA", "ad", "Über uns", "über", "50%", "a_b", "a\\b", "x", "Straße", "it's")
KEYS = ("buy", "Buy")
VALUES = (
    "9",
    "10",
    "100000",
    "9.5",
    "-3",
    "1e2",
    "007",
    ".5",
    "12abc",
    "",
    "Über 9",
    "50%",
    "5_0",
    "1e999x",
    *("10.0", "1e1", "010", "true", "1"),
)
PROVIDERS = ("custom", "Custom", "shop")
STATUSES = ("subscribed", "pending")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
# A postal code or a phone number.
NAME_OF_DIGITS = re.compile(r"\+|-?0\d", re.ASCII)
PROPERTIES: tuple[dict[str, Any], ...] = (
    {},
    {"a": {"b": 5}},
    {"a": {"b": "Red"}},
    {"a": {"b": True}},
    {"a": {"b": None}, "0": "zero"},
    {"a": {"b": 5.0}},
    {"a": "b", "0": 7},
    {"a": {"b": {"c": 1}}},
    {"a": {"b": "5.00"}, "0": "05"},
)
# Stored and asked for: some are equal, though none are the same text.
NUMBERS = (5, "5", "5.00", "05", "5,00")
TRUTHS = (True, "True", 1, "1", False, "0")


class Occurrence(NamedTuple):
    """One time that an event happened, and what it was sent with."""

    at: datetime
    properties: dict[str, Any]
    value: str
    provider: str


@dataclass
class Event:
    """An event of a contact, with its last value, its first provider and its occurrences."""

    key: str
    title: str
    value: str
    provider: str
    unlogged: int
    log: list[Occurrence]

    @property
    def counter(self) -> int:
        return self.unlogged + len(self.log)


@dataclass
class Contact:
    """A contact with what filters ask for."""

    columns: dict[str, Any]
    tags: frozenset[int] = frozenset()
    lists: frozenset[int] = frozenset()
    user: bool = False
    events: list[Event] = field(default_factory=list)
    user_id: str = ""

    def of_key(self, key: str) -> list[Event]:
        return [event for event in self.events if event.key == key]

    def log_of(self, key: str) -> list[Occurrence]:
        return [one for event in self.of_key(key) for one in event.log]


def midnight(days_ago: int) -> datetime:
    day = timezone.localdate() - timedelta(days=days_ago)
    return timezone.make_aware(datetime.combine(day, time()))


def hours_ago(hours: int) -> datetime:
    return timezone.now() - timedelta(hours=hours)


MOMENTS = st.builds(
    lambda days, offset: midnight(days) + offset,
    st.integers(-1, 3),
    st.sampled_from((timedelta(0), timedelta(microseconds=-1), timedelta(hours=7))),
) | st.builds(lambda hours: hours_ago(hours) + timedelta(minutes=30), st.integers(0, 4))
STORED_PROPERTIES = st.builds(
    lambda properties, number, truth: {**properties, "number": number, "truth": truth},
    st.sampled_from(PROPERTIES),
    st.sampled_from(NUMBERS),
    st.sampled_from(TRUTHS),
)
OCCURRENCES = st.builds(
    Occurrence, MOMENTS, STORED_PROPERTIES, st.sampled_from(VALUES), st.sampled_from(PROVIDERS)
)
OPTIONAL_TEXT = st.sampled_from((None, "", *TEXTS))
EVENTS = st.builds(
    Event,
    key=st.sampled_from(KEYS),
    title=st.sampled_from(TEXTS),
    value=st.sampled_from(VALUES),
    provider=st.sampled_from(PROVIDERS),
    unlogged=st.integers(0, 2),
    log=st.lists(OCCURRENCES, min_size=1, max_size=4),
)
CONTACTS = st.builds(
    Contact,
    columns=st.fixed_dictionaries(
        {
            "first_name": OPTIONAL_TEXT,
            "country": OPTIONAL_TEXT,
            "status": st.sampled_from(STATUSES),
            "contact_type": st.sampled_from(("lead", "customer")),
            "created_at": MOMENTS,
            "last_activity": st.none() | MOMENTS,
            "date_of_birth": st.none() | MOMENTS.map(datetime.date),
        }
    ),
    tags=st.frozensets(st.integers(0, 2)),
    lists=st.frozensets(st.integers(0, 2)),
    user=st.booleans(),
    events=st.lists(EVENTS, max_size=4, unique_by=lambda event: (event.key, event.title)),
)

# Returns a contact's occurrences of a key in a window.
InWindow = Callable[[Contact, str], list[Occurrence]]

# The evaluation: each comparison in plain Python, without regard to case, without wildcards.


def number(text: str) -> Decimal | None:
    return Decimal(text) if NUMBER.fullmatch(text) else None


def compared(operator: str, found: Any, value: Any) -> bool:
    return bool(
        {
            "=": found == value,
            "!=": found != value,
            ">": found > value,
            ">=": found >= value,
            "<": found < value,
            "<=": found <= value,
        }[operator]
    )


def text_fits(operator: str, found: str, value: Any) -> bool:
    """Return whether an operator that is not negated is true of a text."""
    low = found.lower()
    if operator == "=":
        return bool(low == value.lower())
    if operator == "contains":
        return str(value).lower() in low
    if operator == "in":
        return low in [one.lower() for one in value]
    if operator == "is_null":
        return found == ""
    as_number = number(found)
    return as_number is not None and compared(operator, as_number, Decimal(value))


def date_fits(operator: str, found: Any, value: Any, start: Callable[[int], Any]) -> bool:
    """Return whether an operator is true of a day or a time; `start(days_ago)` returns the same."""
    if operator == "before":
        return bool(found < value)
    if operator == "after":
        return bool(found > value)
    if operator == "days_before":
        return bool(found < start(value))
    if operator == "days_within":
        return bool(start(value) <= found < start(-1))
    if operator == "hours_before":
        return bool(found < hours_ago(value))
    if operator == "hours_within":
        return bool(found >= hours_ago(value))
    return bool(start(value) <= found < start(value - 1))  # date_equal, of a day so long ago


def values_equal(found: str, value: Any) -> bool:
    """Return whether a value or property equals the value that a filter names."""
    wanted = json.dumps(value) if isinstance(value, bool) else str(value)
    if wanted.lower() in ("true", "false"):
        return found.lower() in {"true": ("true", "1"), "false": ("false", "0")}[wanted.lower()]
    numbers = [None if NAME_OF_DIGITS.match(text) else number(text) for text in (found, wanted)]
    if numbers[1] is None:
        return found.lower() == wanted.lower()
    return numbers[0] == numbers[1]


POSITIVE = {"!=": "=", "not_contains": "contains", "not_in": "in", "not_null": "is_null"}


def property_text(value: Any, path: list[str]) -> str | None:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if value is None or isinstance(value, str) else json.dumps(value)


@dataclass(frozen=True)
class Item:
    """A condition as it is sent, and whether a contact matches it."""

    sent: dict[str, Any]
    fits: Callable[[Contact], bool]


def item(
    name: str, operator: str, value: Any, fits: Callable[[Contact], bool], **more: Any
) -> Item:
    provider = (name.partition("_")[0] == "event" and "event_tracking") or more.pop("provider")
    sent = {"source": [provider, name], "operator": operator, "value": value, **more}
    return Item(sent, fits)


def negatable(operator: str, fits: Callable[[Contact, str], bool]) -> Callable[[Contact], bool]:
    """Return a test of a contact: a negated operator matches where the other does not."""
    if operator in POSITIVE:
        return lambda contact: not fits(contact, POSITIVE[operator])
    return lambda contact: fits(contact, operator)


@st.composite
def text_values(draw: st.DrawFn, operator: str, texts: tuple[str, ...]) -> Any:
    if operator in ("in", "not_in"):
        return draw(st.lists(st.sampled_from(texts), min_size=1, max_size=3))
    if operator in ("is_null", "not_null"):
        return draw(st.sampled_from((None, "", "ignored")))
    return draw(st.sampled_from(texts))


# Beyond 32 bits too: cut to them, some would be the small ones.
COUNTS = st.integers(0, 5) | st.sampled_from((2**31, 2**32 + 1, 2**32 + 2, 2**63 - 1))
TEXT_OPERATORS = ("=", "!=", "contains", "not_contains", "in", "not_in", "is_null", "not_null")
COMPARISONS = ("=", "!=", ">", ">=", "<", "<=")
DATE_OPERATORS = ("before", "after", "date_equal", "days_before", "days_within")
HOURS_OPERATORS = ("hours_before", "hours_within")


@st.composite
def column_items(draw: st.DrawFn) -> Item:
    name = draw(st.sampled_from(("first_name", "country", "contact_type")))
    operator = draw(st.sampled_from(TEXT_OPERATORS))
    value = draw(text_values(operator, (*TEXTS, "LEAD", "cust")))
    fits = negatable(
        operator, lambda contact, positive: text_fits(positive, contact.columns[name] or "", value)
    )
    return item(name, operator, value, fits, provider="subscriber")


@st.composite
def status_items(draw: st.DrawFn) -> Item:
    operator = draw(st.sampled_from(("=", "!=", "in", "not_in")))
    value = draw(text_values(operator, (*STATUSES, "PENDING", "bounced")))
    fits = negatable(
        operator, lambda contact, positive: text_fits(positive, contact.columns["status"], value)
    )
    return item("status", operator, value, fits, provider="subscriber")


@st.composite
def user_items(draw: st.DrawFn) -> Item:
    operator = draw(st.sampled_from(("is_null", "not_null")))
    fits = negatable(operator, lambda contact, _: not contact.user)
    return item("user_id", operator, "", fits, provider="subscriber")


@st.composite
def date_values(draw: st.DrawFn, operator: str, days_only: bool) -> tuple[Any, Any]:
    """Draw a value as it is sent, and what it means to the evaluation."""
    days = draw(st.integers(0, 5))
    if operator.startswith("hours"):
        days += 1
    if operator.startswith(("days", "hours")):
        return draw(st.sampled_from((days, str(days)))), days
    day = midnight(days).date()
    if operator == "date_equal":
        return day.isoformat(), days
    if days_only:
        return day.isoformat(), day
    if draw(st.booleans()):
        return day.isoformat(), midnight(days)
    moment = draw(MOMENTS)
    return moment.isoformat(), moment


@st.composite
def date_items(draw: st.DrawFn) -> Item:
    name = draw(st.sampled_from(("created_at", "last_activity", "date_of_birth")))
    operator = draw(st.sampled_from(DATE_OPERATORS))
    days_only = name == "date_of_birth"
    sent, value = draw(date_values(operator, days_only))

    def start(days: int) -> date:
        return midnight(days).date() if days_only else midnight(days)

    def fits(contact: Contact) -> bool:
        found = contact.columns[name]
        return found is not None and date_fits(operator, found, value, start)

    return item(name, operator, sent, fits, provider="subscriber")


@st.composite
def segment_items(draw: st.DrawFn) -> Item:
    name = draw(st.sampled_from(("tags", "lists")))
    operator = draw(st.sampled_from(("in", "not_in", "in_all", "not_in_all")))
    places = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))

    def fits(contact: Contact) -> bool:
        on = set(places) & getattr(contact, name)
        found = bool(on) if operator in ("in", "not_in") else on == set(places)
        return found != operator.startswith("not")

    return item(name, operator, places, fits, provider="segment")


@st.composite
def any_event_items(draw: st.DrawFn) -> Item:
    name, column, texts, operators = draw(
        st.sampled_from(
            (
                ("event_tracking_key", "key", (*KEYS, "never"), ("in", "not_in")),
                ("event_tracking_provider", "provider", (*PROVIDERS, "y"), ("in", "not_in")),
                ("event_tracking_title", "title", TEXTS, TEXT_OPERATORS[:4]),
            )
        )
    )
    operator = draw(st.sampled_from(operators))
    value = draw(text_values(operator, texts))

    def has(contact: Contact, positive: str) -> bool:
        found = [getattr(event, column) for event in contact.events]
        if positive == "in":
            return bool(set(found) & set(value))
        return any(text_fits(positive, text, value) for text in found)

    return item(name, operator, value, negatable(operator, has))


@st.composite
def keyed_items(draw: st.DrawFn) -> Item:
    key = draw(st.sampled_from((*KEYS, "never")))
    if draw(st.booleans()):
        operator = draw(st.sampled_from(("=", "!=", ">", "<")))
        count = draw(COUNTS)
        fits = negatable(
            operator,
            lambda contact, positive: any(
                compared(positive, event.counter, count) for event in contact.of_key(key)
            ),
        )
        sent = draw(st.sampled_from((count, str(count))))
        return item("event_tracking_key_count", operator, sent, fits, extra_value=key)
    operator = draw(st.sampled_from(("=", "!=", ">", "<", "contains", "not_contains")))
    numeric = operator in "<>"
    value = draw(st.sampled_from(("9", "9.5", "-2", "1e2", "08") if numeric else VALUES))
    value = value or "0"
    fits = negatable(
        operator,
        lambda contact, positive: any(
            values_equal(event.value, value)
            if positive == "="
            else text_fits(positive, event.value, value)
            for event in contact.of_key(key)
        ),
    )
    return item("event_tracking_value", operator, value, fits, extra_value=key)


@st.composite
def number_items(draw: st.DrawFn) -> Item:
    key = draw(st.sampled_from((*KEYS, "never")))
    operator = draw(st.sampled_from(COMPARISONS))
    value = draw(COUNTS)
    if draw(st.booleans()):

        def total(contact: Contact) -> bool:
            number = sum(event.counter for event in contact.of_key(key))
            return compared(operator, number, value)

        return item("event_tracking_total", operator, value, total, extra_value=key)
    window, occurrences = draw(windows(required=True))

    def within(contact: Contact) -> bool:
        return compared(operator, len(occurrences(contact, key)), value)

    return item("event_tracking_count_within", operator, value, within, extra_value=key, **window)


@st.composite
def windows(draw: st.DrawFn, required: bool = False) -> tuple[dict[str, int], InWindow]:
    """Draw the fields of a window, and what returns a contact's occurrences of a key in it."""
    name = draw(st.sampled_from(("within_days", "within_hours", *(() if required else ("",)))))
    number = draw(st.integers(1, 4))
    start = {"within_days": midnight, "within_hours": hours_ago}.get(name)

    def occurrences(contact: Contact, key: str) -> list[Occurrence]:
        return [one for one in contact.log_of(key) if start is None or one.at >= start(number)]

    return {name: number} if name else {}, occurrences


@st.composite
def seen_items(draw: st.DrawFn) -> Item:
    key = draw(st.sampled_from((*KEYS, "never")))
    name, pick = draw(
        st.sampled_from((("event_tracking_first_seen", min), ("event_tracking_last_seen", max)))
    )
    operator = draw(st.sampled_from(DATE_OPERATORS + HOURS_OPERATORS))
    sent, value = draw(date_values(operator, days_only=False))

    def fits(contact: Contact) -> bool:
        times = [one.at for one in contact.log_of(key)]
        return bool(times) and date_fits(operator, pick(times), value, midnight)

    return item(name, operator, sent, fits, extra_value=key)


@st.composite
def not_done_items(draw: st.DrawFn) -> Item:
    key = draw(st.sampled_from((*KEYS, "never")))
    operator, start = draw(
        st.sampled_from((("days_within", midnight), ("hours_within", hours_ago)))
    )
    number = draw(st.integers(1, 4))

    def fits(contact: Contact) -> bool:
        return not any(one.at >= start(number) for one in contact.log_of(key))

    sent = draw(st.sampled_from((number, str(number))))
    return item("event_tracking_not_done", operator, sent, fits, extra_value=key)


@st.composite
def property_items(draw: st.DrawFn) -> Item:
    path = draw(st.sampled_from(("a.b", "a", "0", "a.b.c", "none")))
    operator = draw(st.sampled_from(("=", "!=", ">", "<", "contains", "exists")))
    choices: dict[str, tuple[Any, ...]] = {
        "=": ("red", "5", 5, 5.0, True, "zero"),
        "!=": ("red", "5", 5, 7.0, True),
        ">": (4, "4.5", 7),
        "<": (6, "6"),
        "contains": ("RE", "e", "5"),
        "exists": (None, ""),
    }
    return draw(items_at(path, operator, draw(st.sampled_from(choices[operator]))))


@st.composite
def equality_items(draw: st.DrawFn) -> Item:
    path, values = draw(st.sampled_from((("number", NUMBERS), ("truth", TRUTHS))))
    operator = draw(st.sampled_from(("=", "!=")))
    return draw(items_at(path, operator, draw(st.sampled_from(values))))


def property_fits(operator: str, found: str | None, value: Any) -> bool:
    """Return whether an operator that is not negated is true of a property."""
    if found is None:
        return False
    if operator == "exists":
        return True
    return values_equal(found, value) if operator == "=" else text_fits(operator, found, value)


@st.composite
def items_at(draw: st.DrawFn, path: str, operator: str, value: Any) -> Item:
    """Draw a condition on a property of the latest occurrence, or of any."""
    key = draw(st.sampled_from((*KEYS, "never")))
    latest = draw(st.booleans())
    window, occurrences = ({}, Contact.log_of) if latest else draw(windows())

    def has(contact: Contact, positive: str) -> bool:
        log = list(enumerate(occurrences(contact, key)))
        if latest and log:
            # The later of equal times is the one that was written later.
            log = [max(log, key=lambda entry: (entry[1].at, entry[0]))]
        texts = [property_text(one.properties, path.split(".")) for _, one in log]
        return any(property_fits(positive, text, value) for text in texts)

    name = "event_tracking_property" if latest else "event_tracking_any_property"
    fits = negatable(operator, has)
    return item(name, operator, value, fits, extra_value=key, path=path, **window)


@st.composite
def any_occurrence_items(draw: st.DrawFn) -> Item:
    """Draw a condition on the value, the title or the provider of any occurrence."""
    name, texts, operators = draw(
        st.sampled_from(
            (
                ("value", VALUES, ("=", "!=", ">", "<", "contains", "not_contains")),
                ("title", TEXTS, TEXT_OPERATORS[:4]),
                ("provider", (*PROVIDERS, "y"), ("in", "not_in")),
            )
        )
    )
    key = draw(st.sampled_from((*KEYS, "never")))
    operator = draw(st.sampled_from(operators))
    value = draw(text_values(operator, ("9", "9.5", "1e2") if operator in "<>" else texts)) or "0"
    window, occurrences = draw(windows())

    def has(contact: Contact, positive: str) -> bool:
        log = occurrences(contact, key)
        if name == "title":
            titles = [
                event.title for event in contact.of_key(key) for one in event.log if one in log
            ]
            return any(text_fits(positive, title, value) for title in titles)
        if name == "provider":
            return any(one.provider in value for one in log)
        if positive == "=":
            return any(values_equal(one.value, value) for one in log)
        return any(text_fits(positive, one.value, value) for one in log)

    fits = negatable(operator, has)
    return item(f"event_tracking_any_{name}", operator, value, fits, extra_value=key, **window)


@st.composite
def since_items(draw: st.DrawFn) -> Item:
    """Draw a condition on what was done since the first or the last time of another key."""
    earlier, later = draw(st.permutations((*KEYS, "never")))[:2]
    word, pick = draw(st.sampled_from((("first", min), ("last", max))))
    operator = draw(st.sampled_from(("done", "not_done")))
    same = draw(st.sampled_from(("", "number", "truth", "a.b")))
    window, occurrences = draw(windows())

    def times(log: list[Occurrence]) -> dict[str | None, list[datetime]]:
        found: dict[str | None, list[datetime]] = {}
        for one in log:
            text = property_text(one.properties, same.split(".")) if same else ""
            found.setdefault(text, []).append(one.at)
        return found

    def fits(contact: Contact) -> bool:
        begun, done = times(contact.log_of(earlier)), times(contact.log_of(later))
        in_window = [one.at for one in occurrences(contact, earlier)]
        return any(
            any(at >= pick(begun[text]) for at in done.get(text, [])) == (operator == "done")
            for text in begun
            if text is not None and pick(begun[text]) in in_window
        )

    more = {"same": same} if same else {}
    name = f"event_tracking_since_{word}"
    return item(name, operator, later, fits, extra_value=earlier, **more, **window)


ITEMS = st.one_of(
    column_items(),
    status_items(),
    user_items(),
    date_items(),
    segment_items(),
    any_event_items(),
    keyed_items(),
    number_items(),
    seen_items(),
    not_done_items(),
    property_items(),
    property_items(),
    equality_items(),
    equality_items(),
    equality_items(),
    any_occurrence_items(),
    since_items(),
)
FILTERS = st.lists(st.lists(ITEMS, max_size=3), max_size=3)
# Six filters of one condition on occurrences, for contacts that have many of them.
LOG_ITEMS = st.one_of(
    since_items(), since_items(), since_items(), any_occurrence_items(), seen_items()
)
LOG_FILTERS = st.lists(LOG_ITEMS.map(lambda one: [[one]]), min_size=6, max_size=6)
