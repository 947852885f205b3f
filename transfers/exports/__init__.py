"""Export all contacts, all events, or the log of occurrences by a job.

Everything is read in one snapshot, into a file that is whole or does not exist. NDJSON is for API
clients and for the import of another Tallybook, CSV for tables. The formats: docs/reference/
exports.md.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

import orjson
from django.contrib.auth.models import User
from django.utils import timezone

from config import __version__
from config.files import whole_file
from crm.jobs import RESULTS, JobKind, Progress, Run, create_job
from crm.models import Job
from events.exports import snapshot
from events.models import VIEW_EVENTS
from transfers.exports import contacts, events
from transfers.exports.cells import Kind, write_table
from transfers.exports.events import EventChoice
from transfers.store import store_id

CONTACTS, EVENTS, OCCURRENCES = "contacts", "events", "occurrences"
NDJSON, CSV = "ndjson", "csv"
KIND_OF = {CONTACTS: "export_contacts", EVENTS: "export_events", OCCURRENCES: "export_events"}
SEE_CONTACTS = ("crm.view_job", "crm.view_subscriber")
SEE_EVENTS = (*SEE_CONTACTS, *VIEW_EVENTS)
# How many lines are written between two looks at the job.
LINES_PER_LOOK = 1_000


class ExportOptions(NamedTuple):
    """What is exported, and how.

    Attributes:
        what: contacts, events (counted rows, in NDJSON with their occurrences) or occurrences.
        format: ndjson or csv.
        columns: of a CSV of contacts, of `contacts.contact_columns()`. Empty means all.
        event_keys: those whose events are exported. Empty means all.
        since: ISO 8601; events that happened since then. "" means all.
        reader: of a CSV, a key of READERS.
    """

    what: str
    format: str
    columns: list[str] = []  # noqa: RUF012  # of a NamedTuple, whose defaults are never changed
    event_keys: list[str] = []  # noqa: RUF012
    since: str = ""
    reader: str = "programs"

    @property
    def choice(self) -> EventChoice:
        """The events that are exported."""
        since = datetime.fromisoformat(self.since) if self.since else None
        return EventChoice(self.event_keys or None, since)


def unknown_columns(columns: Iterable[str]) -> list[str]:
    """Return those columns that a table of contacts cannot have."""
    known = contacts.contact_columns()
    return [name for name in columns if name not in known]


def create_export(options: ExportOptions, created_by: User | None) -> Job:
    """Create a job that exports."""
    title = f"Export {options.what} as {options.format.upper()}"
    return create_job(KIND_OF[options.what], title, options._asdict(), created_by=created_by)


def run_export(run: Run) -> None:
    """Write the file of an export job into its results."""
    options = ExportOptions(**run.job.parameters)
    name = (
        f"{options.what}-{timezone.localtime(run.job.created_at):%Y-%m-%d-%H%M%S}.{options.format}"
    )
    run.clear_results()
    folder = run.job.path / RESULTS
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The snapshot could not write the id of a store that has none yet.
    header = _header()
    with whole_file(folder / name) as file, snapshot():
        total = _total(options)
        written = 0

        def write(text: str) -> None:
            file.write(text.encode())

        def shown(items: Iterable[Any]) -> Iterator[Any]:
            nonlocal written
            for item in items:
                yield item
                written += 1
                if written % LINES_PER_LOOK == 0:
                    run.show(written, total)

        if options.format == NDJSON:
            for line in chain([header], shown(_lines(options))):
                write(line)
        else:
            columns, rows = _table(options)
            write_table(columns, shown(rows), options.reader, write)
    run.step(lambda _: Progress(written, total, {}, {"rows": written}))


def _total(options: ExportOptions) -> int:
    if options.what == CONTACTS:
        return contacts.count_contacts()
    number = 0
    if options.what == EVENTS:
        number += events.count_events(options.choice)
    if options.what == OCCURRENCES or options.format == NDJSON:
        number += events.count_occurrences(options.choice)
    return number


def _header() -> str:
    header = {
        "type": "tallybook",
        "format": 1,
        "store": store_id(),
        "exported_at": timezone.now(),
        "tallybook": __version__,
    }
    return orjson.dumps(header).decode() + "\n"


def _lines(options: ExportOptions) -> Iterable[str]:
    if options.what == CONTACTS:
        return contacts.contact_lines()
    occurrences = events.occurrence_lines(options.choice)
    if options.what == OCCURRENCES:
        return occurrences
    return chain(events.event_lines(options.choice), occurrences)


def _table(options: ExportOptions) -> tuple[Mapping[str, Kind], Iterable[list[Any]]]:
    if options.what == CONTACTS:
        known = contacts.contact_columns()
        columns = {name: known[name] for name in options.columns if name in known} or known
        return columns, contacts.contact_rows(columns)
    if options.what == EVENTS:
        return events.EVENT_COLUMNS, events.event_rows(options.choice)
    return events.OCCURRENCE_COLUMNS, events.occurrence_rows(options.choice)


EXPORT_CONTACTS = JobKind(run_export, SEE_CONTACTS)
EXPORT_EVENTS = JobKind(run_export, SEE_EVENTS)
