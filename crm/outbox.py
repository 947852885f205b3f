"""Record what happens to contacts, for apps that act on it, and choose what is recorded.

An entry is inserted by the statement that writes the change. So none is lost and none is invented,
whatever writes the change and however its transaction ends. Only what is watched is recorded.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from config.database import fetch_one, fetch_rows, in_transaction
from crm.models import OutboxKind
from crm.models.outbox import CAUSE, QUIET

# A part of a statement, which records the contacts `subscriber_id` of another part.
RECORD = f"""
INSERT INTO crm_outboxentry (subscriber_id, kind, key)
SELECT c.subscriber_id, w.kind, w.key
FROM {{changed}} c JOIN crm_watch w ON w.kind = '{{kind}}' AND w.key = {{key}}
WHERE current_setting('{QUIET}', true) IS DISTINCT FROM 'on'
"""  # noqa: S608
WATCH = """
WITH wanted AS (
    SELECT * FROM unnest(%(kinds)s::text[], %(keys)s::text[]) wanted(kind, key)
), removed AS (
    DELETE FROM crm_watch w WHERE NOT EXISTS (
        SELECT FROM wanted WHERE wanted.kind = w.kind AND wanted.key = w.key)
), added AS (
    INSERT INTO crm_watch (kind, key) SELECT kind, key FROM wanted ON CONFLICT DO NOTHING
)
SELECT 1
"""
GIVEN = "(SELECT unnest(%(contacts)s::bigint[]) AS subscriber_id)"
SET = "SELECT set_config(%(name)s, %(value)s, true)"


def record(kind: OutboxKind, changed: str, key: str = "''") -> str:
    """Return a part of a statement that records what another part has changed.

    Args:
        kind: what happened.
        changed: the name of a part that returns `subscriber_id`.
        key: the key of an entry, by the columns of `c`, which is that part.
    """
    return RECORD.format(kind=kind.value, changed=changed, key=key)


def record_now(kind: OutboxKind, key: str, contact_ids: Iterable[int]) -> None:
    """Record what the caller's transaction has changed by a statement that cannot do so itself.

    Args:
        kind: what happened.
        key: the key of the entries.
        contact_ids: ids of the contacts.
    """
    statement = f"{RECORD.format(changed=GIVEN, kind=kind.value, key='%(key)s')} RETURNING id"
    fetch_rows(statement, {"contacts": list(contact_ids), "key": key})


@in_transaction
def set_watches(watches: Iterable[tuple[OutboxKind, str]]) -> None:
    """Choose which changes are recorded from now on, in place of those before.

    Transactions that run already may miss them.
    """
    rows = sorted({(kind.value, key) for kind, key in watches})
    columns = {"kinds": [kind for kind, _ in rows], "keys": [key for _, key in rows]}
    fetch_rows(WATCH, columns)


@contextmanager
def quietly() -> Iterator[None]:
    """Record no change of labels, statuses or contacts that the block writes.

    It is a part of the caller's transaction.
    """
    (before,) = fetch_one("SELECT current_setting(%(name)s, true)", {"name": QUIET})
    fetch_one(SET, {"name": QUIET, "value": "on"})
    yield
    fetch_one(SET, {"name": QUIET, "value": before or "off"})


def set_cause(automations: Iterable[int]) -> None:
    """Note which automations led to what the rest of the transaction writes."""
    fetch_one(SET, {"name": CAUSE, "value": f"{{{','.join(map(str, automations))}}}"})
