"""Demo data: contacts, and what they did in the last 400 days.

Written by COPY instead of track(), which would take half an hour for two million occurrences. The
rows are those that track() would leave, called for each occurrence in the order of time.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, islice

from django.db import connection, transaction
from django.utils import timezone

from config.database import Row, fetch_row, fetch_rows
from crm.attachments import attach
from crm.emails import email_key
from crm.labels import resolve_label_ids
from events.demo.words import DETAILS, LABELS, Kind, contact_columns, kinds
from events.history import MICROSECOND

CONTACTS_SINCE, EVENTS_SINCE = timedelta(days=730), timedelta(days=400)
# The number of occurrences of an event: 2 on average, more than 8 for three in a hundred.
COUNTS = [1] * 136 + [2] * 30 + [3] * 13 + [4] * 11 + [5, 5, 7, 8, 9, 10, 12, 15, 20, 30]
ROWS_PER_COPY = 10_000
EVENTS_PER_SLICE = 100_000
# The events of a run are counted up in memory, 500 MB for a million.
MAX_EVENTS = 10_000_000
# Any number that is the same in every process. Concurrent runs would create the same e-mails.
DEMO_LOCK = 0x7A11_DE30

LAST_NUMBER = r"""
SELECT COALESCE(max(substring(lower(email) FROM '(?:^|\.)demo([0-9]{1,9})@example\.')::bigint), 0)
-- No contact may have an e-mail that is an alias.
FROM (SELECT email FROM crm_subscriber
      UNION ALL SELECT value FROM crm_identity WHERE kind = 'email') e
"""
IDS = "SELECT nextval(%(sequence)s::regclass) FROM generate_series(1, %(number)s)"
OCCURRENCES = """
events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, properties, context,
                        counter, occurred_at, received_at)
"""
CONTACTS = """
crm_subscriber (id, first_name, last_name, email, country, city, phone, status, contact_type,
                source, total_points, life_time_value, custom_values, created_at, last_activity,
                updated_at, email_key)
"""
EVENTS = """
events_trackedevent (id, subscriber_id, event_key, title, provider, value, counter, repeatable,
                     created_at, updated_at)
"""
INSERT_NAME = """
INSERT INTO events_eventname (name, first_seen_at) VALUES (%s, %s) ON CONFLICT (name) DO NOTHING
"""
VACUUM = """
VACUUM (ANALYZE) crm_subscriber, crm_subscriber_tags, crm_subscriber_lists, events_trackedevent,
                 events_eventoccurrence, events_eventname
"""


@dataclass(slots=True)
class Contact:
    """A contact, when it joined, and its last occurrence."""

    id: int
    joined: datetime
    last_seen: str = ""


@dataclass(slots=True)
class Event:
    """A row of events_trackedevent, which is counted up occurrence by occurrence."""

    contact: Contact
    kind: Kind
    id: int = 0
    counter: int = 0
    value: str = ""
    first: str = ""
    last: str = ""


def seed(contacts: int, events_per_contact: int, progress: Callable[[int, int], None]) -> int:
    """Add contacts with events, all of them or none.

    Args:
        contacts: the number of contacts.
        events_per_contact: from 1 to KINDS.
        progress: is called with the numbers of rows written and in total.

    Returns:
        The number of occurrences.
    """
    # Committed before, because new labels lock out others that create some until the commit. They
    # stay if the rest is rolled back.
    labels = [
        (resolve_label_ids(kind, [title], create=True)[0], kind, share)
        for kind, shares in LABELS.items()
        for title, share in shares.items()
    ]
    with transaction.atomic():
        fetch_row("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": DEMO_LOCK})
        [[last_number]] = fetch_rows(LAST_NUMBER, {})
        # Every empty store gets the same demo data.
        chance = random.Random(last_number)  # noqa: S311
        now = timezone.now()
        joined = sorted(now - CONTACTS_SINCE * chance.random() for _ in range(contacts))
        new_contacts = list(map(Contact, _new_ids("crm_subscriber", contacts), joined))
        all_kinds = kinds(chance)
        events = [
            Event(contact, kind)
            for contact in new_contacts
            for kind in chance.sample(all_kinds, events_per_contact)
        ]
        ages = _ages(chance, now, events)
        # Drawn before, because the connection accepts no other statement during COPY.
        event_ids = _new_ids("events_trackedevent", len(events))
        total = len(new_contacts) + len(events) + len(ages)
        done = 0
        for number in chain(
            _copy(OCCURRENCES, _occurrences(chance, now, events, ages, event_ids)),
            _copy(CONTACTS, _contacts(chance, last_number + 1, new_contacts)),
            _copy(EVENTS, _events(events)),
        ):
            done += number
            progress(done, total)
        ids = [contact.id for contact in new_contacts]
        # By id, the order in which deletion locks them.
        for label_id, kind, share in sorted(labels):
            attach(kind, chance.sample(ids, round(contacts * share)), [label_id])
        _insert_names(events)
    return len(ages)


def vacuum() -> None:
    """Update PostgreSQL's statistics for the planner. No transaction may be open."""
    with connection.cursor() as cursor:
        cursor.execute(VACUUM)


