"""The SQL that writes events, run by events/tracking/__init__.py (one) and events/tracking/batches.py (many) alone.

Every statement takes its locks in the same order, each kind whole before the next: contacts (by
id), claims of idempotency keys (by key), event rows (by contact, key, title), names. So no two of
them, and no deletion, which begins with the contacts, can wait for each other in a circle.
"""

SWITCH = """
switch AS (
    -- No row: nobody has touched it, and tracking is on.
    SELECT COALESCE((SELECT enabled FROM events_trackingswitch), true) AS enabled
)
"""

COUNT_UP = """
    -- Rows that do not repeat are outside the index: they never conflict.
    ON CONFLICT (subscriber_id, event_key, title) WHERE repeatable DO UPDATE SET
        counter = t.counter + excluded.counter,
        -- Two posts can commit in the other order than they came, and an event can be backdated:
        -- the later one's value stays, and a clock that jumps back moves nothing back.
        value = CASE WHEN excluded.updated_at >= t.updated_at THEN excluded.value ELSE t.value END,
        updated_at = GREATEST(t.updated_at, excluded.updated_at),
        created_at = LEAST(t.created_at, excluded.created_at)
"""

# The catalogue. Names last: who waits for somebody's new name holds nothing that those wait for.
INSERT_NAME = """
name AS (
    INSERT INTO events_eventname (name, first_seen_at)
    SELECT {distinct} event_key, %(now)s FROM event
    -- Known names cost one look, and no number of the sequence.
    WHERE NOT EXISTS (SELECT FROM events_eventname known WHERE known.name = event.event_key)
    {order}
    ON CONFLICT (name) DO NOTHING
)
"""
INSERT_ONE_NAME = INSERT_NAME.format(distinct="", order="")
INSERT_NAMES = INSERT_NAME.format(distinct="DISTINCT", order="ORDER BY event_key")

NEXT_OCCURRENCE = "nextval('events_eventoccurrence_id_seq')"

# An event without a contact: its name alone.
REGISTER_NAME = f"""
WITH {SWITCH}, event AS (
    SELECT %(event_key)s::text AS event_key FROM switch WHERE enabled
), {INSERT_ONE_NAME}
SELECT enabled FROM switch
"""

# Whoever sends the same key at the same moment waits here until this commits, gets no row, and
# finds ours with REPLAYS. A contact that is not there claims nothing: a refusal can be sent again.
CLAIM = f"""
claim AS (
    INSERT INTO events_idempotencykey (occurrence_id, credential, key, content, created_at)
    SELECT {NEXT_OCCURRENCE}, %(credential)s, %(key)s, %(content)s, %(now)s FROM contact
    ON CONFLICT (credential, key) DO NOTHING
    RETURNING occurrence_id
)
"""

# All of tracking one event, in one statement and one commit. One row comes back, whatever happened:
# whether tracking is on, the contact, and the event, which is null if its key is claimed already.
TRACK = """
WITH {switch}, contact AS (
    -- Deleting a contact waits for us, or we wait for it and find nobody: nothing is orphaned.
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
    -- All columns, in the order of TrackedEvent's fields.
    RETURNING id, subscriber_id, event_key, title, value, provider, counter, unlogged, repeatable,
              created_by_id, created_at, updated_at
), occurrence AS (
    INSERT INTO events_eventoccurrence
        (id, event_id, subscriber_id, event_key, provider, value, counter, properties, context,
         occurred_at, received_at)
    SELECT {occurrence_id}, id, subscriber_id, event_key, %(provider)s, %(value)s, counter,
           %(properties)s::jsonb, %(context)s::jsonb, %(occurred_at)s, %(now)s
    FROM event {claimed}
), {name}
SELECT switch.enabled, contact.id, event.*
FROM switch LEFT JOIN contact ON true LEFT JOIN event ON true
"""

CONTACTS = {
    "id": "id = %(who)s",
    # lower(), for which there is an index, and not Django's iexact, which writes UPPER().
    "email": "lower(email) = lower(%(who)s)",
    "user": "lower(email) = (SELECT lower(email) FROM auth_user WHERE id = %(who)s AND email > '')",
}


def _track(contact: str, once: bool) -> str:
    return TRACK.format(
        switch=SWITCH,
        contact=contact,
        claim=CLAIM + "," if once else "",
        claimed=", claim" if once else "",
        occurrence_id="claim.occurrence_id" if once else NEXT_OCCURRENCE,
        count_up=COUNT_UP,
        name=INSERT_ONE_NAME,
    )


# By how the contact is named, without and with an idempotency key.
TRACK_BY = {name: _track(contact, once=False) for name, contact in CONTACTS.items()}
TRACK_ONCE_BY = {name: _track(contact, once=True) for name, contact in CONTACTS.items()}

