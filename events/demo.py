"""A store to try things out on: contacts, and what they did in the last 400 days.

Written by COPY, past track(), which would take half an hour for a million events. What it leaves is
what track() would have left, called once for each occurrence in the order of their times.
"""

import json
import random
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from operator import attrgetter
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from config.database import fetch_row, fetch_rows
from crm.segments import WRITTEN_OUT, attach, named_ids
from events.demo_words import AREAS, PLACES, SEGMENTS, SOURCES, STATUSES

Row = tuple[Any, ...]

CONTACTS_SINCE, EVENTS_SINCE = timedelta(days=730), timedelta(days=400)
# How often an event happened: mean 2, and three in a hundred more than 8 times.
COUNTS = [1] * 136 + [2] * 30 + [3] * 13 + [4] * 11 + [5, 5, 7, 8, 9, 10, 12, 15, 20, 30]
# So many different things are said with one kind of event.
DETAILS = 250
ROWS_AT_ONCE = 10_000
# Any number, the same in every process: two runs at once would give out the same addresses.
LOCK = 0x7A11_DE30

TABLES = (
    *("crm_subscriber", "crm_subscriber_tags", "crm_subscriber_lists"),
    *("events_trackedevent", "events_eventoccurrence", "events_eventname"),
)

LAST_NUMBER = r"""
SELECT COALESCE(max(substring(lower(email) FROM '\.demo([0-9]{1,9})@example\.')::bigint), 0)
FROM crm_subscriber
"""
IDS = "SELECT nextval(pg_get_serial_sequence(%(table)s, 'id')) FROM generate_series(1, %(number)s)"
CONTACT_COLUMNS = """
id, first_name, last_name, email, country, city, phone, status, contact_type, source, total_points,
life_time_value, custom_values, created_at, last_activity, updated_at
"""
OCCURRENCE_COLUMNS = """
event_id, subscriber_id, event_key, provider, value, properties, context, counter, occurred_at,
received_at
"""
EVENT_COLUMNS = """
id, subscriber_id, event_key, title, provider, value, counter, repeatable, created_at, updated_at
"""
NAME = """
INSERT INTO events_eventname (name, first_seen_at) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A key with a title, and what is said with it: value, properties, context."""

    key: str
    title: str
    provider: str
    details: list[tuple[str, str, str]]


KINDS = sum(len(subjects) * len(keys) for _, _, subjects, keys in AREAS)


@dataclass(slots=True)
class Contact:
    """Somebody of whom there are events."""

    id: int
    joined: datetime
    last_seen: datetime


@dataclass(slots=True)
class Event:
    """A row of events_trackedevent, counted up from occurrence to occurrence."""

    contact: Contact
    kind: Kind
    first: datetime
    last: datetime
    id: int = 0
    counter: int = 0
    value: str = ""


def seed(contacts: int, events_per_contact: int, progress: Callable[[int, int], None]) -> int:
    """Add so many contacts with so many events each, up to KINDS: all of them, or none.

    `progress(done, total)` is told of the rows written. Returns how many occurrences there are.
    """
    # Committed at once: made inside, they would keep others from making tags until the end.
    segments = [
        (segment_type, named_ids(segment_type, [title], create=True)[0], share)
        for segment_type, shares in SEGMENTS.items()
        for title, share in shares.items()
    ]
    with transaction.atomic():
        fetch_row("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": LOCK})
        [[number]] = fetch_rows(LAST_NUMBER, {})
        # The same data in every empty store.
        chance = random.Random(number)  # noqa: S311
        now = timezone.now()
        joined = sorted(now - CONTACTS_SINCE * chance.random() for _ in range(contacts))
        people = [
            Contact(contact_id, moment, moment)
            for contact_id, moment in zip(_new_ids("crm_subscriber", contacts), joined, strict=True)
        ]
        kinds = _kinds(chance)
        events = [
            Event(contact, kind, now, now)
            for contact in people
            for kind in chance.sample(kinds, events_per_contact)
        ]
        moments = _moments(chance, now, events)
        total = len(people) + len(events) + len(moments)
        written = 0

        def copy(table: str, columns: str, rows: Iterator[Row]) -> None:
            nonlocal written
            for number in _copy(table, columns, rows):
                written += number
                progress(written, total)

        copy(
            "events_eventoccurrence", OCCURRENCE_COLUMNS, _occurrences(chance, now, events, moments)
        )
        copy("crm_subscriber", CONTACT_COLUMNS, _contacts(chance, number + 1, people))
        events.sort(key=attrgetter("id"))
        copy("events_trackedevent", EVENT_COLUMNS, map(_event, events))
        ids = [contact.id for contact in people]
        for segment_type, segment_id, share in segments:
            attach(segment_type, chance.sample(ids, round(contacts * share)), [segment_id])
        _name(events)
    return len(moments)


