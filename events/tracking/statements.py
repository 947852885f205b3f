"""The SQL that writes one event. That for several is in events/tracking/item_statements.py.

Every statement takes its locks in the same order, each kind whole before the next: contacts by id,
claims of idempotency keys by key, event rows by contact, key and title, names by name. Deletion
begins with the contacts as well, and so do corrections.py and merging.py beside this file. So no
two of them can wait for each other in a circle.
"""

from crm.aliases import Kind
from crm.models.outbox import QUIET
from events.models import TrackedEvent
from events.tracking.fields import STORED_COLUMNS

# In the order of the model's fields, as TrackedEvent.from_db takes them.
EVENT_COLUMNS = tuple(field.attname for field in TrackedEvent._meta.concrete_fields)
EVENT = ", ".join(EVENT_COLUMNS)
STORED = ", ".join(STORED_COLUMNS)
# The event as one request made it: with the counter of its occurrence.
RESULT = ", ".join(
    f"{'occurrence' if name == 'counter' else 'event'}.{name}" for name in EVENT_COLUMNS
)

SWITCH = """
switch AS (
    -- If the table is empty, tracking is enabled.
    SELECT COALESCE(bool_and(enabled), true) AS enabled, max(watched) AS watched
    FROM events_trackingswitch
)
"""
# Only for keys that are watched. For others it costs the look at the switch.
RECORD = """
{name} AS (
    INSERT INTO crm_outboxentry
        (subscriber_id, kind, key, title, occurrence_id, counter, amount, occurred_at)
    SELECT {contact}, 'event', event_key, title, {occurrence}, {counter}, 1, {occurred_at}
    FROM {counted} WHERE event_key = ANY ({watched}::text[]) {order}
)
"""

COUNT_UP = """
    -- Rows that do not repeat are outside the partial index, so they never conflict.
    ON CONFLICT (subscriber_id, event_key, title) WHERE repeatable DO UPDATE SET
        counter = t.counter + excluded.counter,
        -- The value of the latest occurrence stays, because posts can commit in another order than
        -- they came, an event can be backdated, and a clock can jump back.
        value = CASE WHEN excluded.updated_at >= t.updated_at THEN excluded.value ELSE t.value END,
        updated_at = GREATEST(t.updated_at, excluded.updated_at),
        created_at = LEAST(t.created_at, excluded.created_at)
"""

# What is imported starts nothing by itself, but shifts how often the event had happened when others
# came.
WATCHED = "(SELECT max(watched) FROM events_trackingswitch)"
# Whether the user of an import has chosen that automations start by it.
IS_LOUD = f"current_setting('{QUIET}', true) = 'off'"
RECORD_IMPORTED = f"""
entry AS (
    INSERT INTO crm_outboxentry (subscriber_id, kind, key, amount, quiet)
    SELECT {{contact}}, 'event', event_key, sum({{amount}}), true
    FROM {{counted}}
    WHERE event_key = ANY ({WATCHED}::text[]) AND {{amount}} > 0 AND {{quiet}}
    GROUP BY {{contact}}, event_key
)
"""

# The catalogue of names. They come last, so that a transaction that waits for a new name holds no
# lock that others need for theirs.
INSERT_NAME = """
name AS (
    INSERT INTO events_eventname (name, first_seen_at)
    -- A known name costs one look, and no number of the sequence.
    SELECT {distinct} event_key, %(now)s
    FROM event LEFT JOIN events_eventname known ON known.name = event.event_key
    WHERE known.name IS NULL
    {order}
    ON CONFLICT (name) DO NOTHING
)
"""
INSERT_ONE_NAME = INSERT_NAME.format(distinct="", order="")
INSERT_NAMES = INSERT_NAME.format(distinct="DISTINCT", order="ORDER BY event_key")

NEXT_OCCURRENCE = "nextval('events_eventoccurrence_id_seq')"

# The name of an event without a contact.
REGISTER_NAME = f"""
WITH {SWITCH}, event AS (
    SELECT %(event_key)s::text AS event_key FROM switch WHERE enabled
), {INSERT_ONE_NAME}
SELECT enabled FROM switch
"""

# A second transaction with the same key waits here until this one commits, gets no row, and finds
# this one's with EARLIER_RESULTS. A contact that does not exist claims nothing, so that a rejected
# request can be sent again.
CLAIM = f"""
claim AS (
    INSERT INTO events_idempotencykey
        (occurrence_id, subscriber_id, credential, key, content, created_at)
    SELECT {NEXT_OCCURRENCE}, contact.id, %(credential)s, %(idempotency_key)s, %(content)s, %(now)s
    FROM contact
    ON CONFLICT (credential, key) DO NOTHING
    RETURNING occurrence_id
)
"""

