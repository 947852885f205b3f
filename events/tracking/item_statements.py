"""The SQL that writes several events: TRACK_TOGETHER and TRACK_MANY, and that of imports.

Its parts are those of events/tracking/statements.py, whose docstring has the order of the locks.
"""

from events.tracking.fields import STORED_COLUMNS
from events.tracking.statements import (
    COUNT_UP,
    EVENT,
    INSERT_NAMES,
    NEXT_OCCURRENCE,
    RECORD,
    RESULT,
    STORED,
    SWITCH,
)

# What an occurrence keeps, of the part `item`.
STORED_VALUES = ", ".join(f"item.{name}::{kind}" for name, kind in STORED_COLUMNS.items())
# By which a statement finds the events that it has counted.
COUNTED = "id, subscriber_id, event_key, title, counter"
# The attributes of EventFields, with the key of the e-mail in its place. Besides them the number of
# the item, the calling user, the owner of the key, and the fingerprint of an item with a key.
ITEM_COLUMNS = (
    *("n int", "subscriber_id bigint", "email text", "user_id text", "event_key text"),
    *("title text", "repeatable bool", "occurred_at timestamptz", "idempotency_key text"),
    # jsonb as text: it is cast where it is stored.
    *(f"{name} text" for name in STORED_COLUMNS),
    *("created_by bigint", "credential text", "content text"),
)
# The id of the event, should it be new.
NEXT_EVENT = "nextval('events_trackedevent_id_seq')"
# The user_id of an item of a call.
ITEM_USER_ID = "i.kind = 'user' AND i.source = item.user_source AND i.value"
# Items of calls are a JSON list of objects. Ids are drawn in the order sent.
CALLED_ITEMS = f"""
{SWITCH}, item AS MATERIALIZED (
    SELECT sent.*, {NEXT_EVENT} AS event_id, {NEXT_OCCURRENCE} AS occurrence_id
    FROM json_to_recordset(%(events)s::json) AS sent(
        {", ".join(ITEM_COLUMNS)}, user_source text)
    WHERE (SELECT enabled FROM switch)
),
"""
# The number of each item and the contact that it names, and the lock on these contacts.
NAMED = """
named AS MATERIALIZED (
    SELECT n, s.id AS contact_id
    FROM item JOIN crm_subscriber s ON s.id = item.subscriber_id
    WHERE item.subscriber_id > 0
    UNION ALL
    SELECT n, s.id FROM item JOIN crm_subscriber s ON s.email_key = item.email
    WHERE item.email > ''
    UNION ALL
    SELECT n, i.subscriber_id FROM item JOIN crm_identity i ON {user_id} = item.user_id
    WHERE item.user_id > ''
){aliased}, contact AS MATERIALIZED (
    SELECT id FROM crm_subscriber
    WHERE id = ANY (ARRAY(SELECT contact_id FROM {named}))
    ORDER BY id
    FOR KEY SHARE {locked}
)
"""
# Contacts that were merged into others, in the same statement, so that all events of a contact are
# counted in the order sent. They are looked up only for items that name no contact otherwise.
ALIASED = """
, aliased AS MATERIALIZED (
    SELECT * FROM named
    UNION ALL
    SELECT n, i.subscriber_id FROM item JOIN crm_identity i ON i.source = ''
        AND i.kind = CASE WHEN item.subscriber_id > 0 THEN 'contact' ELSE 'email' END
        AND i.value = CASE WHEN item.subscriber_id > 0 THEN item.subscriber_id::text
                           ELSE item.email END
    WHERE NOT EXISTS (SELECT FROM named WHERE named.n = item.n)
)
"""

