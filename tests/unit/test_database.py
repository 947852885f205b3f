"""config.database: chunks of ids, and further tries after a deadlock."""

import pytest
from django.db import IntegrityError, OperationalError, connections
from psycopg.errors import DeadlockDetected, ForeignKeyViolation, LockNotAvailable

from config.database import TEMPORARY, chunked, retry_on_deadlock


@pytest.mark.parametrize(
    ("ids", "chunks"),
    [
        ([], []),
        ([1], [[1]]),
        ([1, 2, 3], [[1, 2, 3]]),
        ([1, 2, 3, 4], [[1, 2, 3], [4]]),
        ([6, 5, 4, 3, 2, 1], [[6, 5, 4], [3, 2, 1]]),
    ],
)
def test_ids_are_split_into_chunks_in_their_order(ids: list[int], chunks: list[list[int]]) -> None:
    assert list(chunked(ids, 3)) == chunks


class Work:
    """Work that PostgreSQL ends at its first tries."""

    def __init__(self, failures: int, cause: Exception | None = None) -> None:
        self.failures = failures
        self.cause = cause or DeadlockDetected()
        self.tries = 0

    def __call__(self) -> str:
        self.tries += 1
        if self.tries <= self.failures:
            is_foreign_key = isinstance(self.cause, ForeignKeyViolation)
            raise (IntegrityError if is_foreign_key else OperationalError) from self.cause
        return "done"


@pytest.mark.parametrize("failures", [0, 1, 2])
@pytest.mark.parametrize("cause", TEMPORARY)
def test_work_is_tried_again_after_a_deadlock(failures: int, cause: type[Exception]) -> None:
    work = Work(failures, cause())
    assert retry_on_deadlock(work) == "done"
    assert work.tries == failures + 1


def test_work_is_tried_three_times_at_most() -> None:
    work = Work(failures=3)
    with pytest.raises(OperationalError):
        retry_on_deadlock(work)
    assert work.tries == 3


def test_work_is_not_tried_again_after_another_error() -> None:
    work = Work(1, LockNotAvailable())
    with pytest.raises(OperationalError):
        retry_on_deadlock(work)
    assert work.tries == 1


def test_inside_a_transaction_there_is_one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections["default"], "in_atomic_block", True)
    work = Work(failures=1)
    with pytest.raises(OperationalError):
        retry_on_deadlock(work)
    assert work.tries == 1
