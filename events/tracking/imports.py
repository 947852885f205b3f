"""Write events of the past, many at a time and each once, whatever is imported again.

Automations are not started by them, and the signal event_tracked is not sent. The tracking switch
does not stop imports, because it is about what programs send now.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

import orjson
from django.db import OperationalError, connection
from django.utils import timezone
from psycopg.errors import SerializationFailure

from config.api.errors import ApiError
from config.database import fetch_rows
from crm.emails import email_key
from events.tracking.errors import IdempotencyMismatch, SubscriberNotFound
from events.tracking.fields import STORED_COLUMNS, EventFields
from events.tracking.item_statements import (
    ITEM_COLUMNS,
    ITEM_COUNTER,
    NEXT_EVENT,
    RECORDED_ITEMS,
    STORED_VALUES,
    track_items,
)
from events.tracking.statements import (
    IS_LOUD,
    NEXT_OCCURRENCE,
    RECORD,
    RECORD_IMPORTED,
    STORED,
    USER_ID,
    WATCHED,
)

# The owner of the keys of an import begins with it.
OWNER_PREFIX = "import:"
MAX_OWNER_LENGTH = 40

# One import of a source at a time remembers counters, from its first statement to its commit.
LOCK_SOURCE = f"SELECT pg_advisory_xact_lock({0x7A11}, hashtext(%(owner)s))"

COLUMNS = (*ITEM_COLUMNS, "counter bigint", "received_at timestamptz", "event text")
# One table for all chunks of a transaction, because PostgreSQL keeps a lock for each until the
# commit. Not longer, because a pooler may keep the connection for another version.
CREATE = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS item (
    {", ".join(COLUMNS)},
    event_id bigint DEFAULT {NEXT_EVENT}, occurrence_id bigint DEFAULT {NEXT_OCCURRENCE},
    counted_id bigint
) ON COMMIT DROP
"""
# What is sent of each event. Columns that are the same for all events of a chunk stay null.
TEXTS_OF_FIELDS = ("user_id", "event_key", "title", *STORED_COLUMNS)
SENT = (
    *("n", "subscriber_id", "repeatable", "occurred_at", "counter", "received_at", "content"),
    *("email", "idempotency_key", "event", *TEXTS_OF_FIELDS),
)
# In PostgreSQL's text format, which both sides write and read faster than CSV.
COPY = f"COPY item ({', '.join(SENT)}) FROM STDIN"
NULL = "\\N"
ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
# A chunk of so many events is analyzed. Without statistics of their numbers PostgreSQL has a plan
# for 50,000 that takes more than a minute instead of 3 s.
ANALYZED = 2_000
EMPTY = "TRUNCATE item"


RECORD_QUIET = RECORD_IMPORTED.format(
    contact="contact_id", amount="1", counted="counting", quiet=f"({IS_LOUD}) IS NOT TRUE"
)
RECORD_LOUD = RECORD.format(
    name="loud_entry",
    watched=WATCHED,
    order=f"AND {IS_LOUD} ORDER BY occurrence_id",
    **{**RECORDED_ITEMS, "occurred_at": "COALESCE(occurred_at, %(now)s)"},
)


def _import(items: str) -> str:
    return track_items(
        items=items,
        user_id=USER_ID,
        owner="%(owner)s",
        counter=f"COALESCE(item.counter, {ITEM_COUNTER})",
        received_at="COALESCE(item.received_at, %(now)s)",
        occurred_at="COALESCE(occurred_at, %(now)s)",
        entry=f"{RECORD_QUIET}, {RECORD_LOUD}",
        result="""
(SELECT count(*) FROM occurrence),
ARRAY(SELECT n FROM item WHERE NOT EXISTS (SELECT FROM ready WHERE ready.n = item.n))
""",
    )


