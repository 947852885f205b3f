"""Run an import: its rows in steps, each of which is committed with the job's position."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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


def run_rows(
    run: Run,
    table: Table,
    prepare: Callable[[Sequence[Row]], Prepared],
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
        prepare: converts rows, each once and in their order. It is called in a thread of its own,
            while rows before are written, and uses no database.
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
    pieces = _pieces(table.rows(done if first is None else first), done, rows_per_step)

    def next_prepared() -> tuple[int, Prepared] | None:
        for last, rows in pieces:
            prepared = prepare(rows)
            if last > done:
                return last, prepared
        return None

    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next_prepared)
        while found := following.result():
            following = thread.submit(next_prepared)
            run.step(partial(step, *found))


def _pieces(rows: Iterator[Row], done: int, rows_per_step: int) -> Iterator[tuple[int, list[Row]]]:
    """Yield pieces of rows without the header of an export, each with its last ordinal.

    A piece ends at the position `done`, so that no row before it is written again, and when it is
    large, because a row may have a million characters.
    """
    piece: list[Row] = []
    last = size = 0
    for row in rows:
        last = row.ordinal
        if not is_own_header(row):
            piece.append(row)
            size += sum(map(len, map(str, row.values.values())))
        if len(piece) == rows_per_step or last == done or size > MAX_CHARACTERS_PER_STEP:
            yield last, piece
            piece, size = [], 0
    if piece:
        yield last, piece


def _count(run: Run, table: Table) -> int:
    """Return the number of rows. Reading them takes a small part of the time of writing them."""
    number = 0
    for number in table.ordinals():
        if number % 10_000 == 0:
            run.check()
    return number
