"""Django's PostgreSQL backend for requests: no statement is waited for without end.

PostgreSQL ends long statements itself, but not while it, its machine or a connection pooler is
frozen. Commands use Django's own backend, because a migration may take long.
"""

from time import monotonic
from types import SimpleNamespace
from typing import Any

import psycopg
from django.db.backends.postgresql import base
from psycopg.abc import RV, PQGen
from psycopg.errors import _WaitTimeout
from typing_extensions import override

from config import time_limit
from config.database import NoAnswer

# Shorter than ANSWER_SECONDS, so that PostgreSQL ends what it can end itself.
STATEMENT_SECONDS = 4
LOCK_SECONDS = 2
# A client gets its 503 within five seconds.
ANSWER_SECONDS = 4.5
# The request that waited in vain does not wait for a new connection as well.
PAUSE_SECONDS = 0.5
OPTIONS = (
    f"-c lock_timeout={LOCK_SECONDS}s -c statement_timeout={STATEMENT_SECONDS}s "
    # A filter of one request uses one core, so that the others track events.
    "-c max_parallel_workers_per_gather=0 "
    # Django's own: set here, it costs no statement on a new connection.
    "-c TimeZone=UTC"
)


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when PostgreSQL does not answer within ANSWER_SECONDS.

    It is closed as well when the request of its thread has to end.
    """

    gave_up_at = float("-inf")

    @override
    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        if time_limit.is_over():
            # PostgreSQL rolls back what the request has begun.
            self.close()
            raise NoAnswer("The request has to end.")
        try:
            return super().wait(gen, interval, timeout or ANSWER_SECONDS)
        except _WaitTimeout:
            # A late answer would be read as that of the next statement.
            self.close()
            self.gave_up_at = monotonic()
            raise NoAnswer(f"No answer within {ANSWER_SECONDS} s.") from None


class DatabaseWrapper(base.DatabaseWrapper):
    """Connect by BoundedConnection, with the limits of requests."""

    Database: Any = SimpleNamespace(**{**vars(psycopg), "connect": BoundedConnection.connect})
    gave_up_at = float("-inf")

    @override
    def get_connection_params(self) -> dict[str, Any]:
        limits = {"options": OPTIONS, "tcp_user_timeout": int(ANSWER_SECONDS * 1000)}
        return super().get_connection_params() | limits

    @override
    def get_new_connection(self, conn_params: dict[str, Any]) -> BoundedConnection:
        if monotonic() - self.gave_up_at < PAUSE_SECONDS:
            raise NoAnswer("PostgreSQL has just not answered.")
        connection: BoundedConnection = super().get_new_connection(conn_params)
        return connection

    def _close(self) -> None:  # an override, which django-stubs do not know
        if self.connection is not None:
            self.gave_up_at = self.connection.gave_up_at
        super()._close()  # type: ignore[misc]
