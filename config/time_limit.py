"""Bound the time of a request.

PostgreSQL ends long statements, but a request may have any number of them. Between two of them it
ends when its time is over, or, if it only reads, when its client has gone away.
"""

import threading
from collections.abc import Callable
from time import monotonic

# Longer than a batch of 1,000 contacts takes on a busy machine.
REQUEST_SECONDS = 60.0


class TimeLimit:
    """When a request has to end."""

    __slots__ = ("ends_at", "is_given_up", "is_read")

    def __init__(self, ends_at: float, is_read: bool, is_given_up: Callable[[], bool]) -> None:
        """Create a time limit.

        Args:
            ends_at: in seconds of time.monotonic().
            is_read: whether the request changes nothing. A write is not left half done.
            is_given_up: returns whether the client has gone away.
        """
        self.ends_at, self.is_read, self.is_given_up = ends_at, is_read, is_given_up

    def is_over(self) -> bool:
        """Return whether the request has to end."""
        return monotonic() > self.ends_at or (self.is_read and self.is_given_up())


_of_thread = threading.local()


def begin(*, is_read: bool, is_given_up: Callable[[], bool] = lambda: False) -> None:
    """Give this thread a new time limit, because it begins a request.

    Args:
        is_read: whether the request changes nothing.
        is_given_up: returns whether the client has gone away.
    """
    _of_thread.limit = TimeLimit(monotonic() + REQUEST_SECONDS, is_read, is_given_up)


def end() -> None:
    """Let this thread have no time limit, because its request has ended."""
    _of_thread.limit = None


def extend_read(seconds: float) -> None:
    """Let this thread's request end in so many seconds, or when its client goes away.

    A download that is made by POST changes nothing either.
    """
    if limit := getattr(_of_thread, "limit", None):
        limit.ends_at, limit.is_read = monotonic() + seconds, True


def is_over() -> bool:
    """Return whether this thread's request has to end. A command has no time limit."""
    limit = getattr(_of_thread, "limit", None)
    return limit is not None and limit.is_over()
