"""Choose what the outbox records for automations."""

from automations.documents import happenings
from automations.models import Automation, AutomationStatus, Version
from automations.waking import entries_of
from config.database import fetch_one
from crm.models import OutboxKind, Status
from crm.outbox import set_watches
from events.tracking.watching import set_watched_keys

# One process at a time computes what is watched.
# In decimal digits, because PostgreSQL 15 has no others.
LOCK_WATCHES = f"SELECT pg_advisory_xact_lock({0x7A11}, {0x3A7C})"


def refresh_watches() -> None:
    """Watch what the automations that are not drafts start by and wait for, and nothing else.

    The caller has a transaction open.
    """
    fetch_one(LOCK_WATCHES, {})
    watches: set[tuple[OutboxKind, str]] = set()
    others = Automation.objects.exclude(status=AutomationStatus.DRAFT)
    for version in Version.objects.filter(pk__in=others.values("version_id")):
        for each in happenings(version.document):
            watches |= {*entries_of(each)}
        if version.document["only_subscribed"]:
            watches |= {
                (OutboxKind.STATUS, status.value)
                for status in Status
                if status != Status.SUBSCRIBED
            }
    set_watches(watch for watch in watches if watch[0] != OutboxKind.EVENT)
    set_watched_keys(key for kind, key in watches if kind == OutboxKind.EVENT)
