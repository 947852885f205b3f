"""Act on what the outbox of crm has recorded: start runs, and wake those that wait for it.

One transaction locks the contacts of some entries, starts and wakes their runs, and deletes the
entries. So an entry is acted on once, however often the process is killed. Entries and due runs of
a contact alternate in the order of their times. So it makes no difference whether the process comes
at once or late, and whether events arrive one by one or in a batch.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import DatabaseError

from automations.models import Run
from automations.programs import Program, program
from automations.starting import LOCK_CONTACTS, Source, Starter
from automations.waking import Entry, entries_of, is_awaited, matches
from config.database import LIMIT_WAITS, fetch_one, fetch_rows, in_transaction, is_disconnected
from crm.models import OutboxKind, Status

logger = logging.getLogger(__name__)

# Entries of one transaction.
ENTRIES = 200
# One process at a time acts on entries, because the order of a contact's entries counts.
TRY_LOCK = f"SELECT pg_try_advisory_xact_lock({0x7A11}, {0x57A7}), {LIMIT_WAITS}"
TAKE = """
SELECT id, subscriber_id, kind, key, title, occurrence_id, counter, quiet, cause, occurred_at,
       created_at
FROM crm_outboxentry
WHERE NOT subscriber_id = ANY(%(left)s::bigint[])
ORDER BY id LIMIT %(entries)s
"""
EXISTING = "SELECT id FROM crm_subscriber WHERE id = ANY(%(contacts)s::bigint[])"
# How often the key had happened to the contact after each entry, over all titles: what was counted
# until now without what later entries have counted. One snapshot has both, because they are
# committed together. Entries that were committed since TAKE are later ones, whatever their ids.
COUNT = """
SELECT e.id, (t.total - e.later)::bigint FROM (
    SELECT id, subscriber_id, key, COALESCE(sum(amount) OVER (
        PARTITION BY subscriber_id, key ORDER BY id = ANY(%(entries)s::bigint[]), id DESC
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS later
    FROM crm_outboxentry
    WHERE kind = 'event' AND key = ANY(%(keys)s::text[])
        AND subscriber_id = ANY(%(contacts)s::bigint[])
) e JOIN (
    SELECT subscriber_id, event_key, sum(counter) AS total FROM events_trackedevent
    WHERE event_key = ANY(%(keys)s::text[]) AND subscriber_id = ANY(%(contacts)s::bigint[])
    GROUP BY subscriber_id, event_key
) t ON t.subscriber_id = e.subscriber_id AND t.event_key = e.key
WHERE e.id = ANY(%(entries)s::bigint[])
"""
# They are locked, so that one that is paused starts nothing once the pause is committed.
AUTOMATIONS = """
SELECT id, version_id, status = 'published', armed_at
FROM automations_automation WHERE status <> 'draft' ORDER BY id FOR SHARE
"""
# With their contacts, because a merge may have moved the entries of a contact that does not exist
# any more.
DELETE = """
DELETE FROM crm_outboxentry e
USING unnest(%(ids)s::bigint[], %(contacts)s::bigint[]) acted(id, contact)
WHERE e.id = acted.id AND e.subscriber_id = acted.contact RETURNING e.id
"""
# The entry that `take` would act on first.
DROP = """
DELETE FROM crm_outboxentry WHERE id = (
    SELECT id FROM crm_outboxentry WHERE NOT subscriber_id = ANY(%(left)s::bigint[])
    ORDER BY id LIMIT 1)
RETURNING id
"""


class Taken(NamedTuple):
    """What one transaction has done.

    Attributes:
        entries: how many entries were acted on.
        started: how many runs were started.
        left: ids of contacts whose entries wait, because the contact is locked or a run of it is
            due before.
    """

    entries: int
    started: int
    left: list[int]


NONE = Taken(0, 0, [])


def take_all(is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Act on all entries that there are, but for those that have to wait. Returns how many.

    An entry that cannot be acted on is logged and dropped, because the others would wait for it. It
    stays if the database is what fails, because every other entry would fail as well.

    Raises:
        django.db.OperationalError: the database is unavailable.
    """
    number, left, size = 0, list[int](), ENTRIES
    while not is_stopping():
        try:
            taken = take(left, size)
        except Exception as error:
            if is_disconnected(error):
                raise
            if size > 1:
                size //= 2
                continue
            logger.exception("An entry of the outbox could not be acted on.")
            if isinstance(error, DatabaseError):
                left += [row[1] for row in fetch_rows(TAKE, {"left": left, "entries": 1})]
            else:
                fetch_rows(DROP, {"left": left})
            continue
        number += taken.entries
        left += taken.left
        size = min(2 * size, ENTRIES)
        if not taken.entries and not taken.left:
            break
    return number


@in_transaction
def take(left: Collection[int] = (), entries: int = ENTRIES) -> Taken:
    """Act on the oldest entries of the outbox, in their order.

    Args:
        left: ids of contacts whose entries wait.
        entries: how many at most.
    """
    if not fetch_one(TRY_LOCK, {})[0]:
        return NONE
    found = [Entry(*row) for row in fetch_rows(TAKE, {"left": list(left), "entries": entries})]
    ids = {"contacts": list({entry.contact_id for entry in found})}
    contacts: dict[int, str] = dict(fetch_rows(LOCK_CONTACTS, ids)) if found else {}
    waiting = {contact for contact in ids["contacts"] if contact not in contacts}
    if waiting:
        waiting = {row[0] for row in fetch_rows(EXISTING, {"contacts": list(waiting)})}
    # Those of contacts that do not exist any more are deleted as well.
    found = [entry for entry in found if entry.contact_id not in waiting]
    actor = _act(found, contacts) if any(not entry.quiet for entry in found) else None
    if actor:
        waiting |= actor.waiting
        found = [entry for entry in found if entry.id not in actor.left]
    if found:
        columns = {"ids": [each.id for each in found], "contacts": [e.contact_id for e in found]}
        fetch_rows(DELETE, columns)
    return Taken(len(found), len(actor.starter.started) if actor else 0, list(waiting))


def _act(found: list[Entry], contacts: Mapping[int, str]) -> "_Actor":
    actor = _Actor([entry for entry in found if entry.contact_id in contacts], contacts)
    actor.act()
    return actor


class _Actor:
    """Acts on entries of contacts that the caller's transaction has locked."""

    def __init__(self, entries: list[Entry], contacts: Mapping[int, str]) -> None:
        self.entries = entries
        self.versions: dict[int, Program] = {}
        self.published: set[int] = set()
        self.armed: dict[int, datetime] = {}
        for automation_id, version_id, is_published, armed_at in fetch_rows(AUTOMATIONS, {}):
            self.versions[automation_id] = program(version_id)
            if is_published:
                self.published.add(automation_id)
                self.armed |= {automation_id: armed_at} if armed_at else {}
        # The automations that entries may start, by the kind and key of the entries.
        self.starts: dict[tuple[str, str], list[int]] = defaultdict(list)
        for automation_id in self.armed:
            for kind, key in entries_of(self.versions[automation_id].document["trigger"]):
                self.starts[kind, key].append(automation_id)
        self.counts = self._count()
        self.starter = Starter(contacts, self.versions)
        # Contacts whose entries wait for a run, and these entries.
        self.waiting: set[int] = set()
        self.left: set[int] = set()

    def _count(self) -> dict[int, int]:
        """Return how often the key of each entry had happened, where a trigger compares that."""
        keys = {
            key
            for (kind, key), automations in self.starts.items()
            for trigger in (self.versions[each].document["trigger"] for each in automations)
            if kind == OutboxKind.EVENT and _compares_count(trigger)
        }
        counted = [each for each in self.entries if each.kind == OutboxKind.EVENT]
        counted = [each for each in counted if each.key in keys]
        if not counted:
            return {}
        parameters = {
            "entries": [entry.id for entry in self.entries],
            "contacts": list({entry.contact_id for entry in counted}),
            "keys": list({entry.key for entry in counted}),
        }
        return dict(fetch_rows(COUNT, parameters))

    def act(self) -> None:
        """Start and wake runs, until an entry of the contact has to wait for one of them."""
        for entry in self.entries:
            runs = self.starter.runs_of(entry.contact_id)
            if any(self._goes_first(*each, entry) for each in runs):
                self.waiting.add(entry.contact_id)
            if entry.contact_id in self.waiting:
                self.left.add(entry.id)
            elif not entry.quiet:
                for automation_id, run in runs:
                    self._move(run, self.versions[automation_id], entry)
                for automation_id in self.starts[entry.kind, entry.key]:
                    if entry.created_at >= self.armed[automation_id]:
                        self._start(automation_id, entry)
        self.starter.write()

    def _goes_first(self, automation_id: int, run: Run, entry: Entry) -> bool:
        """Return whether a run has to be moved on before an entry is acted on."""
        if automation_id not in self.published or not run.due_at:
            return False
        if run.due_at > self.starter.now:
            return False
        # What was recorded during a wait comes before its end: see `move_on`.
        return run.entered_at is None or run.happened or entry.created_at > run.due_at

    def _move(self, run: Run, version: Program, entry: Entry) -> None:
        """End or wake an open run, if an entry says so."""
        status = self.starter.contacts[entry.contact_id]
        if (
            entry.kind == OutboxKind.STATUS
            and version.document["only_subscribed"]
            and status != Status.SUBSCRIBED
        ):
            self.starter.end(run, f"The contact is {status}.")
        elif is_awaited(run, version.steps.get(run.step_id or 0), entry):
            self.starter.wake(run)

    def _start(self, automation_id: int, entry: Entry) -> None:
        """Start a run, if an entry is what the automation starts by."""
        version = self.versions[automation_id]
        trigger: Mapping[str, Any] = version.document["trigger"]
        if not matches(trigger, entry):
            return
        if trigger["type"] == "event":
            if not self._is_reached(trigger, entry):
                return
            age = entry.created_at - entry.occurred_at
            if age > timedelta(hours=trigger["max_age_hours"]):
                detail = f"The event had happened {age.days} days before it was tracked."
                self.starter.refuse(automation_id, entry.contact_id, "too_old", detail)
                return
        source = Source(
            entry.kind, entry.occurred_at, entry.key, entry.occurrence_id, tuple(entry.cause)
        )
        self.starter.start(automation_id, version, entry.contact_id, source)

    def _is_reached(self, trigger: Mapping[str, Any], entry: Entry) -> bool:
        """Return whether the event has happened as often as the trigger says."""
        if trigger["title"]:
            number = entry.counter or 0
        elif _compares_count(trigger):
            number = self.counts.get(entry.id, 0)
        else:
            return True
        times = trigger["times"]
        match trigger["when"]:
            case "from":
                return bool(number >= times)
            case "at":
                return bool(number == times)
            case _:
                return number > 0 and number % times == 0


def _compares_count(trigger: Mapping[str, Any]) -> bool:
    """Return whether a trigger depends on how often the key has happened, over all titles."""
    return not trigger["title"] and (trigger["times"] > 1 or trigger["when"] == "at")
