"""Count the contacts of a source there and here, and compare the numbers."""

import csv
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from config.api.validation import MAX_NAME_LENGTH
from config.database import fetch_rows
from crm.labels import LABEL_MODELS, LabelKind, memberships
from events.exports import escape_formula
from transfers.sources import EventRow, Log, SourceContact
from transfers.sources.definitions import LabelIds

COMPARISON = "comparison.csv"
EVENT_ROWS, EVENT_TIMES = "events", "times"
MOVED = """
WITH moved AS MATERIALIZED (
    SELECT DISTINCT subscriber_id FROM crm_identity
    WHERE kind = 'contact' AND source = %(source)s
)
"""
STATUSES = f"""{MOVED}
SELECT s.status, count(*) FROM moved JOIN crm_subscriber s ON s.id = moved.subscriber_id
GROUP BY s.status
"""
LABELS = f"""{MOVED}
SELECT label.{{column}}, count(*) FROM moved JOIN {{attachments}} label USING (subscriber_id)
GROUP BY label.{{column}}
"""
EVENTS = f"""{MOVED}
SELECT e.event_key, count(*), sum(e.counter)::bigint
FROM moved JOIN events_trackedevent e USING (subscriber_id) GROUP BY e.event_key
"""
NOTES = f"{MOVED} SELECT count(*) FROM moved JOIN crm_subscribernote USING (subscriber_id)"


class Comparison(NamedTuple):
    """A number of a source, and that of its contacts here."""

    what: str
    name: str
    there: int
    here: int


class Tally:
    """Numbers of what was read at the source, as JSON of a job's position."""

    def __init__(self, numbers: Mapping[str, Mapping[str, int]]) -> None:
        """Go on with the numbers of earlier steps."""
        self._numbers = {what: Counter(each) for what, each in numbers.items()}

    def add(self, what: str, name: str, number: int = 1) -> None:
        """Add to a number. A NUL is left out of the name, because JSON in PostgreSQL has none."""
        name = name.replace("\0", "")[:MAX_NAME_LENGTH]
        self._numbers.setdefault(what, Counter())[name] += number

    def add_contacts(self, contacts: Iterable[SourceContact]) -> None:
        """Add contacts, their labels and their notes."""
        for contact in contacts:
            self.add("status", str(contact.item.get("status", "")))
            for kind, labels in contact.labels.items():
                for label_id in {label.label_id for label in labels}:
                    self.add(kind, label_id)
            if contact.notes:
                self.add("notes", "", len(contact.notes))

    def add_event(self, event: EventRow | Log, event_key: str) -> None:
        """Add an event under the key that it has here."""
        if isinstance(event, EventRow):
            self.add(EVENT_ROWS, event_key)
            self.add(EVENT_TIMES, event_key, event.counter)
        else:
            self.add(EVENT_TIMES, event_key)

    @property
    def numbers(self) -> dict[str, dict[str, int]]:
        """The numbers as JSON."""
        return {what: dict(each) for what, each in self._numbers.items()}


def compare(
    source: str, numbers: Mapping[str, Mapping[str, int]], labels: LabelIds
) -> list[Comparison]:
    """Return the numbers of a source beside those of its contacts here.

    Args:
        source: the name of the source.
        numbers: of a Tally.
        labels: the ids here of its labels.
    """
    parameters = {"source": source}
    here: dict[str, Mapping[str, int]] = {"status": dict(fetch_rows(STATUSES, parameters))}
    events = fetch_rows(EVENTS, parameters)
    here[EVENT_ROWS] = {key: rows for key, rows, _ in events}
    here[EVENT_TIMES] = {key: times for key, _, times in events}
    here["notes"] = {"": fetch_rows(NOTES, parameters)[0][0]}
    there = {what: dict(each) for what, each in numbers.items()}
    for kind in LABEL_MODELS:
        there[kind], here[kind] = _by_title(kind, there.get(kind, {}), labels, parameters)
    return [
        Comparison(what, name, there.get(what, {}).get(name, 0), here[what].get(name, 0))
        for what in ("status", *LABEL_MODELS, EVENT_ROWS, EVENT_TIMES, "notes")
        # Logs have no rows of events to compare.
        if what != EVENT_ROWS or what in there or EVENT_TIMES not in there
        for name in sorted({*there.get(what, {}), *here[what]})
    ]


def _by_title(
    kind: LabelKind,
    numbers: Mapping[str, int],
    labels: LabelIds,
    parameters: Mapping[str, str],
) -> tuple[dict[str, int], dict[str, int]]:
    """Return the numbers of contacts by the titles of labels, at the source and here."""
    ids = labels.get(kind, {})
    titles = dict(LABEL_MODELS[kind].objects.filter(pk__in=ids.values()).values_list("pk", "title"))
    there: Counter[str] = Counter()
    for label_id, number in numbers.items():
        there[titles.get(ids.get(label_id, 0), f"id {label_id}")] += number
    rows, column = memberships(kind)
    statement = LABELS.format(column=column, attachments=rows.model._meta.db_table)
    found = fetch_rows(statement, parameters)
    return there, {titles[pk]: number for pk, number in found if pk in titles}


def write_comparison(folder: Path, rows: Iterable[Comparison]) -> None:
    """Write the numbers into a file of a job's results."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / COMPARISON, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*Comparison._fields, "difference"])
        for row in rows:
            writer.writerow(
                [row.what, escape_formula(row.name), row.there, row.here, row.here - row.there]
            )