# Tracks several events in one statement and one commit. Between its parts it passes on only what
# they need, because a large batch has long properties.
TRACK_ITEMS = """
WITH {items} {contacts}, ready AS MATERIALIZED (
    SELECT n, contact.id AS contact_id, event_key, title, repeatable, value, provider,
           {occurred_at} AS occurred_at, created_by, event_id, occurrence_id,
           idempotency_key > '' AS has_key,
           -- Distinguishes rows that do not repeat from each other, by their own id.
           CASE WHEN repeatable THEN 0 ELSE event_id END AS row_key
    FROM item JOIN {named} named USING (n) JOIN contact ON contact.id = named.contact_id
), claim AS (
    INSERT INTO events_idempotencykey
        (occurrence_id, subscriber_id, credential, key, content, created_at)
    SELECT r.occurrence_id, contact_id, {owner} AS credential, idempotency_key,
           decode(content, 'hex'), %(now)s
    FROM ready r JOIN item USING (n) WHERE has_key
    -- The first of equal keys in a batch claims it, and the others are retries.
    ORDER BY credential, idempotency_key, n
    ON CONFLICT (credential, key) DO NOTHING
    RETURNING occurrence_id
), counting AS MATERIALIZED (
    -- The items of one event row are merged: `size` is their number, `place` this one's position.
    SELECT *, row_number() OVER (same ORDER BY n) AS place, count(*) OVER same AS size
    FROM ready
    WHERE NOT has_key OR occurrence_id IN (SELECT occurrence_id FROM claim)
    WINDOW same AS (PARTITION BY contact_id, event_key, title, row_key)
), event AS (
    INSERT INTO events_trackedevent AS t
        (id, subscriber_id, event_key, title, value, provider, counter, unlogged, repeatable,
         created_by_id, created_at, updated_at)
    SELECT event_id, contact_id, event_key, title, value, provider, size, 0, repeatable,
           created_by, first_at, last_at
    FROM (
        -- Most are alone. The others take longer.
        SELECT event_id, contact_id, event_key, title, repeatable, size, value, provider,
               created_by, occurred_at AS first_at, occurred_at AS last_at
        FROM counting WHERE size = 1
        UNION ALL
        SELECT min(event_id), contact_id, event_key, title, repeatable, size,
               (array_agg(value ORDER BY occurred_at DESC, n DESC))[1],
               (array_agg(provider ORDER BY n))[1], (array_agg(created_by ORDER BY n))[1],
               min(occurred_at), max(occurred_at)
        FROM counting WHERE size > 1
        GROUP BY contact_id, event_key, title, row_key, repeatable, size
    ) merged
    ORDER BY contact_id, event_key, title
    {count_up}
    RETURNING {event},
              CASE WHEN repeatable THEN 0 ELSE id END AS row_key
), occurrence AS (
    INSERT INTO events_eventoccurrence
        (id, event_id, subscriber_id, event_key, counter, occurred_at, received_at, {stored})
    SELECT c.occurrence_id, e.id, c.contact_id, c.event_key, {counter},
           c.occurred_at, {received_at},
           {stored_values}
    FROM counting c JOIN item USING (n) JOIN event e ON e.subscriber_id = c.contact_id
        AND e.event_key = c.event_key AND e.title = c.title AND e.row_key = c.row_key
    -- In the order of the indexes, so that the rows of a large batch are near each other in them.
    ORDER BY c.contact_id, c.event_key
    RETURNING id, event_id, counter
), {entry}, {names}
SELECT {result}
"""
ITEM_COUNTER = "e.counter - c.size + c.place"
RECORDED_ITEMS = {
    "contact": "contact_id",
    "occurrence": "occurrence_id",
    "counter": "occurrence.counter",
    "occurred_at": "occurred_at",
    "counted": "counting JOIN occurrence ON occurrence.id = occurrence_id",
}
RECORD_ITEMS = RECORD.format(
    name="entry",
    watched="(SELECT watched FROM switch)",
    order="ORDER BY occurrence_id",
    **RECORDED_ITEMS,
)
# A row for each item: whether tracking is enabled, and its number.
RESULT_OF_CALLS = """
switch.enabled, item.n, {result}
FROM switch LEFT JOIN item ON true LEFT JOIN ready USING (n)
    LEFT JOIN occurrence ON occurrence.id = item.occurrence_id {joined}
"""


def track_items(
    *,
    result: str,
    items: str = CALLED_ITEMS,
    user_id: str = ITEM_USER_ID,
    owner: str = "credential",
    aliased: str = ALIASED,
    locked: str = "",
    counter: str = ITEM_COUNTER,
    occurred_at: str = "occurred_at",
    received_at: str = "%(now)s",
    event: str = COUNTED,
    entry: str = RECORD_ITEMS,
) -> str:
    """Return a statement that tracks several events.

    Args:
        result: its rows, from its parts.
        items: the part `item`, followed by a comma, or "" where `item` is a table.
        user_id: the value of an identity that is compared with the user_id of items.
        owner: of the idempotency keys.
        aliased: ALIASED, or "" to leave out contacts that were merged into others.
        locked: SKIP LOCKED to leave out contacts that are locked.
        counter: of an occurrence, by `item`, `c`, its place, and `e`, the event as it is now.
        occurred_at: of an occurrence, by the columns of items.
        received_at: of an occurrence, by `item`.
        event: the columns of counted events.
        entry: the part that records the events in the outbox.
    """
    return TRACK_ITEMS.format(
        items=items,
        contacts=named_contacts(user_id, aliased, locked),
        named="aliased" if aliased else "named",
        owner=owner,
        count_up=COUNT_UP,
        event=event,
        counter=counter,
        occurred_at=occurred_at,
        received_at=received_at,
        stored=STORED,
        stored_values=STORED_VALUES,
        entry=entry,
        names=INSERT_NAMES,
        result=result,
    )


def named_contacts(user_id: str = ITEM_USER_ID, aliased: str = ALIASED, locked: str = "") -> str:
    """Return the parts of a statement that find and lock the contacts of the part `item`."""
    named = "aliased" if aliased else "named"
    return NAMED.format(user_id=user_id, aliased=aliased, named=named, locked=locked)


# A batch that one request sends. It returns the contact, the event and the counter as well.
TRACK_MANY = track_items(
    result=RESULT_OF_CALLS.format(
        result="ready.contact_id, occurrence.event_id, occurrence.counter", joined=""
    )
)
# The events of several requests. It returns EVENT_COLUMNS as well, which are null if the contact
# does not exist or is locked, or the key is claimed. It waits for no lock for long, because the
# requests have nothing to do with each other. It finds no aliases, because an event without a
# contact is written alone.
TRACK_TOGETHER = track_items(
    items=CALLED_ITEMS.replace(
        " AS enabled", " AS enabled, set_config('lock_timeout', '50ms', true)"
    ),
    aliased="",
    locked="SKIP LOCKED",
    event=EVENT,
    result=RESULT_OF_CALLS.format(
        result=RESULT, joined="LEFT JOIN event ON event.id = occurrence.event_id"
    ),
)
