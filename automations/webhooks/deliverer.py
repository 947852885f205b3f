"""Deliver webhooks in several threads, so that slow receivers do not hold up quick ones."""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Collection

from django.db import DatabaseError, InterfaceError, connections

from automations.webhooks.attempts import Claimed, claim, deliver

logger = logging.getLogger(__name__)

# Attempts at a time, of endpoints that are not slow, and of slow ones.
SLOTS = 8
SLOW_SLOTS = 8
SLOTS_PER_ENDPOINT = 2
# An endpoint is slow if its last attempt took so long, or one that goes on does.
SLOW_SECONDS = 2.0
# With those of endpoints that have become slow meanwhile, which leave their slot to others.
MAX_ATTEMPTS = 32
# An idle thread gives its connection back.
IDLE_SECONDS = 30.0


class Deliverer:
    """Threads that deliver at the same time, so that slow endpoints hold up only each other."""

    def __init__(self) -> None:
        """Prepare for `tick`, which starts threads as they are needed."""
        self._claimed: queue.Queue[Claimed | None] = queue.Queue()
        # When each attempt that goes on began, by time.monotonic().
        self._going_on: dict[Claimed, float] = {}
        self._slow: set[int] = set()
        # The ids of endpoints as keys, in the order in which they were served.
        self._served: dict[int, None] = {}
        self._lock = threading.Lock()
        self._is_stopping = False
        self._threads: list[threading.Thread] = []

    def tick(self) -> None:
        """Claim what is due as far as slots are free, and return without waiting for receivers.

        Call it about once a second. Threads that have delivered claim the next by themselves.

        Raises:
            django.db.DatabaseError: the database is unavailable.
        """
        with self._lock:
            while not self._is_stopping and self._claim():
                pass

    def _claim(self) -> bool:
        """Claim at most one delivery of each endpoint, and return whether there was any."""
        late = time.monotonic() - SLOW_SECONDS
        self._slow |= {each.endpoint for each, began in self._going_on.items() if began <= late}
        slow = sum(each.endpoint in self._slow for each in self._going_on)
        quick = len(self._going_on) - slow
        numbers = Counter(each.endpoint for each in self._going_on)
        busy = {endpoint for endpoint, number in numbers.items() if number >= SLOTS_PER_ENDPOINT}
        begun = self._begin(SLOTS - quick, busy | self._slow)
        return self._begin(SLOW_SLOTS - slow, busy, self._slow) or begun

    def _begin(
        self, free: int, busy: Collection[int], among: Collection[int] | None = None
    ) -> bool:
        """Hand deliveries to threads, and return whether there were any. See `claim`."""
        free = min(free, MAX_ATTEMPTS - len(self._going_on))
        if free <= 0 or among == set():
            return False
        claimed = claim(free, busy, among, self._served)
        for each in claimed:
            self._going_on[each] = time.monotonic()
            self._served.pop(each.endpoint, None)
            self._served[each.endpoint] = None
            self._claimed.put(each)
        while len(self._threads) < len(self._going_on):
            self._start_thread()
        return bool(claimed)

    def _start_thread(self) -> None:
        # Only as many as there are slots keep their connections, because PostgreSQL has few.
        number = len(self._threads)
        thread = threading.Thread(
            target=self._run, args=(number < SLOTS,), name=f"webhooks-{number}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

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

    def _run(self, keeps_connection: bool) -> None:
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
            if not keeps_connection:
                connections.close_all()
        connections.close_all()

    def _end(self, claimed: Claimed) -> None:
        with self._lock:
            if time.monotonic() - self._going_on.pop(claimed) < SLOW_SECONDS:
                self._slow.discard(claimed.endpoint)
            else:
                self._slow.add(claimed.endpoint)
        try:
            self.tick()
        except (DatabaseError, InterfaceError):
            # The next call of `tick` reports it.
            connections.close_all()