def _new_ids(table: str, number: int) -> list[int]:
    return [row[0] for row in fetch_rows(IDS, {"table": table, "number": number})]


def _kinds(chance: random.Random) -> list[Kind]:
    return [
        Kind(key, f"{title}: {subject}", provider, _details(chance, key, host, subject, words))
        for provider, host, subjects, keys in AREAS
        for subject in subjects
        for key, (title, words) in keys.items()
    ]


def _details(
    chance: random.Random, key: str, host: str, subject: str, words: str
) -> list[tuple[str, str, str]]:
    details = []
    for step in range(DETAILS):
        # One number from each part of 0 to 1000, so that all are equally frequent.
        value = chance.choice(words.split() or [f"{(step + chance.random()) * 1000 / DETAILS:.2f}"])
        properties: dict[str, Any] = {}
        if host.startswith("shop") and not words:
            properties = {
                "total": float(value),
                "currency": chance.choice(("EUR", "GBP", "USD")),
                "items": chance.randint(1, 9),
            }
        elif host.startswith("learn"):
            properties = {"course": subject}
        context = {
            "url": f"https://{host}/{key}",
            "utm_source": chance.choice(("letter", "search")),
        }
        kept = chance.randint(0, 2)
        context = dict(islice(context.items(), kept))
        details.append((value, json.dumps(properties), json.dumps(context)))
    return details


def _moments(chance: random.Random, now: datetime, events: list[Event]) -> list[int]:
    """When which event happens, oldest first: its age in microseconds, and its place in `events`.

    Both in one number: millions of pairs would take four times the memory.
    """
    moments = []
    for place, event in enumerate(events):
        longest = min(EVENTS_SINCE, now - event.contact.joined) // timedelta(microseconds=1)
        for _ in range(chance.choice(COUNTS)):
            # Squared: more of them lately.
            moments.append(int(longest * chance.random() ** 2) * len(events) + place)
    moments.sort(reverse=True)
    return moments


def _occurrences(
    chance: random.Random, now: datetime, events: list[Event], moments: list[int]
) -> Iterator[Row]:
    ids = iter(_new_ids("events_trackedevent", len(events)))
    for moment in moments:
        age, place = divmod(moment, len(events))
        event = events[place]
        kind, contact = event.kind, event.contact
        when = now - timedelta(microseconds=age)
        if not event.counter:
            event.id, event.first = next(ids), when
        event.counter += 1
        event.last = contact.last_seen = when
        details = kind.details[int(chance.random() * DETAILS)]
        event.value = details[0]
        yield (event.id, contact.id, kind.key, kind.provider, *details, event.counter, when, when)


def _contacts(chance: random.Random, first_number: int, people: list[Contact]) -> Iterator[Row]:
    for number, contact in enumerate(people, first_number):
        country, code, cities, firsts, lasts = chance.choice(PLACES)
        first, last = chance.choice(firsts), chance.choice(lasts)
        name = ".".join(filter(None, (_plain(first), _plain(last), f"demo{number}")))
        yield (
            contact.id,
            first,
            last,
            f"{name}@example.{chance.choice(('com', 'net', 'org'))}",
            country[0],
            chance.choice(cities),
            f"{code[0]} 555 {chance.randrange(10**6):06}",
            chance.choice(STATUSES.split()),
            chance.choice(("lead", "lead", "customer")),
            chance.choice(SOURCES.split()),
            0,
            0,
            "{}",
            contact.joined,
            contact.last_seen,
            contact.last_seen,
        )


def _plain(name: str) -> str:
    """A name in the letters of an e-mail; nothing, if it is in another script."""
    letters = unicodedata.normalize("NFKD", name.lower().translate(WRITTEN_OUT))
    return "".join(filter(str.isalpha, letters.encode("ascii", "ignore").decode()))


def _event(event: Event) -> Row:
    kind = event.kind
    return (
        *(event.id, event.contact.id, kind.key, kind.title, kind.provider),
        *(event.value, event.counter, True, event.first, event.last),
    )


def _copy(table: str, columns: str, rows: Iterator[Row]) -> Iterator[int]:
    """Write rows, and tell after each part of them how many."""
    while part := list(islice(rows, ROWS_AT_ONCE)):
        with (
            connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy,
        ):
            for row in part:
                copy.write_row(row)
        yield len(part)


def _name(events: list[Event]) -> None:
    """Put the keys into the catalogue; shortly before the commit, because others wait for it."""
    first: dict[str, datetime] = {}
    for event in events:
        first.setdefault(event.kind.key, event.first)
    with connection.cursor() as cursor:
        # What is checked at commit otherwise, which takes seconds.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.executemany(NAME, sorted(first.items()))
