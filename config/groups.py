"""Run together what several threads ask for at the same moment, such as one statement for all."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A group that runs for longer, because of a lock or a dead database, does not hold up the others.
PATIENCE_SECONDS = 0.05


class _Ticket(Generic[Item, Result]):
    """What a thread asks for, until it has its result or its thread leads a group."""

    __slots__ = ("group", "is_ready", "item", "outcome")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.outcome: Result | BaseException
        # Set if its thread leads.
        self.group: list[_Ticket[Item, Result]] = []
        # Locked as long as its thread has to wait.
        self.is_ready = threading.Lock()
        self.is_ready.acquire()


class Group(Generic[Item, Result]):
    """Run the items of several threads together.

    An item that comes while none is running is run at once and alone. Those that come meanwhile are
    run together afterwards, by the thread of the first. So a group grows with the load, and without
    load no item waits.
    """

    def __init__(self, run_all: Callable[[list[Item]], Sequence[Result | BaseException]]) -> None:
        """Prepare to run items.

        Args:
            run_all: runs items and returns a result or an error for each, in their order. What it
                raises is the error of all.
        """
        self._run_all = run_all
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[Item, Result]] = []
        self._running: list[_Ticket[Item, Result]] = []

    def run(self, item: Item) -> Result:
        """Run an item together with those of other threads, and return its result.

        Raises:
            BaseException: the error of this item.
        """
        ticket: _Ticket[Item, Result] = _Ticket(item)
        with self._lock:
            if self._running:
                self._waiting.append(ticket)
            else:
                self._running = ticket.group = [ticket]
        if not ticket.group:
            self._wait(ticket)
        if ticket.group:
            self._lead(ticket.group)
        if isinstance(ticket.outcome, BaseException):
            raise ticket.outcome
        return ticket.outcome

    def _wait(self, ticket: _Ticket[Item, Result]) -> None:
        """Wait until a group with the ticket has been run, or until its thread leads one."""
        while not ticket.is_ready.acquire(timeout=PATIENCE_SECONDS):
            with self._lock:
                if self._waiting and self._waiting[0] is ticket:
                    # Beside the group that takes long.
                    self._start_next()
                    return

    def _start_next(self) -> _Ticket[Item, Result] | None:
        """Let the first that waits lead all that wait. Returns it, or None if none waits."""
        self._running, self._waiting = self._waiting, []
        if not self._running:
            return None
        leader = self._running[0]
        leader.group = self._running
        return leader

    def _lead(self, group: list[_Ticket[Item, Result]]) -> None:
        try:
            outcomes = self._run_all([ticket.item for ticket in group])
        except BaseException as error:
            outcomes = [error] * len(group)
        with self._lock:
            # Another group has begun meanwhile if this one took long.
            following = self._start_next() if self._running is group else None
        if following:
            following.is_ready.release()
        for ticket, outcome in zip(group, outcomes, strict=True):
            ticket.outcome = outcome
            if ticket is not group[0]:
                ticket.is_ready.release()