RECORD_ONE = RECORD.format(
    name="entry",
    watched="(SELECT watched FROM switch)",
    contact="subscriber_id",
    occurrence="occurrence_id",
    counter="counter",
    occurred_at="%(occurred_at)s",
    counted="event, occurrence",
    order="",
)

# Tracks one event in one statement and one commit. It always returns one row: whether tracking is
# enabled, the contact, and the event, which is null if its key is already claimed.
TRACK = """
WITH {switch}, contact AS (
    -- A deletion of the contact waits for this lock, or this waits for it and finds no contact.
    -- So no event is orphaned.
    SELECT id FROM crm_subscriber
    WHERE {contact} AND (SELECT enabled FROM switch)
    FOR KEY SHARE
), {claim} event AS (
    INSERT INTO events_trackedevent AS t
        (subscriber_id, event_key, title, value, provider, counter, unlogged, repeatable,
         created_by_id, created_at, updated_at)
    SELECT contact.id, %(event_key)s, %(title)s, %(value)s, %(provider)s, 1, 0, %(repeatable)s,
           %(created_by)s, %(occurred_at)s, %(occurred_at)s
    FROM contact {claimed}
    {count_up}
    RETURNING {event}
), occurrence AS (
    INSERT INTO events_eventoccurrence
        (id, event_id, subscriber_id, event_key, counter, occurred_at, received_at, {stored})
    SELECT {occurrence_id}, id, subscriber_id, event_key, counter, %(occurred_at)s, %(now)s,
           {stored_values}
    FROM event {claimed}
    RETURNING id AS occurrence_id
), {entry}, {name}
SELECT switch.enabled, contact.id, event.*
FROM switch LEFT JOIN contact ON true LEFT JOIN event ON true
"""

# The id that a program gave a contact: crm.models.Identity.
USER_ID = "i.kind = 'user' AND i.source = %(user_source)s AND i.value"
CONTACT_CONDITIONS: dict[Kind, str] = {
    "contact": "id = %(contact)s",
    "email": "email_key = %(contact)s",
    "user": f"id = (SELECT subscriber_id FROM crm_identity i WHERE {USER_ID} = %(contact)s)",
}


def _track(contact: str, with_key: bool) -> str:
    return TRACK.format(
        switch=SWITCH,
        contact=contact,
        claim=CLAIM + "," if with_key else "",
        claimed=", claim" if with_key else "",
        occurrence_id="claim.occurrence_id" if with_key else NEXT_OCCURRENCE,
        count_up=COUNT_UP,
        event=EVENT,
        stored=STORED,
        stored_values=", ".join(f"%({name})s::{kind}" for name, kind in STORED_COLUMNS.items()),
        entry=RECORD_ONE,
        name=INSERT_ONE_NAME,
    )


# By what names the contact, without and with an idempotency key.
TRACK_BY = {name: _track(contact, False) for name, contact in CONTACT_CONDITIONS.items()}
TRACK_ONCE_BY = {name: _track(contact, True) for name, contact in CONTACT_CONDITIONS.items()}

# As RESULT, of a request whose occurrence may be taken back. If that deleted the event, the columns
# that the claim lacks are null.
CLAIMED = {
    "id": "COALESCE(event.id, k.event_id)",
    "subscriber_id": "COALESCE(event.subscriber_id, k.subscriber_id)",
    "counter": "COALESCE(occurrence.counter, k.counter)",
    "created_at": "COALESCE(event.created_at, k.created_at)",
    "updated_at": "COALESCE(event.updated_at, k.created_at)",
}
CLAIMED_RESULT = ", ".join(CLAIMED.get(name, f"event.{name}") for name in EVENT_COLUMNS)
# The results of earlier requests with these keys: the event as it is now, but with the counter that
# the request made. The id of the event is null if its contact was deleted since.
EARLIER_RESULTS = f"""
SELECT k.key, k.content, {CLAIMED_RESULT}
FROM events_idempotencykey k
    LEFT JOIN events_eventoccurrence occurrence
        ON occurrence.id = k.occurrence_id AND occurrence.subscriber_id = k.subscriber_id
    LEFT JOIN events_trackedevent event
        ON event.id = COALESCE(occurrence.event_id, k.event_id)
            AND event.subscriber_id = k.subscriber_id
WHERE k.credential = %(credential)s AND k.key = ANY(%(keys)s)
"""
