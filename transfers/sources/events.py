"""Write the events of a source: rows with counters, or occurrences."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from config.api.errors import FieldErrors, InvalidFields
from config.api.warnings import Warnings
from events.tracking.fields import EventFields, parse_event
from events.tracking.imports import Imported, ImportedCount, PastEvent, import_counts, import_events
from events.tracking.row_keys import content_of
from transfers.imports.reports import sentences
from transfers.sources import EventRow, Log

NO_CONTACT: FieldErrors = {"contact": {"exists": "The contact of the event was not imported."}}
LOG_PROVIDER = "activecampaign"


class EventOutcome(NamedTuple):
    """What became of an event: how much it added to a counter, and a remark or ""."""

    event: EventRow | Log
    added: int
    remark: str = ""
    is_rejected: bool = False


def write_events(
    events: Sequence[EventRow | Log],
    ids: Mapping[int, int],
    source: str,
    seen: set[tuple[int, str, str]],
) -> list[EventOutcome]:
    """Write events in the caller's transaction, which has locked their contacts.

    Args:
        events: in the order of their contacts and ids.
        ids: the ids of contacts here, by those at the source.
        source: the name of the source.
        seen: contact, key and title of the rows so far. It collects those of `events`.

    Returns:
        The outcome of each.
    """
    outcomes: dict[int, EventOutcome] = {}
    counts: dict[int, ImportedCount] = {}
    past: dict[int, PastEvent] = {}
    warnings: dict[int, Warnings] = {}
    for number, event in enumerate(events):
        warnings[number] = []
        try:
            fields = _fields(event, ids, warnings[number])
        except InvalidFields as error:
            outcomes[number] = EventOutcome(event, 0, sentences(error.detail, []), True)
            continue
        if isinstance(event, Log):
            past[number] = PastEvent(fields, content_of(fields._replace(subscriber_id=0)))
            continue
        name = (event.contact_id, fields.event_key, fields.title)
        # FluentCRM counts up the first row of a key and title. It has others that do not repeat,
        # and twins that two requests of one moment have made.
        fields = fields._replace(repeatable=name not in seen)
        seen.add(name)
        times = (event.created_at, event.updated_at)
        counts[number] = ImportedCount(str(event.id), fields, event.counter, *times)
    written = dict(zip(counts, import_counts([*counts.values()], source), strict=True))
    written |= zip(past, import_events([*past.values()], source), strict=True)
    for number, outcome in written.items():
        event = events[number]
        if isinstance(outcome, Imported):
            texts = [sentences({}, warnings[number]), outcome.warning]
            outcomes[number] = EventOutcome(event, outcome.added, " ".join(filter(None, texts)))
        else:
            outcomes[number] = EventOutcome(event, 0, str(outcome), True)
    return [outcomes[number] for number in range(len(events))]


def _fields(event: EventRow | Log, ids: Mapping[int, int], warnings: Warnings) -> EventFields:
    """Return the fields of an event.

    Raises:
        InvalidFields: its contact is not here, or the event is invalid.
    """
    if event.contact_id not in ids:
        raise InvalidFields(NO_CONTACT)
    data = {"subscriber_id": ids[event.contact_id], "event_key": event.event_key}
    if isinstance(event, EventRow):
        data |= {"title": event.title, "value": event.value, "provider": event.provider}
        return parse_event(data, warnings=warnings)
    data |= {"title": event.event_key, "value": event.value, "provider": LOG_PROVIDER}
    data |= {"occurred_at": event.occurred_at}
    return parse_event(data, idempotency_key=f"log-{event.id}", warnings=warnings)
