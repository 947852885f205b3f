"""The process of `serve` that runs jobs: it runs them, and is replaced when it is killed."""

import os
import signal
from collections.abc import Callable

import psycopg
import pytest

from tests.system.processes import is_alive, wait_for_jobs
from tests.system.server import Server, wait_until

INSERT = """
INSERT INTO crm_job (kind, title, parameters, state, stop_requested, claim, done, position,
                     counts, error, folder, created_at)
VALUES ('unknown', 'A test', '{}', 'waiting', false, 0, 0, '{}', '{}', '', '', now())
RETURNING id
"""
ERROR = "SELECT error FROM crm_job WHERE id = %s AND state = 'failed'"


@pytest.fixture
def run_job(server: Server, store: psycopg.Connection) -> Callable[[], str]:
    """Let the server run a job of a kind that it does not know, and return the error."""

    def run() -> str:
        row = store.execute(INSERT).fetchone()
        assert row
        wait_until(lambda: store.execute(ERROR, row).fetchone())
        (error,) = store.execute(ERROR, row).fetchone() or ("",)
        return str(error)

    return run


def test_serve_runs_jobs(run_job: Callable[[], str]) -> None:
    assert run_job() == "This version knows no jobs of the kind unknown."


def test_serve_replaces_the_process_that_runs_jobs(
    server: Server, run_job: Callable[[], str]
) -> None:
    pid = wait_for_jobs(server)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))
    assert run_job() == "This version knows no jobs of the kind unknown."
