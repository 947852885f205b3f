"""Start runs of contacts, if conditions and rules of the automation let them in."""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from django.db import DataError, OperationalError, transaction
from psycopg.errors import QueryCanceled

from automations.models import Run, RunStatus
from automations.programs import Program, program
from config.api.errors import ApiError, Unprocessable
from config.database import chunked, clock, fetch_row, fetch_rows, in_transaction
from crm.filters import read_filters, those_matching
from crm.filters.types import ConditionGroup
from crm.models import Status

logger = logging.getLogger(__name__)

# Whose conditions are judged together.
CONTACTS_PER_STATEMENT = 200
# How many automations may lead to each other, one after the other.
MAX_CAUSES = 5
LOCK_CONTACTS = """
SELECT id, status FROM crm_subscriber WHERE id = ANY(%(contacts)s::bigint[])
ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
"""
LOCK_NAMED = LOCK_CONTACTS.replace("SKIP LOCKED", "")
LOCK_ONE = """
SELECT version_id FROM automations_automation
WHERE id = %(automation)s AND status = 'published' FOR SHARE
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
# Unless an admin user has ended the run meanwhile.
CHANGE = """
UPDATE automations_run r SET status = sent.status, reason = sent.reason, ended_at = sent.ended_at,
    due_at = sent.due_at, happened = sent.happened
FROM unnest(%(id)s::bigint[], %(status)s::text[], %(reason)s::text[], %(ended_at)s::timestamptz[],
            %(due_at)s::timestamptz[], %(happened)s::boolean[])
    sent(id, status, reason, ended_at, due_at, happened)
WHERE r.id = sent.id AND r.status = 'active'
RETURNING r.id
"""
CHANGED = ("id", "status", "reason", "ended_at", "due_at", "happened")
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


def _those_matching(contact_ids: list[int], groups: list[ConditionGroup]) -> set[int] | str:
    """Return those of the contacts that conditions let in, or why PostgreSQL cannot tell."""
    try:
        with transaction.atomic():
            return {*those_matching(contact_ids, groups).values_list("pk", flat=True)}
    except (DataError, OperationalError) as error:
        # Such as a regular expression that PostgreSQL rejects, or that takes too long.
        if not isinstance(error.__cause__, psycopg.DataError | QueryCanceled):
            raise
        return str(error)


class Starter:
    """Starts runs of contacts that the caller's transaction has locked."""

    def __init__(self, contacts: Mapping[int, str], automations: Iterable[int]) -> None:
        """Read the runs that the contacts have.

        Args:
            contacts: the statuses of the locked contacts by their ids.
            automations: ids of those that may start.
        """
        self.contacts = contacts
        self.now = clock()
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
        # The contacts that conditions let in, by the version, where all were judged together.
        self._matching: dict[int, set[int]] = {}

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
        groups = self._groups_of(version)
        if isinstance(groups, str):
            return "error", groups
        found: set[int] | str
        if version.version_id in self._matching:
            found = self._matching[version.version_id]
        else:
            found = _those_matching([contact_id], groups)
        if isinstance(found, str):
            return "error", found
        return ("", "") if contact_id in found else ("conditions", "")

    def _groups_of(self, version: Program) -> list[ConditionGroup] | str:
        """Return the conditions of a version, or why they are invalid."""
        if version.version_id not in self._groups:
            try:
                conditions = version.document["conditions"]
                self._groups[version.version_id] = read_filters(conditions, "conditions")
            except ApiError as error:
                self._groups[version.version_id] = str(error)
        return self._groups[version.version_id]

    def judge_all(self, version: Program) -> None:
        """Judge the conditions for all contacts, by a statement for some hundred of them."""
        groups = self._groups_of(version)
        if not groups or isinstance(groups, str):
            return
        matching: set[int] = set()
        for chunk in chunked([*self.contacts], CONTACTS_PER_STATEMENT):
            found = _those_matching([*chunk], groups)
            if isinstance(found, str):
                # Alone, the others may be judged.
                return
            matching |= found
        self._matching[version.version_id] = matching

    def end(self, run: Run, reason: str) -> None:
        """End an open run before its steps have ended."""
        run.end(self.now, RunStatus.CANCELLED, reason)
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
        if self._changed:
            runs = self._changed.values()
            fetch_rows(CHANGE, {name: [getattr(run, name) for run in runs] for name in CHANGED})
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


def start_by_hand(contact_ids: Iterable[int], automation_id: int) -> dict[str, int]:
    """Start contacts as `start_contacts` does. Returns their numbers by what became of them."""
    return dict(Counter(start_contacts(contact_ids, automation_id).values()))


@in_transaction
def start_contacts(contact_ids: Iterable[int], automation_id: int) -> dict[int, str]:
    """Start contacts that a person or a program chooses, whatever the trigger.

    Conditions, the status and the rule of re-entry count as for others.

    Args:
        contact_ids: ids of the contacts. Unknown ones are ignored.
        automation_id: id of a published automation.

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
    source = Source("manual", starter.now)
    version = program(row[0])
    starter.judge_all(version)
    outcomes = {
        contact_id: starter.start(automation_id, version, contact_id, source) or "started"
        for contact_id in contacts
    }
    starter.write()
    return outcomes
