"""Write events of the past, many at a time and each once, whatever is imported again.

Automations are not started by them, and the signal event_tracked is not sent. The tracking switch
does not stop imports, because it is about what programs send now.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection
from django.utils import timezone

from config.api.errors import ApiError
from config.database import fetch_rows
from crm.emails import email_key
from events.tracking.errors import IdempotencyMismatch, SubscriberNotFound
from events.tracking.fields import EventFields
from events.tracking.item_statements import (
    COUNTED,
    ITEM_COUNTER,
    NAMED,
    SENT_COLUMNS,
    track_items,
)
from events.tracking.statements import NEXT_OCCURRENCE

# The owner of the keys of an import begins with it.
OWNER_PREFIX = "import:"
MAX_OWNER_LENGTH = 40


class PastEvent(NamedTuple):
    """An event of a file.

    Attributes:
        fields: what happened.
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


class Imported(NamedTuple):
    """A row that is in the store: how much it has added to a counter, 0 if it was there before.

    `warning` is a sentence, or "".
    """

    added: int
    warning: str = ""


Outcome = Imported | ApiError

# It is dropped after each chunk, because a connection may be kept by an older version.
CREATE = f"""
CREATE TEMPORARY TABLE events_import ({", ".join(SENT_COLUMNS)}, counter bigint,
                                      received_at timestamptz) ON COMMIT DROP
"""
COPY = "COPY events_import FROM STDIN"
DROP = "DROP TABLE events_import"
ITEMS = f"""
item AS MATERIALIZED (
    SELECT sent.*, NULL::bigint AS created_by, %(owner)s::text AS credential,
           nextval('events_trackedevent_id_seq') AS event_id, {NEXT_OCCURRENCE} AS occurrence_id
    FROM events_import sent
)
"""  # noqa: S608
USER_ID = "i.kind = 'user' AND i.source = %(user_source)s AND i.value"
# It returns the items that were not written, and whether their contact exists.
IMPORT = track_items(
    items=ITEMS,
    named=NAMED.format(user_id=USER_ID, locked=""),
    counter=f"COALESCE(c.counter, {ITEM_COUNTER})",
    received_at="COALESCE(c.received_at, %(now)s)",
    event=COUNTED,
    result="""
item.n, ready.n IS NOT NULL
FROM item LEFT JOIN ready USING (n) LEFT JOIN occurrence ON occurrence.id = item.occurrence_id
WHERE occurrence.id IS NULL
""",
)
# Whether the content of items is that of the claims on their keys.
CLAIMS = """
SELECT i.n, k.content = decode(i.content, 'hex')
FROM events_import i JOIN events_idempotencykey k
    ON k.credential = %(owner)s AND k.key = i.idempotency_key
WHERE i.n = ANY(%(numbers)s::int[])
"""


def import_owner(source: str) -> str:
    """Return the owner of the idempotency keys of an import, for the name of its source."""
    owner = f"{OWNER_PREFIX}{source}"
    if len(owner) <= MAX_OWNER_LENGTH:
        return owner
    length = MAX_OWNER_LENGTH - len(OWNER_PREFIX)
    return f"{OWNER_PREFIX}{hashlib.sha256(source.encode()).hexdigest()[:length]}"


def import_events(events: Sequence[PastEvent], source: str, user_source: str = "") -> list[Outcome]:
    """Write a chunk of events in the caller's transaction.

    The events of one contact, key and title count up in the order of `events`. The locks are those
    of a batch, and are held until the caller commits: about 50 ms for 1,000 events.

    Args:
        events: 1,000 to 100,000 of a file.
        source: the name of what is imported. An event whose key this source used before is not
            written again.
        user_source: the source of the user_ids of contacts, "" for that of calls.

    Returns:
        An outcome for each event: imported, or there already, or the error. That is
        SubscriberNotFound without the contact, and IdempotencyMismatch if the key was used with
        other content.
    """
    now = timezone.now()
    parameters = {"owner": import_owner(source), "user_source": user_source, "now": now}
    outcomes: list[Outcome] = [Imported(1)] * len(events)
    _fill(events, now)
    # Planned each time, because its table is made each time and has any number of rows.
    rows = fetch_rows(IMPORT, parameters, prepare=False)
    numbers = [number for number, _ in rows]
    parameters |= {"numbers": numbers}
    claims = dict(fetch_rows(CLAIMS, parameters, prepare=False)) if rows else {}
    with connection.cursor() as cursor:
        cursor.execute(DROP)
    lost = []
    for number, has_contact in rows:
        # First the claim, because the contact may have another e-mail by now.
        if (is_same := claims.get(number)) is not None:
            outcomes[number] = Imported(0) if is_same else IdempotencyMismatch()
        elif has_contact:
            lost.append(number)
        else:
            outcomes[number] = SubscriberNotFound()
    if lost:
        # Their keys were pruned between the two statements.
        again = import_events([events[number] for number in lost], source, user_source)
        for number, outcome in zip(lost, again, strict=True):
            outcomes[number] = outcome
    return outcomes


def _fill(events: Sequence[PastEvent], now: datetime) -> None:
    """Copy events into the temporary table."""
    with connection.cursor() as cursor:
        cursor.execute(CREATE)
        with cursor.copy(COPY) as copy:
            for number, (fields, key, content, counter, received_at) in enumerate(events):
                copy.write_row(
                    (
                        number,
                        fields.subscriber_id,
                        email_key(fields.email),
                        fields.user_id,
                        fields.event_key,
                        fields.title,
                        fields.repeatable,
                        fields.occurred_at or now,
                        key,
                        fields.provider,
                        fields.value,
                        fields.properties,
                        fields.context,
                        content.hex(),
                        counter,
                        received_at,
                    )
                )
