"""Keep opt-outs when a backup replaces a store."""

from collections.abc import Iterator
from typing import Any

import psycopg

from config.database import fetch_one
from crm.emails import email_key
from crm.models import OPT_OUTS, Identity, Subscriber

STATUSES = [status.value for status in OPT_OUTS]
SELECT = "SELECT id, created_at, email, status FROM crm_subscriber WHERE status = ANY (%s)"
# The e-mails of contacts that were merged into them may be other contacts of the backup.
SELECT_ALIASES = """
SELECT s.id, s.created_at, i.value, s.status
FROM crm_subscriber s JOIN crm_identity i ON i.subscriber_id = s.id
WHERE s.status = ANY (%s) AND i.kind = 'email' AND i.source = ''
"""
ROWS_PER_INSERT = 1000
# An id alone is no person, because every store counts its contacts from 1.
KEEP = """
WITH old AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(created)s::timestamptz[], %(keys)s::text[],
                         %(statuses)s::text[]) o (id, created_at, email_key, status)
), same AS (
    SELECT s.id, old.status FROM crm_subscriber s JOIN old USING (email_key)
    UNION ALL
    SELECT s.id, old.status FROM crm_subscriber s JOIN old USING (id, created_at)
    UNION ALL
    SELECT i.subscriber_id, old.status FROM crm_identity i JOIN old ON old.email_key = i.value
    WHERE i.kind = 'email' AND i.source = ''
), kept AS (
    UPDATE crm_subscriber s
    SET status = same.status, made_by_track = false, updated_at = now()
    FROM same WHERE s.id = same.id AND s.status <> ALL (%(opt_outs)s)
    RETURNING 1
)
SELECT count(*) FROM kept
"""


def keep_opt_outs(old: psycopg.Connection[Any]) -> Iterator[str]:
    """Write the opt-outs of the old store that are later than the backup into the restored one.

    Otherwise a restore, or the next import after it, would send mail to persons who have
    unsubscribed since. Contacts of the backup are found by their e-mails, and by their id, because
    an e-mail may have changed since. An e-mail without a contact gets one with its status alone.

    Args:
        old: a connection to the old store. Django's leads to the restored one.

    Yields:
        What the operator has to read.
    """
    if old.execute("SELECT to_regclass('crm_subscriber')").fetchone() == (None,):
        return
    found_rows = old.execute(SELECT, [STATUSES]).fetchall()
    if old.execute("SELECT to_regclass('crm_identity')").fetchone() != (None,):
        found_rows += old.execute(SELECT_ALIASES, [STATUSES]).fetchall()
    # Keys in Python, because the store of an earlier version has no column of them.
    rows = [(email_key(row[2]), *row) for row in found_rows]
    parameters = {
        "keys": [row[0] for row in rows],
        "ids": [row[1] for row in rows],
        "created": [row[2] for row in rows],
        "statuses": [row[4] for row in rows],
        "opt_outs": STATUSES,
    }
    if kept := fetch_one(KEEP, parameters)[0]:
        yield f"{kept} contacts opted out after the backup. They stay opted out."
    found = Subscriber.objects.filter(email_key__in=parameters["keys"])
    known = set(found.values_list("email_key", flat=True))
    aliases = Identity.objects.filter(**Identity.EMAIL, value__in=parameters["keys"])
    known |= set(aliases.values_list("value", flat=True))
    # With new ids, because the old ones may be those of other contacts.
    missing = {
        key: Subscriber(created_at=created_at, email=email, status=status)
        for key, _, created_at, email, status in rows
        if key not in known
    }
    Subscriber.objects.bulk_create(missing.values(), batch_size=ROWS_PER_INSERT)
    if missing:
        yield (
            f"{len(missing)} e-mails that opted out are of no contact of the backup. Each is "
            "stored as a contact with its status, without other data."
        )