# It returns how many items were written, and the numbers of those without a contact.
IMPORT = _import("")
# The same without the items of events whose counter was imported.
IMPORT_REST = _import("item AS MATERIALIZED (SELECT * FROM pg_temp.item WHERE counted_id IS NULL),")
# What items are occurrences of, where its counter was imported. Looked up one by one, because for a
# join PostgreSQL would read all events of the source for each chunk, or compare each with each.
FIND_COUNTED = """
UPDATE item SET counted_id = (
    SELECT m.id FROM events_importedevent m JOIN events_trackedevent e
        ON e.id = m.event_id AND e.subscriber_id = m.subscriber_id
    WHERE m.source = %(owner)s AND m.source_id = item.event LIMIT 1
)
WHERE event > ''
"""
# These occurrences move from `unlogged` into the log, because the counter of the source has them.
# Only those that the source had not counted when its counter was imported count up. Events are
# locked before the claims, so that no claim is left without its event. It returns how many were
# written.
LOG = f"""
WITH contact AS MATERIALIZED (
    SELECT id FROM crm_subscriber
    WHERE id = ANY (ARRAY(
        SELECT (SELECT subscriber_id FROM events_importedevent m WHERE m.id = item.counted_id)
        FROM item
    ))
    ORDER BY id
    FOR KEY SHARE
), known AS MATERIALIZED (
    SELECT m.id AS counted_id, m.counter - m.logged AS without, e.id AS event_id, e.subscriber_id
    FROM events_importedevent m JOIN contact ON contact.id = m.subscriber_id
        JOIN events_trackedevent e ON e.id = m.event_id AND e.subscriber_id = m.subscriber_id
    WHERE m.id IN (SELECT counted_id FROM item)
    ORDER BY e.subscriber_id, e.event_key, e.title
    FOR NO KEY UPDATE OF e
), ready AS MATERIALIZED (
    SELECT n, occurrence_id, known.* FROM item JOIN known USING (counted_id)
), claim AS (
    INSERT INTO events_idempotencykey
        (occurrence_id, subscriber_id, credential, key, content, created_at)
    SELECT r.occurrence_id, r.subscriber_id, %(owner)s, idempotency_key, decode(content, 'hex'),
           %(now)s
    FROM ready r JOIN item USING (n)
    ORDER BY idempotency_key, n
    ON CONFLICT (credential, key) DO NOTHING
    RETURNING occurrence_id
), logging AS MATERIALIZED (
    SELECT * FROM ready WHERE occurrence_id IN (SELECT occurrence_id FROM claim)
), logged AS MATERIALIZED (
    SELECT counted_id, event_id, subscriber_id, count(*) AS number,
           LEAST(count(*), GREATEST(without, 0)) AS covered
    FROM logging GROUP BY counted_id, event_id, subscriber_id, without
), remembered AS (
    UPDATE events_importedevent m
    SET logged = m.logged + l.number, counter = m.counter + l.number - l.covered
    FROM logged l WHERE m.id = l.counted_id AND m.subscriber_id = l.subscriber_id
), event AS (
    UPDATE events_trackedevent t
    SET counter = t.counter + l.number - l.covered, unlogged = t.unlogged - l.covered
    FROM (SELECT event_id, subscriber_id, sum(number) AS number, sum(covered) AS covered
          FROM logged GROUP BY event_id, subscriber_id) l
    WHERE t.id = l.event_id AND t.subscriber_id = l.subscriber_id
    RETURNING t.id, t.subscriber_id, t.event_key, t.counter
), occurrence AS (
    INSERT INTO events_eventoccurrence
        (id, event_id, subscriber_id, event_key, counter, occurred_at, received_at, {STORED})
    SELECT l.occurrence_id, e.id, e.subscriber_id, e.event_key, COALESCE(item.counter, e.counter),
           COALESCE(occurred_at, %(now)s), COALESCE(received_at, %(now)s),
           {STORED_VALUES}
    FROM logging l JOIN item USING (n)
        JOIN event e ON e.id = l.event_id AND e.subscriber_id = l.subscriber_id
    ORDER BY e.subscriber_id, e.event_key
    RETURNING id
), {
    RECORD_IMPORTED.format(
        contact="e.subscriber_id",
        amount="(l.number - l.covered)",
        quiet="true",
        counted="logged l JOIN event e ON e.id = l.event_id AND e.subscriber_id = l.subscriber_id",
    )
}
SELECT count(*) FROM occurrence
"""  # noqa: S608
# The numbers of the items whose key was claimed before, with the same content and with another one.
# LIMIT, because PostgreSQL would read all keys of the source for each chunk otherwise.
CLAIMED = """
SELECT COALESCE(array_agg(n) FILTER (WHERE k.content = decode(item.content, 'hex')), '{}'),
       COALESCE(array_agg(n) FILTER (WHERE k.content <> decode(item.content, 'hex')), '{}')
FROM item CROSS JOIN LATERAL (
    SELECT content, occurrence_id FROM events_idempotencykey
    WHERE credential = %(owner)s AND key = item.idempotency_key LIMIT 1
) k
WHERE k.occurrence_id <> item.occurrence_id
"""


class Imported(NamedTuple):
    """A row that is in the store: how much it has added to a counter, 0 if it was there before.

    `warning` is a sentence, or "".
    """

    added: int
    warning: str = ""


Outcome = Imported | ApiError


class PastEvent(NamedTuple):
    """An event of a file.

    Attributes:
        fields: what happened. The idempotency key is not read.
        key: by which the source names the event.
        content: SHA-256, by which another event with the same key is recognized.
        counter: of the occurrence, where another store counted it. None counts it here.
        received_at: when another store received it. None is now.
        event: the source_id of the ImportedCount of its event, "" if there is none. The counter
            that was imported has counted this occurrence.
    """

    fields: EventFields
    key: str
    content: bytes
    counter: int | None = None
    received_at: datetime | None = None
    event: str = ""


