"""Deliver webhooks in several threads, so that a slow receiver holds up itself alone."""

import logging
import queue
import threading
import time
from collections import Counter

from django.db import DatabaseError, InterfaceError, connections

from automations.webhooks.attempts import Claimed, claim, deliver

logger = logging.getLogger(__name__)

SLOTS = 8
SLOTS_PER_ENDPOINT = 2
# An idle thread gives its connection back.
IDLE_SECONDS = 30.0


class Deliverer:
    """Threads that deliver at the same time, each with a connection of its own to PostgreSQL."""

    def __init__(self, slots: int = SLOTS) -> None:
        """Prepare threads, which `start` starts."""
        self._slots = slots
        self._claimed: queue.Queue[Claimed | None] = queue.Queue()
        # How many attempts go on, by the id of the endpoint.
        self._going_on: Counter[int] = Counter()
        self._lock = threading.Lock()
        self._is_stopping = False
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads, which wait for `tick`."""
        self._threads = [
            threading.Thread(target=self._run, name=f"webhooks-{number}", daemon=True)
            for number in range(self._slots)
        ]
        for thread in self._threads:
            thread.start()

    def tick(self) -> None:
        """Claim what is due for the free threads, and return without waiting for receivers.

        Call it about once a second. Threads that have delivered claim the next by themselves.

        Raises:
            django.db.DatabaseError: the database is unavailable.
        """
        with self._lock:
            while (free := self._slots - self._going_on.total()) > 0 and not self._is_stopping:
                busy = [
                    endpoint
                    for endpoint, number in self._going_on.items()
                    if number >= SLOTS_PER_ENDPOINT
                ]
                claimed = claim(free, busy)
                if not claimed:
                    return
                for each in claimed:
                    self._going_on[each.endpoint] += 1
                    self._claimed.put(each)

    def stop(self, within_seconds: float) -> None:
        """Claim nothing more, and wait until the attempts that go on have ended.

        Args:
            within_seconds: how long to wait at most. What has not ended then is delivered again
                when its lease has ended.
        """
        until = time.monotonic() + within_seconds
        with self._lock:
            self._is_stopping = True
        for _ in self._threads:
            self._claimed.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while True:
            try:
                claimed = self._claimed.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                connections.close_all()
                continue
            if claimed is None:
                break
            try:
                deliver(claimed)
            except (DatabaseError, InterfaceError) as error:
                # The lease ends, and then the message is sent again.
                logger.warning("A webhook could not be recorded: %s", error)
                connections.close_all()
            except Exception:
                logger.exception("A webhook could not be sent.")
            self._end(claimed)
        connections.close_all()

    def _end(self, claimed: Claimed) -> None:
        with self._lock:
            self._going_on[claimed.endpoint] -= 1
            if not self._going_on[claimed.endpoint]:
                del self._going_on[claimed.endpoint]
        try:
            self.tick()
        except (DatabaseError, InterfaceError):
            # The next call of `tick` reports it.
            connections.close_all()
