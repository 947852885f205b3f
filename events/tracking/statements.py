"""The SQL that writes events: TRACK_BY for one, TRACK_TOGETHER and TRACK_MANY for several.

Every statement takes its locks in the same order, each kind whole before the next: contacts by id,
claims of idempotency keys by key, event rows by contact, key and title, names by name. Deletion
begins with the contacts as well, and so do corrections.py and merging.py beside this file. So no
two of them can wait for each other in a circle.
"""

from crm.aliases import Kind
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
    SELECT COALESCE((SELECT enabled FROM events_trackingswitch), true) AS enabled
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
), {name}
SELECT switch.enabled, contact.id, event.*
FROM switch LEFT JOIN contact ON true LEFT JOIN event ON true
"""

# The id that the calling program gave a contact: crm.models.Identity.USER.
USER_ID = "i.kind = 'user' AND i.source = '' AND i.value"
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
        name=INSERT_ONE_NAME,
    )


# By what names the contact, without and with an idempotency key.
TRACK_BY = {name: _track(contact, False) for name, contact in CONTACT_CONDITIONS.items()}
TRACK_ONCE_BY = {name: _track(contact, True) for name, contact in CONTACT_CONDITIONS.items()}

# The attributes of EventFields in JSON, with the key of the e-mail in its place. Besides them the
# number of the item, the calling user, the owner of the idempotency key, and the fingerprint of an
# item with a key.
ITEM_COLUMNS = ", ".join(
    (
        *("n int", "subscriber_id bigint", "email text", "user_id text", "event_key text"),
        *("title text", "repeatable bool", "occurred_at timestamptz", "idempotency_key text"),
        # jsonb as text: it is cast where it is stored.
        *(f"{name} text" for name in STORED_COLUMNS),
        *("created_by bigint", "credential text", "content text"),
    )
)

# Tracks several events in one statement and one commit. %(events)s is a JSON list of objects with
# ITEM_COLUMNS. It returns a row for each item: whether tracking is enabled, and its number.
TRACK_ITEMS = """
WITH {switch}, item AS MATERIALIZED (
    -- Ids are drawn in the order sent: of the event, should it be new, and of the occurrence.
    SELECT sent.*, nextval('events_trackedevent_id_seq') AS event_id,
           {next_occurrence} AS occurrence_id
    FROM json_to_recordset(%(events)s::json) AS sent({item_columns})
    WHERE (SELECT enabled FROM switch)
), named AS MATERIALIZED (
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
), ready AS MATERIALIZED (
    SELECT item.*, contact.id AS contact_id,
           -- Distinguishes rows that do not repeat from each other, by their own id.
           CASE WHEN repeatable THEN 0 ELSE event_id END AS row_key
    FROM item JOIN {named} named USING (n) JOIN contact ON contact.id = named.contact_id
), claim AS (
    INSERT INTO events_idempotencykey
        (occurrence_id, subscriber_id, credential, key, content, created_at)
    SELECT occurrence_id, contact_id, credential, idempotency_key, decode(content, 'hex'), %(now)s
    FROM ready WHERE idempotency_key > ''
    -- The first of equal keys in a batch claims it, and the others are retries.
    ORDER BY credential, idempotency_key, n
    ON CONFLICT (credential, key) DO NOTHING
    RETURNING occurrence_id
), counting AS MATERIALIZED (
    -- The items of one event row are merged: `size` is their number, `place` this one's position.
    SELECT *, row_number() OVER (same ORDER BY n) AS place, count(*) OVER same AS size
    FROM ready
    WHERE idempotency_key = '' OR occurrence_id IN (SELECT occurrence_id FROM claim)
    WINDOW same AS (PARTITION BY contact_id, event_key, title, row_key)
), event AS (
    INSERT INTO events_trackedevent AS t
        (id, subscriber_id, event_key, title, value, provider, counter, unlogged, repeatable,
         created_by_id, created_at, updated_at)
    SELECT event_id, contact_id, event_key, title, value, provider, size, 0, repeatable,
           created_by, first_at, last_at
    FROM (
        SELECT min(event_id) AS event_id, contact_id, event_key, title, repeatable, size,
               (array_agg(value ORDER BY occurred_at DESC, n DESC))[1] AS value,
               (array_agg(provider ORDER BY n))[1] AS provider,
               (array_agg(created_by ORDER BY n))[1] AS created_by,
               min(occurred_at) AS first_at, max(occurred_at) AS last_at
        FROM counting
        GROUP BY contact_id, event_key, title, row_key, repeatable, size
    ) merged
    ORDER BY contact_id, event_key, title
    {count_up}
    RETURNING {event},
              CASE WHEN repeatable THEN 0 ELSE id END AS row_key
), occurrence AS (
    INSERT INTO events_eventoccurrence
        (id, event_id, subscriber_id, event_key, counter, occurred_at, received_at, {stored})
    SELECT c.occurrence_id, e.id, c.contact_id, c.event_key, e.counter - c.size + c.place,
           c.occurred_at, %(now)s,
           {stored_values}
    FROM counting c JOIN event e ON e.subscriber_id = c.contact_id
        AND e.event_key = c.event_key AND e.title = c.title AND e.row_key = c.row_key
    ORDER BY c.occurrence_id
    RETURNING id, event_id, counter
), {names}
SELECT switch.enabled, item.n, {result}
FROM switch LEFT JOIN item ON true LEFT JOIN ready USING (n)
    LEFT JOIN occurrence ON occurrence.id = item.occurrence_id {joined}
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


def _track_items(
    *,
    result: str,
    switch: str = SWITCH,
    aliased: str = "",
    locked: str = "",
    joined: str = "",
) -> str:
    return TRACK_ITEMS.format(
        switch=switch,
        next_occurrence=NEXT_OCCURRENCE,
        item_columns=ITEM_COLUMNS,
        user_id=USER_ID,
        aliased=aliased,
        named="aliased" if aliased else "named",
        locked=locked,
        count_up=COUNT_UP,
        event=EVENT,
        stored=STORED,
        stored_values=", ".join(f"c.{name}::{kind}" for name, kind in STORED_COLUMNS.items()),
        names=INSERT_NAMES,
        result=result,
        joined=joined,
    )


# A batch that one request sends. It returns the contact, the event and the counter as well.
TRACK_MANY = _track_items(
    result="ready.contact_id, occurrence.event_id, occurrence.counter", aliased=ALIASED
)
# The events of several requests. It returns EVENT_COLUMNS as well, which are null if the contact
# does not exist or is locked, or the key is claimed. It waits for no lock for long, because the
# requests have nothing to do with each other. It finds no aliases, because an event without a
# contact is written alone.
TRACK_TOGETHER = _track_items(
    switch=SWITCH.replace(" AS enabled", " AS enabled, set_config('lock_timeout', '50ms', true)"),
    locked="SKIP LOCKED",
    result=RESULT,
    joined="LEFT JOIN event ON event.id = occurrence.event_id",
)

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
