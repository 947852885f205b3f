"""Stand in for the import of history until the branch history is merged, which replaces this.

It remembers the rows of a source for as long as the process lives, and writes one event at a time.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from config.api.errors import ApiError
from events.models import TrackedEvent
from events.tracking import track
from events.tracking.fields import EventFields


class PastEvent(NamedTuple):
    """An event of a file."""

    fields: EventFields
    key: str
    content: bytes
    counter: int | None = None
    received_at: datetime | None = None


class Imported(NamedTuple):
    """A row that is in the store."""

    added: int
    warning: str = ""


Outcome = Imported | ApiError


class ImportedCount(NamedTuple):
    """An event of another store: its id there, and its counter."""

    source_id: str
    fields: EventFields
    counter: int
    created_at: datetime | None
    updated_at: datetime | None


class EventChunk(NamedTuple):
    """Events of a source."""

    events: Sequence[PastEvent]
    source: str


# The event and the counter of each row of a source.
_known: dict[tuple[str, str], tuple[int, int]] = {}


def import_counts(rows: Sequence[ImportedCount], source: str) -> list[Outcome]:
    """Add what is new of the counters of another store."""
    outcomes: list[Outcome] = []
    for row in rows:
        fields = row.fields
        events = TrackedEvent.objects.filter(subscriber_id=fields.subscriber_id)
        event_id, before = _known.get((source, row.source_id), (0, 0))
        event = events.filter(pk=event_id).first()
        if event is None:
            before = 0
            same = events.filter(event_key=fields.event_key, title=fields.title, repeatable=True)
            event = same.first() if fields.repeatable else None
        if event is None:
            event = TrackedEvent(
                subscriber_id=fields.subscriber_id,
                event_key=fields.event_key,
                title=fields.title,
                repeatable=fields.repeatable,
                counter=0,
                created_at=row.created_at or timezone.now(),
            )
        added = max(row.counter - before, 0)
        event.counter += added
        event.unlogged += added
        event.value, event.provider = fields.value, fields.provider
        event.updated_at = row.updated_at or event.created_at
        event.save()
        _known[source, row.source_id] = event.pk, row.counter
        outcomes.append(Imported(added))
    return outcomes


def import_events(chunk: EventChunk, user_source: str = "") -> list[Outcome]:  # noqa: ARG001
    """Write events of the past, each once by its key."""
    outcomes: list[Outcome] = []
    for fields, key, *_ in chunk.events:
        names = ("event_key", "title", "value", "provider", "subscriber_id", "occurred_at")
        data = {name: getattr(fields, name) for name in names}
        tracked = track({**data, "idempotency_key": f"{chunk.source}-{key}"})
        outcomes.append(Imported(0 if tracked.replayed else 1))
    return outcomes
