"""Count the requests of all web workers in memory that they share with the application processes.

The web server imports this module before it forks them. docs/decisions/metrics.md tells why these
are not prometheus_client's own counters.
"""

import os
import struct
import time
from bisect import bisect_left
from collections.abc import Iterable
from http import HTTPStatus
from mmap import mmap
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from django.conf import settings

from config.server import work

# Upper bounds in seconds. The last bucket, above them, ends with the request's time limit.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
# nginx's status of a request whose client went away before the response.
GONE = 499
STATUSES = sorted({*(int(status) for status in HTTPStatus), GONE})
POSITIONS = {status: position for position, status in enumerate(STATUSES)}
# Health checks and scrapes of metrics. They are answered as tracking is, and counted by themselves.
PROBES = "probes"
NAMES = (*(each.name for each in work.CLASSES), PROBES)
# Numbers of a class in the table of a process: requests by status, by bucket, and their seconds,
# and how many wait and are being answered.
BY_STATUS, BY_BUCKET = 0, len(STATUSES)
SECONDS = BY_BUCKET + len(BUCKETS) + 1
WAITING, ANSWERING = SECONDS + 1, SECONDS + 2
WIDTH = SECONDS + 3
# Of a table: the process that writes it, and then the numbers of each class.
OWNER, FIRST = 0, 1
TABLE = FIRST + len(NAMES) * WIDTH
# The owner of a table whose process is being forked.
FORKING = -1.0
# Workers may be replaced all at once, while the old ones end their requests.
TABLES = 2 * settings.WORKERS + 2


class Figures(NamedTuple):
    """What all workers of this web server have counted in a class of work since it started."""

    by_status: dict[int, int]
    # As many as BUCKETS, and one more for the slower ones. Each request is in one of them.
    by_bucket: list[int]
    seconds: float
    # Now.
    waiting: int
    answering: int


class Metrics:
    """The tables of all workers.

    A worker writes into a table of its own, because writes of two processes would be lost. The
    next worker goes on in the table of one that has ended, so that no number falls.
    """

    def __init__(self, tables: int) -> None:
        self._cells = memoryview(mmap(-1, tables * TABLE * struct.calcsize("d"))).cast("d")
        self._starts = range(0, tables * TABLE, TABLE)
        self._lock = Lock()
        self._start = 0
        # In seconds of Unix time.
        self.started_at = time.time()
        self._offsets = {name: FIRST + i * WIDTH for i, name in enumerate(NAMES)}

    def choose_table(self) -> None:
        """Choose the table of the process that is forked next. Its parent calls it."""
        free = (start for start in self._starts if not self._is_owned(start))
        # Without a free one, two processes write into the last and may lose counts.
        self._start = next(free, self._starts[-1])
        self._cells[self._start + OWNER] = FORKING

    def own_table(self) -> None:
        """Begin to write into the chosen table, in the forked process."""
        self._lock = Lock()
        self._cells[self._start + OWNER] = os.getpid()

    def count(self, name: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            name: of its class of work, or PROBES.
            status: of its response, or GONE.
            seconds: from its complete body to its response.
        """
        start = self._start + self._offsets[name]
        by_status = start + BY_STATUS + POSITIONS[status]
        by_bucket = start + BY_BUCKET + bisect_left(BUCKETS, seconds)
        with self._lock:
            cells = self._cells
            cells[by_status] += 1
            cells[by_bucket] += 1
            cells[start + SECONDS] += seconds

    def observe(self) -> None:
        """Note how many requests wait and are being answered in this worker now."""
        for work_class in work.CLASSES:
            start = self._start + self._offsets[work_class.name]
            self._cells[start + WAITING], self._cells[start + ANSWERING] = work_class.load()

    def figures(self, name: str) -> Figures:
        """Return the numbers of a class of work, of all workers together."""
        offset = self._offsets[name]
        sums = [0.0] * WIDTH
        for start in self._starts:
            cells = self._cells[start + offset : start + offset + WIDTH].tolist()
            # A worker that has died answers nothing.
            counted = WIDTH if self._is_owned(start) else WAITING
            for i in range(counted):
                sums[i] += cells[i]
        by_status = zip(STATUSES, sums[BY_STATUS:BY_BUCKET], strict=True)
        return Figures(
            {status: int(number) for status, number in by_status if number},
            [int(number) for number in sums[BY_BUCKET:SECONDS]],
            sums[SECONDS],
            int(sums[WAITING]),
            int(sums[ANSWERING]),
        )

    def workers(self) -> int:
        """Return how many workers live."""
        return sum(map(self._is_owned, self._starts))

    def _is_owned(self, start: int) -> bool:
        owner = int(self._cells[start + OWNER])
        return owner == FORKING or (owner > 0 and Path(f"/proc/{owner}").exists())


def cumulated(numbers: Iterable[int]) -> list[tuple[str, float]]:
    """Return Prometheus's buckets: each bound with the number of requests up to it."""
    bounds = [*map(str, BUCKETS), "+Inf"]
    total, buckets = 0, []
    for bound, number in zip(bounds, numbers, strict=True):
        total += number
        buckets.append((bound, float(total)))
    return buckets


metrics = Metrics(TABLES)