# A whole batch, in one statement and one commit. %(events)s is a JSON list of objects, one for each
# event, with its number `n`. A row comes back for each, with the same facts as TRACK's: the
# contact, the event, and its counter.
TRACK_MANY = f"""
WITH {SWITCH}, item AS MATERIALIZED (
    -- Drawn in the order sent: ids of the event, should it be new, and of the occurrence.
    SELECT sent.*, nextval('events_trackedevent_id_seq') AS event_id,
           {NEXT_OCCURRENCE} AS occurrence_id
    FROM json_to_recordset(%(events)s::json) AS sent(
        n int, subscriber_id bigint, email text, user_id bigint, event_key text, title text,
        value text, provider text, repeatable bool, properties text, context text,
        occurred_at timestamptz, idempotency_key text, content text)
    WHERE (SELECT enabled FROM switch)
), named AS MATERIALIZED (
    SELECT n, s.id AS contact_id
    FROM item JOIN crm_subscriber s ON s.id = item.subscriber_id
    WHERE item.subscriber_id > 0
    UNION ALL
    SELECT n, s.id FROM item JOIN crm_subscriber s ON lower(s.email) = lower(item.email)
    WHERE item.email > ''
    UNION ALL
    SELECT n, s.id
    FROM item JOIN auth_user u ON u.id = item.user_id AND u.email > ''
    JOIN crm_subscriber s ON lower(s.email) = lower(u.email)
    WHERE item.user_id > 0
), contact AS MATERIALIZED (
    SELECT id FROM crm_subscriber
    WHERE id = ANY (ARRAY(SELECT contact_id FROM named))
    ORDER BY id
    FOR KEY SHARE
), ready AS MATERIALIZED (
    SELECT item.*, contact.id AS contact_id,
           -- What tells rows that do not repeat from each other: their own id.
           CASE WHEN repeatable THEN 0 ELSE event_id END AS alone
    FROM item JOIN named USING (n) JOIN contact ON contact.id = named.contact_id
), claim AS (
    INSERT INTO events_idempotencykey (occurrence_id, credential, key, content, created_at)
    SELECT occurrence_id, %(credential)s, idempotency_key, decode(content, 'hex'), %(now)s
    FROM ready WHERE idempotency_key > ''
    -- Of equal keys in the batch the first one has it: the others are retries.
    ORDER BY idempotency_key, n
    ON CONFLICT (credential, key) DO NOTHING
    RETURNING occurrence_id
), counting AS MATERIALIZED (
    -- Items of one event row are merged: `size` of them, this one in `place`.
    SELECT *, row_number() OVER (same ORDER BY n) AS place, count(*) OVER same AS size
    FROM ready
    WHERE idempotency_key = '' OR occurrence_id IN (SELECT occurrence_id FROM claim)
    WINDOW same AS (PARTITION BY contact_id, event_key, title, alone)
), event AS (
    INSERT INTO events_trackedevent AS t
        (id, subscriber_id, event_key, title, value, provider, counter, unlogged, repeatable,
         created_by_id, created_at, updated_at)
    SELECT event_id, contact_id, event_key, title, value, provider, size, 0, repeatable,
           %(created_by)s, first_at, last_at
    FROM (
        SELECT min(event_id) AS event_id, contact_id, event_key, title, repeatable, size,
               (array_agg(value ORDER BY occurred_at DESC, n DESC))[1] AS value,
               (array_agg(provider ORDER BY n))[1] AS provider,
               min(occurred_at) AS first_at, max(occurred_at) AS last_at
        FROM counting
        GROUP BY contact_id, event_key, title, alone, repeatable, size
    ) merged
    ORDER BY contact_id, event_key, title
    {COUNT_UP}
    RETURNING id, subscriber_id, event_key, title, counter,
              CASE WHEN repeatable THEN 0 ELSE id END AS alone
), occurrence AS (
    INSERT INTO events_eventoccurrence
        (id, event_id, subscriber_id, event_key, provider, value, counter, properties, context,
         occurred_at, received_at)
    SELECT c.occurrence_id, e.id, c.contact_id, c.event_key, c.provider, c.value,
           e.counter - c.size + c.place, c.properties::jsonb, c.context::jsonb, c.occurred_at,
           %(now)s
    FROM counting c JOIN event e ON e.subscriber_id = c.contact_id
        AND e.event_key = c.event_key AND e.title = c.title AND e.alone = c.alone
    ORDER BY c.occurrence_id
    RETURNING id, event_id, counter
), {INSERT_NAMES}
SELECT switch.enabled, item.n, ready.contact_id, occurrence.event_id, occurrence.counter
FROM switch LEFT JOIN item ON true LEFT JOIN ready USING (n)
    LEFT JOIN occurrence ON occurrence.id = item.occurrence_id
"""

# What earlier calls with these keys did: the event as it is now, but with the counter they made.
# The event is null if its contact was deleted since.
REPLAYS = """
SELECT k.key, k.content, e.id, e.subscriber_id, e.event_key, e.title, e.value, e.provider,
       o.counter, e.unlogged, e.repeatable, e.created_by_id, e.created_at, e.updated_at
FROM events_idempotencykey k
    LEFT JOIN events_eventoccurrence o ON o.id = k.occurrence_id
    LEFT JOIN events_trackedevent e ON e.id = o.event_id
WHERE k.credential = %(credential)s AND k.key = ANY(%(keys)s)
"""
