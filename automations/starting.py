"""Act on what the outbox of crm has recorded: start runs, and wake those that wait for it.

One transaction locks the contacts of some entries, starts and wakes their runs, and deletes the
entries. So an entry is acted on once, however often the process is killed.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import InterfaceError, OperationalError, transaction

from automations.models import Run, RunStatus
from automations.programs import Program, program
from automations.waking import Entry, entries_of, is_awaited, matches
from config.api.errors import ApiError, Unprocessable
from config.database import fetch_one, fetch_row, fetch_rows, in_transaction
from crm.filters import read_filters, those_matching
from crm.filters.types import ConditionGroup
from crm.models import OutboxKind, Status

logger = logging.getLogger(__name__)

# Entries of one transaction.
ENTRIES = 200
# An automation leads to others at most so often.
MAX_CAUSES = 5
# One process at a time starts runs, because the order of a contact's entries counts.
TRY_LOCK = "SELECT pg_try_advisory_xact_lock(0x7A11, 0x57A7)"
CLOCK = "SELECT clock_timestamp()"
# Entries of contacts that are locked wait, and the others go on.
TAKE = """
SELECT id, subscriber_id, kind, key, title, occurrence_id, counter, quiet, cause, occurred_at,
       created_at
FROM crm_outboxentry
WHERE NOT subscriber_id = ANY(%(locked)s::bigint[])
ORDER BY id LIMIT %(entries)s
"""
LOCK_CONTACTS = """
SELECT id, status FROM crm_subscriber WHERE id = ANY(%(contacts)s::bigint[])
ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
LOCK_NAMED = LOCK_CONTACTS.replace("SKIP LOCKED", "")
LOCK_ONE = """
SELECT version_id FROM automations_automation
WHERE id = %(automation)s AND status = 'published' FOR SHARE
"""
EXISTING = "SELECT id FROM crm_subscriber WHERE id = ANY(%(contacts)s::bigint[])"
# How often the key had happened to the contact after each entry, over all titles: what was counted
# until now without what the later entries have counted. One snapshot has both, because they are
# committed together.
COUNT = """
SELECT e.id, t.total - COALESCE(sum(e.amount) OVER later, 0)
FROM crm_outboxentry e CROSS JOIN LATERAL (
    SELECT COALESCE(sum(counter), 0)::bigint AS total FROM events_trackedevent t
    WHERE t.event_key = e.key AND t.subscriber_id = e.subscriber_id
) t
WHERE e.subscriber_id = ANY(%(contacts)s::bigint[]) AND e.kind = 'event'
WINDOW later AS (
    PARTITION BY e.subscriber_id, e.key ORDER BY e.id DESC
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
)
"""
# They are locked, so that one that is paused starts nothing once the pause is committed.
AUTOMATIONS = """
SELECT id, version_id, CASE WHEN status = 'published' THEN armed_at END
FROM automations_automation WHERE status <> 'draft' ORDER BY id FOR SHARE
"""
LAST_NUMBERS = """
SELECT subscriber_id, automation_id, max(number) FROM automations_run
WHERE subscriber_id = ANY(%(contacts)s::bigint[]) AND automation_id = ANY(%(automations)s::bigint[])
GROUP BY subscriber_id, automation_id
"""
# Pauses an automation that has started too often within an hour.
PAUSE_FLOODED = """
UPDATE automations_automation SET status = 'paused', updated_at = clock_timestamp(),
    paused_reason = 'It started more than ' || %(most)s || ' times within an hour.'
WHERE id = %(automation)s AND status = 'published' AND %(most)s < (
    SELECT count(*) FROM (
        SELECT FROM automations_run
        WHERE automation_id = %(automation)s AND created_at > %(since)s LIMIT %(most)s + 1
    ) started)
RETURNING id
"""
REFUSE = """
INSERT INTO automations_refusal AS r (automation_id, subscriber_id, reason, detail, times, last_at)
SELECT automation, contact, reason, detail, times, clock_timestamp()
FROM unnest(%(automations)s::bigint[], %(contacts)s::bigint[], %(reasons)s::text[],
            %(details)s::text[], %(times)s::bigint[])
    sent(automation, contact, reason, detail, times)
ORDER BY automation, contact, reason
ON CONFLICT (automation_id, subscriber_id, reason) DO UPDATE
SET times = r.times + excluded.times, detail = excluded.detail, last_at = excluded.last_at
RETURNING id
"""
# The entry that `take` would act on first.
DROP = """
DELETE FROM crm_outboxentry WHERE id = (
    SELECT id FROM crm_outboxentry WHERE NOT subscriber_id = ANY(%(locked)s::bigint[])
    ORDER BY id LIMIT 1)
RETURNING id
"""
DELETE = "DELETE FROM crm_outboxentry WHERE id = ANY(%(ids)s::bigint[]) RETURNING id"


