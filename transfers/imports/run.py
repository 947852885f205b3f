"""Run an import: its rows in steps, each of which is committed with the job's position."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

from django.db import transaction

from crm.jobs import RESULTS, Progress, Run
from transfers.imports.files import is_own_header
from transfers.imports.reports import Remark, Reports
from transfers.tables import Row, Table


class StepResult(NamedTuple):
    """What became of the rows of a step: numbers by what they are called, and remarks."""

    counts: Counter[str]
    remarks: Sequence[Remark]


def run_rows(
    run: Run,
    table: Table,
    write: Callable[[Sequence[Row]], StepResult],
    *,
    dry_run: bool,
    rows_per_step: int,
) -> None:
    """Write the rows of a file behind the job's position.

    Args:
        run: the job.
        table: its file.
        write: writes rows in a transaction of the caller, and is repeated after a deadlock.
        dry_run: whether what `write` writes is rolled back.
        rows_per_step: how many rows are written together.
    """
    reports = Reports(run.job.path / RESULTS, table.columns)
    total = run.progress.total or _count(run, table)

    def step(piece: Sequence[Row], progress: Progress) -> Progress:
        with transaction.atomic():
            result = write([row for row in piece if not is_own_header(row)])
            transaction.set_rollback(dry_run)
        lengths = reports.write(result.remarks, progress.position.get("lengths", {}))
        counts = Counter(progress.counts)
        counts.update(result.counts)
        return Progress(piece[-1].ordinal, total, {"lengths": lengths}, dict(counts))

    rows = table.rows(run.progress.done)
    while piece := list(islice(rows, rows_per_step)):
        run.step(partial(step, piece))


def _count(run: Run, table: Table) -> int:
    """Return the number of rows. Reading them takes a small part of the time of writing them."""
    number = 0
    for row in table.rows():
        number = row.ordinal
        if number % 10_000 == 0:
            run.check()
    return number
