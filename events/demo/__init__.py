"""A store to try things out on: contacts, and what they did in the last 400 days.

Written by COPY, past track(), which would take half an hour for two million occurrences. What it
leaves is what track() would have left, called once for each of them in the order of their times.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from config.database import fetch_row, fetch_rows
from crm.labels import attach, resolve_label_ids
from events.demo.words import DETAILS, SEGMENTS, Kind, kinds, person

Row = tuple[Any, ...]

CONTACTS_SINCE, EVENTS_SINCE = timedelta(days=730), timedelta(days=400)
MICROSECOND = timedelta(microseconds=1)
# How often an event happened: mean 2, and three in a hundred more than 8 times.
COUNTS = [1] * 136 + [2] * 30 + [3] * 13 + [4] * 11 + [5, 5, 7, 8, 9, 10, 12, 15, 20, 30]
ROWS_AT_ONCE = 10_000
SLICE = 100_000
# They are held in memory while they are counted up, 500 MB for a million.
MAX_EVENTS = 10_000_000
# Any number, the same in every process: two runs at once would give out the same addresses.
DEMO_LOCK = 0x7A11_DE30

LAST_NUMBER = r"""
SELECT COALESCE(max(substring(lower(email) FROM '(?:^|\.)demo([0-9]{1,9})@example\.')::bigint), 0)
FROM crm_subscriber
"""
IDS = "SELECT nextval(%(sequence)s::regclass) FROM generate_series(1, %(number)s)"
OCCURRENCES = """
events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, properties, context,
                        counter, occurred_at, received_at)
"""
CONTACTS = """
crm_subscriber (id, first_name, last_name, email, country, city, phone, status, contact_type,
                source, total_points, life_time_value, custom_values, created_at, last_activity,
                updated_at)
"""
EVENTS = """
events_trackedevent (id, subscriber_id, event_key, title, provider, value, counter, repeatable,
                     created_at, updated_at)
"""
NAME = """
INSERT INTO events_eventname (name, first_seen_at) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING
"""
VACUUM = """
VACUUM (ANALYZE) crm_subscriber, crm_subscriber_tags, crm_subscriber_lists, events_trackedevent,
                 events_eventoccurrence, events_eventname