@dataclass(frozen=True)
class Source:
    """What a run starts by.

    Attributes:
        kind: a kind of the outbox, "segment" or "manual".
        key: the key of the entry, or the id of a segment.
        occurrence_id: the occurrence of an event.
        at: when it happened.
        cause: the ids of the automations that led to it.
    """

    kind: str
    at: datetime
    key: str = ""
    occurrence_id: int | None = None
    cause: tuple[int, ...] = ()


class Starter:
    """Starts runs of contacts that the caller's transaction has locked."""

    def __init__(self, contacts: Mapping[int, str], automations: Iterable[int]) -> None:
        """Read the runs that the contacts have.

        Args:
            contacts: the statuses of the locked contacts by their ids.
            automations: ids of those that may start.
        """
        self.contacts = contacts
        self.now: datetime = fetch_one(CLOCK, {})[0]
        ids = {"contacts": [*contacts], "automations": [*automations]}
        self._numbers: dict[tuple[int, int], int] = {
            (contact, automation): number
            for contact, automation, number in fetch_rows(LAST_NUMBERS, ids)
        }
        # The open runs by contact and automation.
        self._open: dict[int, dict[int, Run]] = defaultdict(dict)
        active = Run.objects.filter(subscriber_id__in=ids["contacts"], status=RunStatus.ACTIVE)
        for run in active.filter(automation_id__in=ids["automations"]).order_by("id"):
            self._open[run.subscriber_id][run.automation_id] = run
        self._changed: dict[int, Run] = {}
        self.started: list[Run] = []
        # The detail of the last one and how many, by automation, contact and reason.
        self._refused: dict[tuple[int, int, str], tuple[str, int]] = {}
        self._groups: dict[int, list[ConditionGroup] | str] = {}

    def start(self, automation_id: int, version: Program, contact_id: int, source: Source) -> str:
        """Start a run, or return why not: "" or a reason.

        A run that is open stays, or with the rule "every_time" gives way to the new one.
        """
        document = version.document
        key = (contact_id, automation_id)
        reason = detail = ""
        if automation_id in source.cause:
            reason, detail = "loop", "The automation led to what would start it."
        elif len(source.cause) >= MAX_CAUSES:
            reason, detail = "loop", f"{MAX_CAUSES} automations led to each other."
        elif document["only_subscribed"] and self.contacts[contact_id] != Status.SUBSCRIBED:
            reason, detail = "status", f"The contact is {self.contacts[contact_id]}."
        elif automation_id in self._open[contact_id] and document["reentry"] != "every_time":
            return "inside"
        elif key in self._numbers and document["reentry"] == "once":
            return "before"
        else:
            reason, detail = self._judge(version, contact_id)
        if reason:
            self.refuse(automation_id, contact_id, reason, detail)
            return reason
        if before := self._open[contact_id].get(automation_id):
            self.end(before, "The automation started again.")
        number = self._numbers[key] = self._numbers.get(key, 0) + 1
        run = Run(
            automation_id=automation_id,
            subscriber_id=contact_id,
            number=number,
            version_id=version.version_id,
            step_id=version.first,
            due_at=self.now,
            source_kind=source.kind,
            source_key=source.key,
            occurrence_id=source.occurrence_id,
            source_at=source.at,
            cause=[*source.cause],
            created_at=self.now,
        )
        self._open[contact_id][automation_id] = run
        self.started.append(run)
        return ""

    def runs_of(self, contact_id: int) -> list[tuple[int, Run]]:
        """Return the open runs of a contact, with their automations."""
        return [*self._open[contact_id].items()]

    def refuse(self, automation_id: int, contact_id: int, reason: str, detail: str) -> None:
        """Note why a contact did not start."""
        key = (automation_id, contact_id, reason)
        _, times = self._refused.get(key, ("", 0))
        self._refused[key] = (detail[:500], times + 1)

    def _judge(self, version: Program, contact_id: int) -> tuple[str, str]:
        """Return why the conditions do not let a contact in: reason and detail, or two empty."""
        conditions = version.document["conditions"]
        if not conditions:
            return "", ""
        if version.version_id not in self._groups:
            try:
                self._groups[version.version_id] = read_filters(conditions, "conditions")
            except ApiError as error:
                self._groups[version.version_id] = str(error)
        groups = self._groups[version.version_id]
        if isinstance(groups, str):
            return "error", groups
        with transaction.atomic():
            if those_matching([contact_id], groups).exists():
                return "", ""
        return "conditions", ""

    def end(self, run: Run, reason: str) -> None:
        """End an open run before its steps have ended."""
        run.status, run.reason, run.ended_at, run.due_at = (
            RunStatus.CANCELLED,
            reason,
            self.now,
            None,
        )
        del self._open[run.subscriber_id][run.automation_id]
        if run.pk is None:
            self.started.remove(run)
        else:
            self._changed[run.pk] = run

    def wake(self, run: Run) -> None:
        """Let a run go on that waits for what has happened."""
        run.happened, run.due_at = True, self.now
        if run.pk is not None:
            self._changed[run.pk] = run

    def write(self) -> None:
        """Write the runs and the refusals."""
        Run.objects.bulk_update(
            self._changed.values(), ("status", "reason", "ended_at", "due_at", "happened")
        )
        Run.objects.bulk_create(self.started)
        for version in {run.automation_id: run.version_id for run in self.started}.items():
            self._stop_flood(*version)
        if self._refused:
            rows = [(*key, *noted) for key, noted in sorted(self._refused.items())]
            names = ("automations", "contacts", "reasons", "details", "times")
            fetch_rows(REFUSE, dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))

    def _stop_flood(self, automation_id: int, version_id: int) -> None:
        most = program(version_id).document["max_starts_per_hour"]
        since = self.now - timedelta(hours=1)
        parameters = {"automation": automation_id, "most": most, "since": since}
        if fetch_rows(PAUSE_FLOODED, parameters):
            logger.warning("Automation %d is paused: too many starts.", automation_id)


