"""Run together what several threads ask for at the same moment, such as one statement for all.

docs/decisions/group-commit.md tells why.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A group that runs for longer, because of a lock or a dead database, does not hold up the others.
PATIENCE_SECONDS = 0.05
# So long a group waits for those that are expected. A request takes less to come to it.
GATHER_SECONDS = 0.002

# Of all groups, because each is held for some microseconds only.
_lock = threading.Lock()
_of_thread = threading.local()
_members: set["_Member"] = set()


class _Member:
    """A request that is expected at each group once: its groups until now."""

    __slots__ = ("groups",)

    def __init__(self) -> None:
        self.groups: set[Group[Any, Any]] = set()


@contextmanager
def expected() -> Iterator[None]:
    """Let groups wait for this thread as long as it has not come to them, for a moment."""
    member = _of_thread.member = _Member()
    with _lock:
        _members.add(member)
    try:
        yield
    finally:
        _of_thread.member = None
        with _lock:
            _members.remove(member)
            for group in member.groups:
                group.left -= 1


class _Ticket(Generic[Item, Result]):
    """What a thread asks for, until it has its result or its thread leads a group."""

    __slots__ = ("is_ready", "item", "leads", "member", "outcome")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.outcome: Result | BaseException
        self.leads = False
        self.member: _Member | None = getattr(_of_thread, "member", None)
        # Locked as long as its thread has to wait.
        self.is_ready = threading.Lock()
        self.is_ready.acquire()


class Group(Generic[Item, Result]):
    """Run the items of several threads together.

    An item is run at once and alone if none is running and no other thread is expected. Those that
    come meanwhile are run together afterwards, by the thread of the first. So a group grows with
    the load, and without load no item waits.
    """

    def __init__(self, run_all: Callable[[list[Item]], Sequence[Result | BaseException]]) -> None:
        """Prepare to run items.

        Args:
            run_all: runs items and returns a result or an error for each, in their order. What it
                raises is the error of all.
        """
        self._run_all = run_all
        self._waiting: list[_Ticket[Item, Result]] = []
        # It gathers or runs a group, and is followed by the first that waits.
        self._leader: _Ticket[Item, Result] | None = None
        self._is_gathering = False
        # Locked as long as others are expected.
        self._is_whole = threading.Lock()
        # How many expected threads have been here.
        self.left = 0

    def run(self, item: Item) -> Result:
        """Run an item together with those of other threads, and return its result.

        Raises:
            BaseException: the error of this item.
        """
        ticket: _Ticket[Item, Result] = _Ticket(item)
        with _lock:
            self._waiting.append(ticket)
            if self._leader is None:
                self._lead_by(ticket)
            elif self._is_gathering and self._is_complete():
                self._is_gathering = False
                self._is_whole.release()
        if not ticket.leads:
            self._wait(ticket)
        if ticket.leads:
            self._lead(ticket)
        if isinstance(ticket.outcome, BaseException):
            raise ticket.outcome
        return ticket.outcome

    def _is_complete(self) -> bool:
        return len(self._waiting) >= len(_members) - self.left

    def _lead_by(self, ticket: _Ticket[Item, Result]) -> None:
        self._leader = ticket
        ticket.leads = True
        self._is_gathering = not self._is_complete()
        if self._is_gathering:
            self._is_whole = threading.Lock()
            self._is_whole.acquire()

    def _wait(self, ticket: _Ticket[Item, Result]) -> None:
        """Wait until a group with the ticket has been run, or until its thread leads one."""
        while not ticket.is_ready.acquire(timeout=PATIENCE_SECONDS):
            with _lock:
                if self._waiting and self._waiting[0] is ticket and not self._is_gathering:
                    # Beside the group that takes long.
                    self._lead_by(ticket)
                    return

    def _lead(self, ticket: _Ticket[Item, Result]) -> None:
        if self._is_gathering:
            self._is_whole.acquire(timeout=GATHER_SECONDS)
        with _lock:
            self._is_gathering = False
            group, self._waiting = self._waiting, []
        try:
            outcomes = self._run_all([each.item for each in group])
        except BaseException as error:
            outcomes = [error] * len(group)
        with _lock:
            for each in group:
                if each.member and self not in each.member.groups:
                    each.member.groups.add(self)
                    self.left += 1
            following = self._waiting[0] if self._waiting else None
            # Another one leads meanwhile if this group took long.
            if self._leader is not ticket:
                following = None
            elif following:
                self._lead_by(following)
            else:
                self._leader = None
        if following:
            following.is_ready.release()
        for each, outcome in zip(group, outcomes, strict=True):
            each.outcome = outcome
            if each is not ticket:
                each.is_ready.release()
