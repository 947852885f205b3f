"""Groups: what threads ask for at the same moment is run together."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from config.groups import Group
from tests.system.server import wait_until

HELD = "held"
Results = Sequence[str | BaseException]


class Recorder:
    """Runs items as `run` says, records them, and holds the item HELD until it is let go."""

    def __init__(self, run: Callable[[list[str]], Results]) -> None:
        self.groups: list[list[str]] = []
        self.is_held, self.let_go = threading.Event(), threading.Event()
        self._run = run
        self.group: Group[str, str] = Group(self._record)
        self.threads = ThreadPoolExecutor(8)

    def _record(self, items: list[str]) -> Results:
        self.groups.append(items)
        if HELD in items:
            self.is_held.set()
            assert self.let_go.wait(10)
        return self._run(items)

    def start(self, item: str) -> Future[str]:
        """Run an item in a thread, and return when it is running or waits."""

        def is_there() -> bool:
            waits = self.is_held.is_set() and item in [t.item for t in self.group._waiting]
            return waits or any(item in group for group in self.groups)

        future = self.threads.submit(self.group.run, item)
        wait_until(is_there)
        return future


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder(lambda items: [item.upper() for item in items])
    yield made
    made.let_go.set()
    made.threads.shutdown()


def test_an_item_that_comes_while_none_is_running_is_run_alone(recorder: Recorder) -> None:
    assert [recorder.group.run("a"), recorder.group.run("b")] == ["A", "B"]
    assert recorder.groups == [["a"], ["b"]]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.groups.PATIENCE_SECONDS", 10)


@pytest.mark.usefixtures("patient")
def test_items_that_come_while_one_is_running_are_run_together_in_their_order(
    recorder: Recorder,
) -> None:
    first, *others = [recorder.start(item) for item in (HELD, "a", "b", "c")]
    recorder.let_go.set()
    assert [future.result(10) for future in (first, *others)] == ["HELD", "A", "B", "C"]
    assert recorder.groups == [[HELD], ["a", "b", "c"]]


def test_items_wait_only_for_a_moment_for_a_group_that_takes_long(recorder: Recorder) -> None:
    held, *others = [recorder.start(item) for item in (HELD, "a", "b")]
    assert [future.result(10) for future in others] == ["A", "B"]
    # And the next one waits for none, while the first still runs.
    assert recorder.start("c").result(10) == "C"
    recorder.let_go.set()
    assert held.result(10) == "HELD"
    assert recorder.groups[0] == [HELD]


@pytest.mark.usefixtures("patient")
def test_an_item_has_its_own_error() -> None:
    wrong = ValueError("wrong")
    recorder = Recorder(lambda items: [wrong if item == "wrong" else item for item in items])
    held, bad, good = [recorder.start(item) for item in (HELD, "wrong", "good")]
    recorder.let_go.set()
    assert held.result(10) == HELD
    assert bad.exception(10) is wrong
    assert good.result(10) == "good"


@pytest.mark.usefixtures("patient")
def test_what_the_function_raises_is_the_error_of_all_its_items() -> None:
    def refuse(items: list[str]) -> Results:
        if HELD in items:
            return items
        raise OSError(", ".join(items))

    recorder = Recorder(refuse)
    held, *others = [recorder.start(item) for item in (HELD, "a", "b")]
    recorder.let_go.set()
    assert held.result(10) == HELD
    for future in others:
        with pytest.raises(OSError, match="a, b"):
            future.result(10)
    # And the group runs on.
    assert recorder.group.run(HELD) == HELD