def _new_ids(table: str, number: int) -> list[int]:
    rows = fetch_rows(IDS, {"sequence": f"{table}_id_seq", "number": number})
    return [row[0] for row in rows]


def _ages(chance: random.Random, now: datetime, events: list[Event]) -> list[int]:
    """Return the occurrences, the oldest first, as age in microseconds * len(events) + index.

    One number for the age and the index of the event, because pairs would take several times the
    memory.
    """
    ages = []
    counts = chance.choices(COUNTS, k=len(events))
    for index, (event, count) in enumerate(zip(events, counts, strict=True)):
        longest = min(EVENTS_SINCE, now - event.contact.joined) // MICROSECOND
        for _ in range(count):
            # Squared, so that recent occurrences are more frequent.
            ages.append(int(longest * chance.random() ** 2) * len(events) + index)
    ages.sort(reverse=True)
    return ages


def _occurrences(
    chance: random.Random,
    now: datetime,
    events: list[Event],
    ages: list[int],
    event_ids: list[int],
) -> Iterator[Row]:
    """Yield the occurrences in the order of time, and give events their ids and counters."""
    new_ids = iter(event_ids)
    for age_and_index in ages:
        age, index = divmod(age_and_index, len(events))
        event = events[index]
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
    """Yield the events in slices of time, in each by contact, which halves the time of indexing."""
    for event in sorted(events, key=lambda event: event.id // EVENTS_PER_SLICE):
        kind = event.kind
        yield (
            *(event.id, event.contact.id, kind.key, kind.title, kind.provider),
            *(event.value, event.counter, True, event.first, event.last),
        )


def _contacts(
    chance: random.Random, first_number: int, contacts: Iterable[Contact]
) -> Iterator[Row]:
    for number, contact in enumerate(contacts, first_number):
        times = (contact.joined, contact.last_seen, contact.last_seen)
        columns = contact_columns(chance, number)
        key = email_key(columns[2])
        yield (contact.id, *columns, 0, 0, "{}", *times, key)


def _copy(table: str, rows: Iterator[Row]) -> Iterator[int]:
    """Write rows in batches, and yield the number of each batch."""
    number = ROWS_PER_COPY
    while number == ROWS_PER_COPY:
        number = 0
        with (
            connection.wrap_database_errors,
            connection.cursor() as cursor,
            cursor.copy(f"COPY {table} FROM STDIN") as copy,
        ):
            for row in islice(rows, ROWS_PER_COPY):
                copy.write_row(row)
                number += 1
        yield number


def _insert_names(events: list[Event]) -> None:
    """Add the keys to the catalogue. Last, because tracking of a new key waits for the commit."""
    first: dict[str, str] = {}
    for event in events:
        first[event.kind.key] = min(event.first, first.get(event.kind.key, event.first))
    with connection.cursor() as cursor:
        # The foreign keys of labels, whose check at the commit would take seconds.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.executemany(INSERT_NAME, sorted(first.items()))
