"""Take back all occurrences that match a filter, by a job."""

from datetime import datetime
from typing import NamedTuple

from django.contrib.auth.models import User
from django.utils import timezone

from config.database import fetch_one, fetch_rows
from crm.jobs import JobError, JobKind, Progress, Run, create_job
from crm.models import Job
from events.models import VIEW_EVENTS
from events.tracking.corrections import take_back

KIND = "take_back"
PERMISSIONS = ("crm.view_job", "crm.view_subscriber", *VIEW_EVENTS, "events.delete_eventoccurrence")
OCCURRENCES_PER_STEP = 500

# Those that came after the job was created were not counted before.
MATCHING = """
(%(event_key)s = '' OR event_key = %(event_key)s)
    AND (%(provider)s = '' OR provider = %(provider)s)
    AND (%(contact_id)s::bigint IS NULL OR subscriber_id = %(contact_id)s)
    AND (%(since)s::timestamptz IS NULL OR occurred_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR occurred_at < %(until)s)
    AND received_at <= %(received_until)s
"""
COUNT = f"""
SELECT count(*), count(DISTINCT subscriber_id) FROM events_eventoccurrence WHERE {MATCHING}
"""  # noqa: S608
# The rest of the last contact comes first in the next step.
NEXT = f"""
SELECT subscriber_id, array_agg(id)
FROM (SELECT subscriber_id, id FROM events_eventoccurrence
      WHERE subscriber_id >= %(after)s AND {MATCHING}
      ORDER BY subscriber_id LIMIT %(limit)s) o
GROUP BY subscriber_id ORDER BY subscriber_id
"""  # noqa: S608


class OccurrenceFilter(NamedTuple):
    """Which occurrences are taken back. "" and None match all.

    Attributes:
        event_key: the event key.
        provider: as sent with the occurrence.
        contact_id: the contact.
        since: those that happened then or later, aware.
        until: those that happened before.
    """

    event_key: str = ""
    provider: str = ""
    contact_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_empty(self) -> bool:
        """Whether it matches all occurrences of the store."""
        return not any(self)


class Matching(NamedTuple):
    """The number of matching occurrences, and of the contacts that have them."""

    occurrences: int
    contacts: int


def count_matching(chosen: OccurrenceFilter) -> Matching:
    """Count the occurrences that a job would take back now."""
    parameters = {**chosen._asdict(), "received_until": timezone.now()}
    return Matching(*fetch_one(COUNT, parameters))


def create_take_back(chosen: OccurrenceFilter, created_by: User | None) -> Job:
    """Create a job that takes back what matches now.

    Raises:
        ValueError: the filter matches all occurrences of the store.
    """
    if chosen.is_empty:
        raise ValueError("An empty filter matches all occurrences.")
    parameters = {
        **chosen._asdict(),
        "since": chosen.since and chosen.since.isoformat(),
        "until": chosen.until and chosen.until.isoformat(),
        "received_until": timezone.now().isoformat(),
    }
    return create_job(KIND, "Take back occurrences", parameters, created_by=created_by)


def run_take_back(run: Run) -> None:
    """Take back what matches, some hundred occurrences in a step.

    It ends when a step from the first contact on finds none, because a merge may move occurrences
    to a contact that was done before.
    """
    parameters = run.job.parameters
    if OccurrenceFilter(**{name: parameters[name] for name in OccurrenceFilter._fields}).is_empty:
        raise JobError("An empty filter matches all occurrences.")
    total = run.progress.total
    if total is None:
        total = fetch_one(COUNT, parameters)[0]

    def step(progress: Progress) -> Progress:
        after = progress.position.get("after", 0)
        limits = {"after": after, "limit": OCCURRENCES_PER_STEP}
        rows = fetch_rows(NEXT, {**parameters, **limits}, prepare=False)
        counts = dict(progress.counts) or {"occurrences": 0, "events_deleted": 0}
        for contact_id, occurrence_ids in rows:
            corrected = take_back(contact_id, occurrence_ids)
            counts["occurrences"] += sum(each.number for each in corrected)
            counts["events_deleted"] += sum(each.counter == 0 for each in corrected)
            after = contact_id
        position = {"after": after, "more": True} if rows else {"after": 0, "more": after > 0}
        return Progress(counts["occurrences"], total, position, counts)

    while run.progress.position.get("more", True):
        run.step(step)


TAKE_BACK = JobKind(run_take_back, PERMISSIONS)