class EventChunk:
    """Events that are written together, as the text that sends them to PostgreSQL.

    Nothing else of the events is kept.
    """

    def __init__(self, events: Iterable[PastEvent], source: str) -> None:
        """Prepare to write events, 1,000 to 100,000 of a file.

        Args:
            events: the first ones.
            source: the name of what is imported. An event whose key this source used before is not
                written again.
        """
        self.source, self.owner = source, import_owner(source)
        # Whether events have a counter that was imported.
        self.has_counted = False
        self._lines: list[str] = []
        for event in events:
            self.add(event)

    def add(self, past: PastEvent) -> None:
        """Add an event."""
        fields, key, content, counter, received_at, event = past
        texts = _columns((email_key(fields.email), key, event, *_texts_of(fields)))
        self._lines.append(
            f"{len(self._lines)}\t{fields.subscriber_id}\t{fields.repeatable}"
            f"\t{_moment(fields.occurred_at)}\t{NULL if counter is None else counter}"
            f"\t{_moment(received_at)}\t{content.hex()}\t{texts}\n"
        )
        if event:
            self.has_counted = True

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._lines)

    def text(self) -> bytes:
        """Return the events in PostgreSQL's text format."""
        return "".join(self._lines).encode()


_texts_of = attrgetter(*TEXTS_OF_FIELDS)


def _moment(moment: datetime | None) -> str:
    # orjson takes a third of the time of Python.
    return orjson.dumps(moment)[1:-1].decode() if moment else NULL


def _columns(texts: Sequence[str]) -> str:
    """Return texts as columns of COPY's text format."""
    columns = "\t".join(texts)
    # One look at all of them, because most have nothing to escape.
    is_plain = columns.count("\t") == len(texts) - 1
    if is_plain and "\\" not in columns and "\n" not in columns and "\r" not in columns:
        return columns
    return "\t".join(text.translate(ESCAPES) for text in texts)


def import_owner(source: str) -> str:
    """Return the owner of the idempotency keys of an import, for the name of its source."""
    owner = f"{OWNER_PREFIX}{source}"
    if len(owner) <= MAX_OWNER_LENGTH:
        return owner
    length = MAX_OWNER_LENGTH - len(OWNER_PREFIX)
    return f"{OWNER_PREFIX}{hashlib.sha256(source.encode()).hexdigest()[:length]}"


def import_events(chunk: EventChunk, user_source: str = "") -> list[Outcome]:
    """Write a chunk of events in the caller's transaction.

    The events of one contact, key and title count up in their order. The locks are those of a
    batch, and are held until the caller commits: about 50 ms for 1,000 events.

    Args:
        chunk: the events.
        user_source: the source of the user_ids of contacts, "" for that of calls.

    Returns:
        An outcome for each event: imported, or there already, or the error. That is
        SubscriberNotFound without the contact, and IdempotencyMismatch if the key was used with
        other content.

    Raises:
        django.db.OperationalError: the transaction has to be repeated, as after a deadlock.
    """
    parameters: dict[str, Any] = {
        "owner": chunk.owner,
        "user_source": user_source,
        "now": timezone.now(),
    }
    outcomes: list[Outcome] = [Imported(1)] * len(chunk)
    with connection.cursor() as cursor:
        cursor.execute(CREATE)
        with cursor.copy(COPY) as copy:
            copy.write(chunk.text())
        if len(chunk) >= ANALYZED:
            cursor.execute("ANALYZE item (n)")
        # Planned each time, because the table is made each time and has any number of rows.
        run = partial(fetch_rows, parameters=parameters, prepare=False)
        logged = 0
        if chunk.has_counted:
            run(LOCK_SOURCE)
            cursor.execute(FIND_COUNTED, parameters)
            [[logged]] = run(LOG)
        [[created, unknown]] = run(IMPORT_REST if chunk.has_counted else IMPORT)
        created += logged
        same, other = [], []
        if created < len(outcomes):
            [[same, other]] = run(CLAIMED)
        cursor.execute(EMPTY)
    for number in unknown:
        outcomes[number] = SubscriberNotFound()
    # Also without the contact, because it may have another e-mail by now.
    for number in same:
        outcomes[number] = Imported(0)
    for number in other:
        outcomes[number] = IdempotencyMismatch()
    if created + len({*unknown, *same, *other}) < len(outcomes):
        # As PostgreSQL ends a transaction that has to be repeated.
        raise OperationalError("A key was pruned meanwhile.") from SerializationFailure()
    return outcomes
