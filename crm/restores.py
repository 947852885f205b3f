"""Keep opt-outs when a backup replaces a store."""

from collections.abc import Iterator
from typing import Any

import psycopg

from config.database import fetch_one
from crm.emails import email_key
from crm.models import OPT_OUTS

STATUSES = [status.value for status in OPT_OUTS]
SELECT = "SELECT email, status FROM crm_subscriber WHERE status = ANY (%s)"
KEEP = """
WITH kept AS (
    UPDATE crm_subscriber s SET status = o.status, updated_at = now()
    FROM unnest(%(email_keys)s::text[], %(statuses)s::text[]) o (email_key, status)
    WHERE s.email_key = o.email_key AND s.status <> ALL (%(opt_outs)s)
    RETURNING 1
)
SELECT count(*) FROM kept
"""


def keep_opt_outs(old: psycopg.Connection[Any]) -> Iterator[str]:
    """Write the opt-outs of the old store that are later than the backup into the restored one.

    Otherwise a restore would send mail to persons who have unsubscribed since.

    Args:
        old: a connection to the old store. Django's leads to the restored one.

    Yields:
        What the operator has to read.
    """
    if old.execute("SELECT to_regclass('crm_subscriber')").fetchone() == (None,):
        return
    # Keys in Python, because the store of an earlier version has no column of them.
    rows = [(email_key(email), status) for email, status in old.execute(SELECT, [STATUSES])]
    parameters = {
        "email_keys": [row[0] for row in rows],
        "statuses": [row[1] for row in rows],
        "opt_outs": STATUSES,
    }
    if kept := fetch_one(KEEP, parameters)[0]:
        yield f"{kept} contacts opted out after the backup. They stay opted out."
