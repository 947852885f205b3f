"""Bound the time of a request.

PostgreSQL ends long statements, but a request may have any number of them. Between two of them it
ends when its time is over, or when its client has gone away.
"""

import threading
from time import monotonic

# Longer than a batch of 1,000 contacts takes on a busy machine.
REQUEST_SECONDS = 60.0


class TimeLimit:
    """When a request has to end, in seconds of time.monotonic(). Any thread may change it."""

    __slots__ = ("ends_at",)

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at


_of_thread = threading.local()


def begin() -> TimeLimit:
    """Give this thread a new time limit, because it begins a request."""
    limit = _of_thread.limit = TimeLimit(monotonic() + REQUEST_SECONDS)
    return limit


def end() -> None:
    """Let this thread have no time limit, because its request has ended."""
    _of_thread.limit = None


def extend(seconds: float) -> None:
    """Let this thread's request end in so many seconds, if it is one that has a time limit."""
    if limit := getattr(_of_thread, "limit", None):
        limit.ends_at = monotonic() + seconds


def is_over() -> bool:
    """Return whether this thread's request has to end. A command has no time limit."""
    limit = getattr(_of_thread, "limit", None)
    return limit is not None and monotonic() > limit.ends_at
