"""Write the events of a source: rows with counters, or occurrences."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from config.api.errors import InvalidFields
from config.api.warnings import Warnings
from events.tracking.fields import EventFields, parse_event
from events.tracking.imported_counts import ImportedCount, import_counts
from events.tracking.imports import EventChunk, Imported, Outcome, PastEvent, import_events
from events.tracking.row_keys import content_of
from transfers.imports.reports import sentences
from transfers.sources import EventRow, Log

LOG_PROVIDER = "activecampaign"


class EventOutcome(NamedTuple):
    """What became of an event: how much it added to a counter, and a remark or "".

    `event_key` is the one that it has here.
    """

    event: EventRow | Log
    event_key: str
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
    keys: dict[int, str] = {}
    for number, event in enumerate(events):
        warnings[number] = []
        try:
            fields = _fields(event, ids, warnings[number])
        except InvalidFields as error:
            reason = sentences(error.detail, [])
            outcomes[number] = EventOutcome(event, event.event_key, 0, reason, True)
            continue
        if fields.subscriber_id == 0:
            # The report names the contact.
            outcomes[number] = EventOutcome(event, fields.event_key, 0, is_rejected=True)
            continue
        keys[number] = fields.event_key
        if isinstance(event, Log):
            # Without the contact's id, because it may be merged with another one.
            content = content_of(fields._replace(subscriber_id=0))
            past[number] = PastEvent(fields, f"log-{event.id}", content)
            continue
        name = (event.contact_id, fields.event_key, fields.title)
        # FluentCRM counts up the first row of a key and title. It has others that do not repeat,
        # and twins that two requests of one moment have made.
        fields = fields._replace(repeatable=name not in seen)
        seen.add(name)
        times = (event.created_at, event.updated_at)
        counts[number] = ImportedCount(str(event.id), fields, event.counter, *times)
    written: dict[int, Outcome] = {}
    if counts:
        written |= zip(counts, import_counts([*counts.values()], source), strict=True)
    if past:
        chunk = EventChunk([*past.values()], source)
        written |= zip(past, import_events(chunk), strict=True)
    for number, outcome in written.items():
        event, key = events[number], keys[number]
        if isinstance(outcome, Imported):
            texts = [sentences({}, warnings[number]), outcome.warning]
            outcomes[number] = EventOutcome(
                event, key, outcome.added, " ".join(filter(None, texts))
            )
        else:
            outcomes[number] = EventOutcome(event, key, 0, str(outcome), True)
    return [outcomes[number] for number in range(len(events))]


def _fields(event: EventRow | Log, ids: Mapping[int, int], warnings: Warnings) -> EventFields:
    """Return the fields of an event, with the subscriber_id 0 if its contact is not here.

    Raises:
        InvalidFields: the event is invalid.
    """
    data = {"subscriber_id": ids.get(event.contact_id, 0), "event_key": event.event_key}
    if isinstance(event, EventRow):
        if event.error:
            raise InvalidFields({"event": {"invalid": event.error}})
        data |= {"title": event.title, "value": event.value, "provider": event.provider}
        return parse_event(data, warnings=warnings)
    data |= {"title": event.event_key, "value": event.value, "provider": LOG_PROVIDER}
    data |= {"occurred_at": event.occurred_at}
    return parse_event(data, warnings=warnings)
