"""Make the lines of the access log and of the log of slow statements. Each is JSON.

docs/how-to/watch.md describes the fields. A line has no query string,
no body, no parameter of a statement and no credential.
"""

import logging
import os
import re
import threading
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import orjson
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import Cursor
from psycopg.abc import Params, Query
from psycopg.sql import Composable
from typing_extensions import override

from config.log_writer import writer

# The response has the id that a proxy has given the request, unless it could fake a line.
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,64}")
MAX_STATEMENT_LENGTH = 2000
SQL_COMMENT = re.compile("--[^\n]*")
# What a path is logged with. Other parts may be e-mails, or secrets in a URL that is none of ours.
WORD = re.compile(r"[A-Za-z_.-]{0,40}|[0-9]{1,19}|[A-Za-z0-9]{1,3}")

_of_thread = threading.local()


def encode(fields: dict[str, Any]) -> bytes:
    """Return a line of JSON that begins with the datetime."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return orjson.dumps({"time": now, **fields}, option=orjson.OPT_APPEND_NEWLINE)


def shown_path(path: str) -> str:
    """Return a path of which each part that is neither a word nor a number is an asterisk."""
    return "/".join(part if WORD.fullmatch(part) else "*" for part in path.split("/"))


def is_written() -> bool:
    """Return whether requests have an id, because one of the logs is written."""
    return settings.ACCESS_LOG or settings.SLOW_STATEMENT_MS is not None


def request_id(sent: str | None) -> str:
    """Return the id of a request: the one that it was sent with, or a new one.

    Args:
        sent: the header X-Request-ID.
    """
    return sent if sent and REQUEST_ID.fullmatch(sent) else os.urandom(8).hex()


def set_request_id(id_: str | None) -> None:
    """Let the lines that this thread writes name a request, or None."""
    _of_thread.request_id = id_


class RequestIdFilter(logging.Filter):
    """Give the text log's records `request`: the id of the request in brackets, or nothing."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        id_ = getattr(_of_thread, "request_id", None)
        record.request = f"[{id_}] " if id_ else ""
        return True


class TimedCursor(Cursor[Any]):
    """Writes each statement that takes settings.SLOW_STATEMENT_MS or longer.

    COMMIT and COPY are not statements of a cursor, and are not timed.
    """

    @override
    def execute(self, query: Query, params: Params | None = None, **options: Any) -> Any:
        began_at = monotonic()
        try:
            return super().execute(query, params, **options)  # type: ignore[arg-type]
        finally:
            self._write(query, monotonic() - began_at)

    def _write(self, query: Query, seconds: float) -> None:
        if seconds * 1000 < settings.SLOW_STATEMENT_MS:
            return
        text = query.as_string(self) if isinstance(query, Composable) else str(query)
        fields = {
            "log": "statement",
            "request": getattr(_of_thread, "request_id", None),
            "ms": round(seconds * 1000, 1),
            "statement": " ".join(SQL_COMMENT.sub("", text).split())[:MAX_STATEMENT_LENGTH],
        }
        writer.add(encode(fields))


def time_statements(connection: BaseDatabaseWrapper, **_: object) -> None:
    """Time the statements of a new connection (Django's connection_created)."""
    if settings.SLOW_STATEMENT_MS is not None:
        connection.connection.cursor_factory = TimedCursor