class Taken(NamedTuple):
    """What one transaction has done: entries acted on, runs started, and contacts left alone."""

    entries: int
    started: int
    locked: list[int]


NONE = Taken(0, 0, [])


def take_all(is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Act on all entries that there are, but for those of locked contacts. Returns how many.

    An entry that cannot be acted on is logged and dropped, because the others would wait for it.
    """
    number, locked, size = 0, list[int](), ENTRIES
    while not is_stopping():
        try:
            taken = take(locked, size)
        except (OperationalError, InterfaceError):
            raise
        except Exception:
            logger.exception("Entries of the outbox could not be acted on.")
            if size == 1:
                fetch_rows(DROP, {"locked": locked})
            size = 1
            continue
        number += taken.entries
        locked += taken.locked
        size = ENTRIES
        if not taken.entries and not taken.locked:
            break
    return number


@transaction.atomic
def take(locked: Collection[int] = (), entries: int = ENTRIES) -> Taken:
    """Act on the oldest entries of the outbox, in their order.

    Args:
        locked: ids of contacts whose entries wait.
        entries: how many at most.
    """
    if not fetch_one(TRY_LOCK, {})[0]:
        return NONE
    parameters = {"locked": list(locked), "entries": entries}
    found = [Entry(*row) for row in fetch_rows(TAKE, parameters)]
    ids = {"contacts": list({entry.contact_id for entry in found})}
    contacts: dict[int, str] = dict(fetch_rows(LOCK_CONTACTS, ids)) if found else {}
    left = [contact for contact in ids["contacts"] if contact not in contacts]
    if left:
        left = [contact for (contact,) in fetch_rows(EXISTING, {"contacts": left})]
    # Those of contacts that do not exist any more are deleted as well.
    handled = [entry for entry in found if entry.contact_id not in left]
    if not handled:
        return Taken(0, 0, left)
    starter = _act([each for each in handled if each.contact_id in contacts], contacts)
    fetch_rows(DELETE, {"ids": [entry.id for entry in handled]})
    return Taken(len(handled), len(starter.started) if starter else 0, left)


def _act(entries: list[Entry], contacts: Mapping[int, str]) -> Starter | None:
    loud = [entry for entry in entries if not entry.quiet]
    if not loud:
        return None
    armed: dict[int, datetime | None] = {}
    versions: dict[int, Program] = {}
    for automation_id, version_id, armed_at in fetch_rows(AUTOMATIONS, {}):
        armed[automation_id] = armed_at
        versions[automation_id] = program(version_id)
    starts = _by_entries(versions)
    counts: dict[int, int] = {}
    if any(entry.kind == OutboxKind.EVENT for entry in loud):
        counts = dict(fetch_rows(COUNT, {"contacts": [*contacts]}))
    starter = Starter(contacts, versions)
    for entry in loud:
        for automation_id, run in starter.runs_of(entry.contact_id):
            _move(starter, run, versions[automation_id], entry)
        for automation_id in starts[entry.kind, entry.key]:
            armed_at = armed[automation_id]
            if armed_at and entry.created_at >= armed_at:
                version = versions[automation_id]
                _start(starter, automation_id, version, entry, counts.get(entry.id, 0))
    starter.write()
    return starter


def _by_entries(versions: Mapping[int, Program]) -> dict[tuple[str, str], list[int]]:
    """Return the automations that entries may start, by the kind and key of the entries."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for automation_id, version in versions.items():
        for kind, key in entries_of(version.document["trigger"]):
            found[kind, key].append(automation_id)
    return found


def _move(starter: Starter, run: Run, version: Program, entry: Entry) -> None:
    """End or wake an open run, if an entry says so."""
    status = starter.contacts[entry.contact_id]
    if (
        entry.kind == OutboxKind.STATUS
        and version.document["only_subscribed"]
        and status != Status.SUBSCRIBED
    ):
        starter.end(run, f"The contact is {status}.")
    elif is_awaited(run, version.steps.get(run.step_id or 0), entry):
        starter.wake(run)


def _start(
    starter: Starter, automation_id: int, version: Program, entry: Entry, count: int
) -> None:
    """Start a run, if an entry is what the automation starts by."""
    trigger: Mapping[str, Any] = version.document["trigger"]
    if not matches(trigger, entry):
        return
    if trigger["type"] == "event":
        number = entry.counter or 0 if trigger["title"] else count
        times, when = trigger["times"], trigger["when"]
        is_reached = {
            "from": number >= times,
            "at": number == times,
            "every": number > 0 and number % times == 0,
        }
        if not is_reached[when]:
            return
        age = entry.created_at - entry.occurred_at
        if age > timedelta(hours=trigger["max_age_hours"]):
            detail = f"The event had happened {age.days} days before it was tracked."
            starter.refuse(automation_id, entry.contact_id, "too_old", detail)
            return
    source = Source(
        entry.kind, entry.occurred_at, entry.key, entry.occurrence_id, tuple(entry.cause)
    )
    starter.start(automation_id, version, entry.contact_id, source)


def start_by_hand(
    contact_ids: Iterable[int], automation_id: int, cause: Sequence[int] = ()
) -> dict[str, int]:
    """Start contacts as `start_contacts` does. Returns their numbers by what became of them."""
    return dict(Counter(start_contacts(contact_ids, automation_id, cause).values()))


@in_transaction
def start_contacts(
    contact_ids: Iterable[int], automation_id: int, cause: Sequence[int] = ()
) -> dict[int, str]:
    """Start contacts that a person or a program chooses, whatever the trigger.

    Conditions, the status and the rule of re-entry count as for others.

    Args:
        contact_ids: ids of the contacts. Unknown ones are ignored.
        automation_id: id of a published automation.
        cause: the ids of the automations that led to it.

    Returns:
        What became of each contact by its id: "started", or why it was not, such as "inside",
        "before", "conditions" and "status".

    Raises:
        Unprocessable: 422, the automation does not exist or is not published.
    """
    contacts: dict[int, str] = dict(fetch_rows(LOCK_NAMED, {"contacts": list(contact_ids)}))
    row = fetch_row(LOCK_ONE, {"automation": automation_id})
    if row is None:
        raise Unprocessable("The automation does not exist, or is not published.")
    starter = Starter(contacts, [automation_id])
    source = Source("manual", starter.now, cause=tuple(cause))
    version = program(row[0])
    outcomes = {
        contact_id: starter.start(automation_id, version, contact_id, source) or "started"
        for contact_id in contacts
    }
    starter.write()
    return outcomes
