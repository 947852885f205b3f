"""Import contacts of a file by a job."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from crm.custom_fields import declared_fields
from crm.jobs import JobKind, Run
from crm.notes import add_missing_notes
from transfers.contacts import ContactRow, ContactRules, Outcome, import_contacts, read_contact
from transfers.imports.files import form_of, open_upload
from transfers.imports.reports import Remark, sentences
from transfers.imports.run import StepResult, run_rows
from transfers.options import ContactOptions
from transfers.tables import Row

KIND = "import_contacts"
PERMISSIONS = (
    *("crm.view_job", "crm.view_subscriber", "crm.add_subscriber", "crm.change_subscriber"),
)
ROWS_PER_STEP = 500
# What is remarked of a row that was written.
HELD_BACK = "The contact stays opted out or erased."


def run_import_contacts(run: Run) -> None:
    """Write the contacts of a file."""
    parameters = run.job.parameters
    options = ContactOptions(**parameters["values"])
    rules = ContactRules(**parameters["rules"])
    mapping = parameters["mapping"]

    declared = declared_fields()

    def prepare(rows: Iterable[Row]) -> list[tuple[Row, ContactRow]]:
        return [(row, read_contact(row, mapping, options, declared)) for row in rows]

    def write(read: list[tuple[Row, ContactRow]]) -> StepResult:
        rows = [row for row, _ in read]
        outcomes = import_contacts([contact for _, contact in read], rules)
        add_missing_notes(
            (outcome.contact_id, note)
            for row, outcome in zip(rows, outcomes, strict=True)
            if outcome.contact_id and outcome.kind != "skipped"
            for note in _notes(row)
        )
        return _result(rows, outcomes)

    with open_upload(run.job, form_of(parameters)) as table:
        run_rows(
            run,
            table,
            prepare,
            write,
            dry_run=parameters["dry_run"],
            rows_per_step=ROWS_PER_STEP,
        )


def _notes(row: Row) -> list[Any]:
    """Return the notes of a contact in an export of Tallybook."""
    notes = row.values.get("notes")
    return notes if isinstance(notes, list) and row.values.get("type") == "contact" else []


def _result(rows: Sequence[Row], outcomes: Sequence[Outcome]) -> StepResult:
    counts: Counter[str] = Counter(outcome.kind for outcome in outcomes)
    remarks = []
    for row, outcome in zip(rows, outcomes, strict=True):
        if outcome.errors or outcome.warnings or outcome.kind == "held_back":
            reason = sentences(outcome.errors, outcome.warnings) or HELD_BACK
            is_rejected = outcome.kind == "rejected"
            remarks.append(Remark(outcome.number, reason, row.values, is_rejected))
    return StepResult(counts, remarks)


IMPORT_CONTACTS = JobKind(run_import_contacts, PERMISSIONS, "admin:transfers_import_columns")
