"""Write events of the past, many at a time and each once, whatever is imported again.

Automations are not started by them, and the signal event_tracked is not sent. The tracking switch
does not stop imports, because it is about what programs send now.
"""

import csv
import hashlib
from collections.abc import Iterable
from datetime import datetime
from io import StringIO
from typing import NamedTuple

from django.db import OperationalError, connection
from django.utils import timezone
from psycopg.errors import SerializationFailure

from config.api.errors import ApiError
from config.database import fetch_rows
from crm.emails import email_key
from events.tracking.errors import IdempotencyMismatch, SubscriberNotFound
from events.tracking.fields import EventFields
from events.tracking.item_statements import (
    ITEM_COLUMNS,
    ITEM_COUNTER,
    NEXT_EVENT,
    track_items,
)
from events.tracking.statements import NEXT_OCCURRENCE

# The owner of the keys of an import begins with it.
OWNER_PREFIX = "import:"
MAX_OWNER_LENGTH = 40
USER_ID = "i.kind = 'user' AND i.source = %(user_source)s AND i.value"

COLUMNS = (*ITEM_COLUMNS, "counter bigint", "received_at timestamptz")
# It is dropped after each chunk, because a connection may be kept by an older version.
CREATE = f"""
CREATE TEMPORARY TABLE item (
    {", ".join(COLUMNS)},
    event_id bigint DEFAULT {NEXT_EVENT}, occurrence_id bigint DEFAULT {NEXT_OCCURRENCE}
) ON COMMIT DROP
"""
# An empty cell is null in a column of another type than text.
COPY = f"""
COPY item ({", ".join(column.split()[0] for column in COLUMNS)}) FROM STDIN (
    FORMAT csv,
    FORCE_NOT_NULL ({", ".join(column.split()[0] for column in COLUMNS if "text" in column)})
)
"""
# A chunk of so many events is analyzed, because PostgreSQL plans 50,000 for 54 s otherwise, and for
# 2.7 s with statistics.
ANALYZED = 2_000
DROP = "DROP TABLE item"
# It returns how many items were written, and the numbers of those without a contact.
IMPORT = track_items(
    items="",
    user_id=USER_ID,
    counter=f"COALESCE(item.counter, {ITEM_COUNTER})",
    received_at="COALESCE(item.received_at, %(now)s)",
    occurred_at="COALESCE(occurred_at, %(now)s)",
    result="""
(SELECT count(*) FROM occurrence),
ARRAY(SELECT n FROM item WHERE NOT EXISTS (SELECT FROM ready WHERE ready.n = item.n))
""",
)
# The numbers of the items whose key was claimed before, with the same content and with another one.
CLAIMED = """
SELECT COALESCE(array_agg(n) FILTER (WHERE k.content = decode(item.content, 'hex')), '{}'),
       COALESCE(array_agg(n) FILTER (WHERE k.content <> decode(item.content, 'hex')), '{}')
FROM item JOIN events_idempotencykey k ON k.credential = item.credential
    AND k.key = item.idempotency_key AND k.occurrence_id <> item.occurrence_id
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
    """

    fields: EventFields
    key: str
    content: bytes
    counter: int | None = None
    received_at: datetime | None = None


class EventChunk:
    """Events that are written together, as the text that sends them to PostgreSQL.

    The text is made beforehand, so that another thread can make it while PostgreSQL writes the
    chunk before. Nothing else of the events is kept.
    """

    def __init__(self, events: Iterable[PastEvent], source: str) -> None:
        """Prepare to write events.

        Args:
            events: 1,000 to 100,000 of a file. An iterator needs less memory and time than a list.
            source: the name of what is imported. An event whose key this source used before is not
                written again.
        """
        owner = import_owner(source)
        text = StringIO(newline="")
        # The writer quotes cells with any character of its line end.
        write = csv.writer(text, lineterminator="\r\n").writerow
        self._size = 0
        for fields, key, content, counter, received_at in events:
            write(
                (
                    self._size,
                    fields.subscriber_id,
                    email_key(fields.email),
                    fields.user_id,
                    fields.event_key,
                    fields.title,
                    fields.repeatable,
                    fields.occurred_at,
                    key,
                    fields.provider,
                    fields.value,
                    fields.properties,
                    fields.context,
                    None,
                    owner,
                    content.hex(),
                    counter,
                    received_at,
                )
            )
            self._size += 1
        self.text = text.getvalue().encode()

    def __len__(self) -> int:
        """Return the number of events."""
        return self._size


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
    parameters = {"user_source": user_source, "now": timezone.now()}
    outcomes: list[Outcome] = [Imported(1)] * len(chunk)
    with connection.cursor() as cursor:
        cursor.execute(CREATE)
        with cursor.copy(COPY) as copy:
            copy.write(chunk.text)
        if len(chunk) >= ANALYZED:
            cursor.execute("ANALYZE item")
        # Planned each time, because the table is made each time and has any number of rows.
        [[created, unknown]] = fetch_rows(IMPORT, parameters, prepare=False)
        same, other = [], []
        if created < len(outcomes):
            [[same, other]] = fetch_rows(CLAIMED, {}, prepare=False)
        cursor.execute(DROP)
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
