"""Import events of a file by a job."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from config.api.errors import ApiError, FieldErrors
from crm.jobs import JobError, JobKind, Run
from crm.models import NewContacts
from events.models import VIEW_EVENTS
from events.tracking import create_contacts
from events.tracking.errors import SubscriberNotFound
from events.tracking.imported_counts import ImportedCount, import_counts
from events.tracking.imports import EventChunk, Imported, Outcome, PastEvent, import_events
from events.tracking.row_keys import RowKeys
from transfers.conversion import EventMapping
from transfers.events import EventRow, read_event, read_own_line
from transfers.imports.files import form_of, open_upload, sample, upload_path
from transfers.imports.reports import Remark, sentences
from transfers.imports.run import StepResult, run_rows
from transfers.options import Options
from transfers.store import store_id
from transfers.tables import Row

KIND = "import_events"
PERMISSIONS = ("crm.view_job", "crm.view_subscriber", "crm.add_subscriber", *VIEW_EVENTS)
# With the locks of 1,000 events tracking waits for 50 ms. More are faster, for stores without
# traffic.
ROWS_PER_STEP, FAST_ROWS_PER_STEP = 1_000, 20_000
# The owner of the keys of a file whose source has no name.
FILE = "file"
OWN_STORE = "The file was exported from this store, which has these events already."


class EventRules(NamedTuple):
    """What an admin user has chosen for an import of events.

    Attributes:
        source: the program whose ids `user_id` has, "" for that of calls. Keys belong to it.
        new_contacts: what happens to events of unknown e-mails, a value of NewContacts.
        fast: whether more rows are written together, so that tracking waits longer.
    """

    source: str = ""
    new_contacts: str = NewContacts.NONE
    fast: bool = False


class Chunk:
    """Rows that were read, and what is written of them together."""

    def __init__(self, source: str) -> None:
        """Begin without rows.

        Args:
            source: the name of what is imported.
        """
        self.rows: list[EventRow] = []
        # The positions in `rows` of events, and counters by their position.
        self.past: list[int] = []
        self.counts: dict[int, ImportedCount] = {}
        self.events = EventChunk((), source)

    def add(self, row: EventRow) -> None:
        """Add a row."""
        event = row.event
        if isinstance(event, PastEvent):
            self.past.append(len(self.rows))
            self.events.add(event)
        elif event:
            self.counts[len(self.rows)] = event
        self.rows.append(row)


def run_import_events(run: Run) -> None:
    """Write the events of a file."""
    parameters = run.job.parameters
    options = Options(**parameters["values"])
    rules = EventRules(**parameters["rules"])
    with open_upload(run.job, form_of(parameters)) as table:
        header = sample(table).header
        if header and header.get("store") == store_id():
            raise JobError(OWN_STORE)
        read: Callable[[Row], EventRow]
        if header:
            source = rules.source or f"store {header.get('store')}"
            read, first = read_own_line, None
        else:
            source = rules.source or FILE
            keys = RowKeys(_digest(upload_path(run.job)))
            mapping = EventMapping(parameters["mapping"], options)
            read = partial(read_event, mapping=mapping, keys=keys)
            first = RowKeys.first_needed(run.progress.done)

        def prepare(rows: Iterable[Row]) -> Chunk:
            chunk = Chunk(source)
            for row in rows:
                chunk.add(read(row))
            return chunk

        run_rows(
            run,
            table,
            prepare,
            lambda chunk: _write(chunk, source, rules),
            dry_run=parameters["dry_run"],
            rows_per_step=FAST_ROWS_PER_STEP if rules.fast else ROWS_PER_STEP,
            first=first,
        )


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _write(chunk: Chunk, source: str, rules: EventRules) -> StepResult:
    """Write a chunk in the caller's transaction."""
    outcomes = _outcomes(chunk, rules)
    missing = [n for n, each in outcomes.items() if isinstance(each, SubscriberNotFound)]
    if missing:
        emails = {event.fields.email for n in missing if (event := chunk.rows[n].event)}
        create_contacts(emails, NewContacts(rules.new_contacts))
        # Also where none was created, because a contact may have been merged since PostgreSQL began
        # to look for it.
        late = Chunk(source)
        for number in missing:
            late.add(chunk.rows[number])
        outcomes |= {missing[n]: outcome for n, outcome in _outcomes(late, rules).items()}
    counts: Counter[str] = Counter()
    remarks = []
    for number, read in enumerate(chunk.rows):
        outcome = outcomes.get(number)
        if isinstance(outcome, Imported):
            counts["imported" if outcome.added else "there already"] += 1
            if not (read.warnings or outcome.warning):
                continue
        errors = read.errors or (_errors(outcome) if isinstance(outcome, ApiError) else {})
        if errors:
            counts["rejected"] += 1
        reason = sentences(errors, read.warnings)
        if isinstance(outcome, Imported) and outcome.warning:
            reason = f"{reason} {outcome.warning}".strip()
        if reason:
            remarks.append(Remark(read.row.number, reason, read.row.values, bool(errors)))
    return StepResult(counts, remarks)


def _outcomes(chunk: Chunk, rules: EventRules) -> dict[int, Outcome]:
    """Write a chunk. Returns the outcome of each row that says something, by its position."""
    counted = import_counts([*chunk.counts.values()], chunk.events.source, rules.source)
    written = import_events(chunk.events, rules.source)
    return {
        **dict(zip(chunk.counts, counted, strict=True)),
        **dict(zip(chunk.past, written, strict=True)),
    }


def _errors(error: ApiError) -> FieldErrors:
    detail: Any = error.detail
    return {"event": {"rejected": str(detail.get("message", detail))}}


IMPORT_EVENTS = JobKind(run_import_events, PERMISSIONS, "admin:transfers_import_columns")
