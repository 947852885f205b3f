"""Run an import: its rows in steps, each of which is committed with the job's position."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeVar

from django.db import transaction

from crm.jobs import RESULTS, Progress, Run
from transfers.imports.files import is_own_header
from transfers.imports.reports import Remark, Reports
from transfers.tables import Row, Table

# Python may need four bytes for each, of two steps at a time.
MAX_CHARACTERS_PER_STEP = 4 * 1024 * 1024
Prepared = TypeVar("Prepared")


class StepResult(NamedTuple):
    """What became of the rows of a step: numbers by what they are called, and remarks."""

    counts: Counter[str]
    remarks: Sequence[Remark]


class Piece:
    """The rows of a step without the header of an export, read while they are prepared.

    It ends at the position `done`, so that no row before it is written again, and when it is large,
    because a row may have a million characters.
    """

    def __init__(self, rows: Iterator[Row], done: int, most: int) -> None:
        """Begin behind the piece before.

        Args:
            rows: of the file.
            done: the position of the job.
            most: rows.
        """
        self._rows, self._done, self._most = rows, done, most
        # The ordinal of the last row until now, 0 if there is none.
        self.last = 0

    def __iter__(self) -> Iterator[Row]:
        number = size = 0
        for row in self._rows:
            self.last = row.ordinal
            if not is_own_header(row):
                number += 1
                size += row.size
                yield row
            is_full = number == self._most or size > MAX_CHARACTERS_PER_STEP
            if is_full or self.last == self._done:
                return


def run_rows(
    run: Run,
    table: Table,
    prepare: Callable[[Iterable[Row]], Prepared],
    write: Callable[[Prepared], StepResult],
    *,
    dry_run: bool,
    rows_per_step: int,
    first: int | None = None,
) -> None:
    """Write the rows of a file behind the job's position.

    Args:
        run: the job.
        table: its file.
        prepare: converts all rows of a step, each once and in their order. It is called in a thread
            of its own, while rows before are written, and uses no database.
        write: writes them in a transaction of the caller, and is repeated after a deadlock.
        dry_run: whether what `write` writes is rolled back.
        rows_per_step: how many rows are written together.
        first: the ordinal behind which rows are prepared, although those up to the position are
            not written. None means the position.
    """
    run.clear_results()
    reports = Reports(run.job.path / RESULTS, table.columns)
    total = run.progress.total or _count(run, table)

    def step(last: int, prepared: Prepared, progress: Progress) -> Progress:
        with transaction.atomic():
            result = write(prepared)
            transaction.set_rollback(dry_run)
        run.hold()
        lengths = reports.write(result.remarks, progress.position.get("lengths", {}))
        counts = Counter(progress.counts)
        counts.update(result.counts)
        return Progress(last, total, {"lengths": lengths}, dict(counts))

    done = run.progress.done
    rows = table.rows(done if first is None else first)

    def next_prepared() -> tuple[int, Prepared] | None:
        while True:
            piece = Piece(rows, done, rows_per_step)
            prepared = prepare(piece)
            if not piece.last:
                return None
            if piece.last > done:
                return piece.last, prepared

    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next_prepared)
        while found := following.result():
            following = thread.submit(next_prepared)
            run.step(partial(step, *found))
    if run.progress.done != total:
        # Quotes may hide that a row of a CSV has several lines.
        run.step(lambda progress: progress._replace(total=progress.done))


def _count(run: Run, table: Table) -> int:
    """Return the number of rows."""
    number = 0
    for number in table.ordinals():
        if number % 10_000 == 0:
            run.check()
    return number
