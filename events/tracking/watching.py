"""Choose which event keys are recorded in the outbox, and count what is recorded."""

from collections.abc import Iterable

from config.database import fetch_rows, in_transaction

SET_WATCHED = """
INSERT INTO events_trackingswitch AS s (id, enabled, watched)
VALUES (1, true, %(keys)s::text[])
ON CONFLICT (id) DO UPDATE SET watched = excluded.watched
WHERE s.watched <> excluded.watched
RETURNING id
"""


@in_transaction
def set_watched_keys(keys: Iterable[str]) -> None:
    """Choose the event keys that are recorded in the outbox from now on.

    Transactions that run already may miss them.
    """
    fetch_rows(SET_WATCHED, {"keys": sorted({*keys})})
