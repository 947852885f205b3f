"""Count by address what one worker was sent within a minute."""

from collections import Counter
from threading import Lock
from time import monotonic
from typing import NamedTuple

WINDOW_SECONDS = 60.0
# Further addresses of one minute are not counted, so that the memory is bounded.
MAX_ADDRESSES = 10_000


class Count(NamedTuple):
    """How many came from an address within the present minute, and the seconds left of it."""

    number: int
    seconds_left: float


class PerMinute:
    """Numbers by address, which all begin again every minute."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._ends_at = 0.0
        self._numbers: Counter[str | None] = Counter()

    def count(self, address: str | None) -> Count:
        """Count one from an address, and return how many there were, this one included."""
        with self._lock:
            now = monotonic()
            if now >= self._ends_at:
                self._numbers.clear()
                self._ends_at = now + WINDOW_SECONDS
            if address in self._numbers or len(self._numbers) < MAX_ADDRESSES:
                self._numbers[address] += 1
            return Count(self._numbers[address], self._ends_at - now)

    def clear(self) -> None:
        """Forget all numbers."""
        self._ends_at = 0.0
