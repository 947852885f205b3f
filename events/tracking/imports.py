"""Stand in for the import of history until its branch is merged."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from config.api.errors import ApiError
from events.models import TrackedEvent
from events.tracking import track
from events.tracking.fields import EventFields


class PastEvent(NamedTuple):
    fields: EventFields
    content: bytes
    counter: int | None = None
    received_at: datetime | None = None


class Imported(NamedTuple):
    added: int
    warning: str = ""


Outcome = Imported | ApiError


class ImportedCount(NamedTuple):
    source_id: str
    fields: EventFields
    counter: int
    created_at: datetime | None
    updated_at: datetime | None


def import_counts(rows: Sequence[ImportedCount], source: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for row in rows:
        key = {
            "subscriber_id": row.fields.subscriber_id,
            "event_key": row.fields.event_key,
            "title": row.fields.title,
            "repeatable": row.fields.repeatable,
        }
        event = TrackedEvent.objects.filter(**key).first()
        if event is None:
            event = TrackedEvent(**key, counter=0, unlogged=0)
            event.created_at = row.created_at or timezone.now()
        added = row.counter - event.unlogged
        event.counter += added
        event.unlogged += added
        event.value, event.provider = row.fields.value, row.fields.provider
        event.updated_at = row.updated_at or event.created_at
        event.save()
        outcomes.append(Imported(added))
    return outcomes


def import_events(events: Sequence[PastEvent], source: str, user_source: str = "") -> list[Outcome]:
    outcomes: list[Outcome] = []
    for event in events:
        data = event.fields._asdict()
        event_ = track(
            {
                k: v
                for k, v in data.items()
                if k
                in (
                    "event_key",
                    "title",
                    "value",
                    "provider",
                    "subscriber_id",
                    "occurred_at",
                    "idempotency_key",
                )
            }
        )
        outcomes.append(Imported(0 if event_.replayed else 1))
    return outcomes
