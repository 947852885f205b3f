"""Keep opt-outs when a backup replaces a store."""

from collections.abc import Iterator
from typing import Any

import psycopg

from config.database import fetch_one
from crm.models import Status

OPT_OUTS = [Status.UNSUBSCRIBED.value, Status.COMPLAINED.value, Status.BOUNCED.value]
SELECT = "SELECT lower(email), status FROM crm_subscriber WHERE status = ANY (%s)"
KEEP = """
WITH kept AS (
    UPDATE crm_subscriber s SET status = o.status, updated_at = now()
    FROM unnest(%(emails)s::text[], %(statuses)s::text[]) o (email, status)
    WHERE lower(s.email) = o.email AND s.status <> ALL (%(opt_outs)s)
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
    rows = old.execute(SELECT, [OPT_OUTS]).fetchall()
    emails, statuses = [row[0] for row in rows], [row[1] for row in rows]
    parameters = {"emails": emails, "statuses": statuses, "opt_outs": OPT_OUTS}
    if kept := fetch_one(KEEP, parameters)[0]:
        yield f"{kept} contacts opted out after the backup. They stay opted out."