"""


@dataclass(slots=True)
class Contact:
    """Somebody who does things."""

    id: int
    joined: datetime
    last_seen: str = ""


@dataclass(slots=True)
class Event:
    """A row of events_trackedevent, counted up from occurrence to occurrence."""

    contact: Contact
    kind: Kind
    id: int = 0
    counter: int = 0
    value: str = ""
    first: str = ""
    last: str = ""


def seed(contacts: int, events_per_contact: int, progress: Callable[[int, int], None]) -> int:
    """Add so many contacts with so many events each, up to KINDS: all of them, or none.

    Only the tags and lists are made before, and stay. `progress(done, total)` is told of the rows
    written. Returns how many occurrences there are.
    """
    # Committed at once: made inside, they would keep others from making any until the end.
    segments = [
        (resolve_label_ids(segment_type, [title], create=True)[0], segment_type, share)
        for segment_type, shares in SEGMENTS.items()
        for title, share in shares.items()
    ]
    with transaction.atomic():
        fetch_row("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": DEMO_LOCK})
        [[last_number]] = fetch_rows(LAST_NUMBER, {})
        # Every empty store gets the same contacts, who do the same.
        chance = random.Random(last_number)  # noqa: S311
        now = timezone.now()
        joined = sorted(now - CONTACTS_SINCE * chance.random() for _ in range(contacts))
        people = list(map(Contact, _new_ids("crm_subscriber", contacts), joined))
        all_kinds = kinds(chance)
        events = [
            Event(contact, kind)
            for contact in people
            for kind in chance.sample(all_kinds, events_per_contact)
        ]
        moments = _moments(chance, now, events)
        # All at once: while COPY runs, the connection takes no other statement.
        event_ids = _new_ids("events_trackedevent", len(events))
        total = len(people) + len(events) + len(moments)
        done = 0
        for number in chain(
            _copy(OCCURRENCES, _occurrences(chance, now, events, moments, event_ids)),
            _copy(CONTACTS, _contacts(chance, last_number + 1, people)),
            _copy(EVENTS, _events(events)),
        ):
            done += number
            progress(done, total)
        ids = [contact.id for contact in people]
        # By id, as whoever deletes several takes them.
        for segment_id, segment_type, share in sorted(segments):
            attach(segment_type, chance.sample(ids, round(contacts * share)), [segment_id])
        _name(events)
    return len(moments)


def vacuum() -> None:
    """Have PostgreSQL know the new rows when it plans; no transaction may be open."""
    with connection.cursor() as cursor:
        cursor.execute(VACUUM)


def _new_ids(table: str, number: int) -> list[int]:
    rows = fetch_rows(IDS, {"sequence": f"{table}_id_seq", "number": number})
    return [row[0] for row in rows]


def _moments(chance: random.Random, now: datetime, events: list[Event]) -> list[int]:
    """When which event happens, oldest first: its age in microseconds, and its place in `events`.

    Both in one number: millions of pairs would take several times the memory.
    """
    moments = []
    counts = chance.choices(COUNTS, k=len(events))
    for place, (event, count) in enumerate(zip(events, counts, strict=True)):
        longest = min(EVENTS_SINCE, now - event.contact.joined) // MICROSECOND
        for _ in range(count):
            # Squared: more of them lately.
            moments.append(int(longest * chance.random() ** 2) * len(events) + place)
    moments.sort(reverse=True)
    return moments


def _occurrences(
    chance: random.Random,
    now: datetime,
    events: list[Event],
    moments: list[int],
    event_ids: list[int],
) -> Iterator[Row]:
    """Each occurrence, in the order of time; counts up the events and gives them ids on the way."""
    new_ids = iter(event_ids)
    for moment in moments:
        age, place = divmod(moment, len(events))
        event = events[place]
        kind, contact = event.kind, event.contact
        when = str(now - age * MICROSECOND)
        if not event.counter:
            event.id, event.first = next(new_ids), when
        event.counter += 1
        details = kind.details[int(chance.random() * DETAILS)]
        event.value = details[0]
        event.last = contact.last_seen = when
        yield (event.id, contact.id, kind.key, kind.provider, *details, event.counter, when, when)


def _events(events: list[Event]) -> Iterator[Row]:
    """In slices of time, and in each by contact: its indexes take it in half the time."""
    for event in sorted(events, key=lambda event: event.id // SLICE):
        kind = event.kind
        yield (
            *(event.id, event.contact.id, kind.key, kind.title, kind.provider),
            *(event.value, event.counter, True, event.first, event.last),
        )


def _contacts(chance: random.Random, first_number: int, people: Iterable[Contact]) -> Iterator[Row]:
    for number, contact in enumerate(people, first_number):
        times = (contact.joined, contact.last_seen, contact.last_seen)
        yield (contact.id, *person(chance, number), 0, 0, "{}", *times)


def _copy(table: str, rows: Iterator[Row]) -> Iterator[int]:
    """Write the rows, some at a time; gives back how many each time."""
    number = ROWS_AT_ONCE
    while number == ROWS_AT_ONCE:
        number = 0
        with (
            connection.wrap_database_errors,
            connection.cursor() as cursor,
            cursor.copy(f"COPY {table} FROM STDIN") as copy,
        ):
            for row in islice(rows, ROWS_AT_ONCE):
                copy.write_row(row)
                number += 1
        yield number


def _name(events: list[Event]) -> None:
    """Put the keys into the catalogue: last, as whoever uses a new one waits for our commit."""
    first: dict[str, str] = {}
    for event in events:
        first[event.kind.key] = min(event.first, first.get(event.kind.key, event.first))
    with connection.cursor() as cursor:
        # The foreign keys of tags and lists: they would be checked at commit, for seconds.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.executemany(NAME, sorted(first.items()))
