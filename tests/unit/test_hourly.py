"""`serve` runs its hourly command unless the clock jumped."""

import signal
import subprocess
import time
from io import StringIO

import pytest

from config.management.commands import serve

HOUR = 3600.0


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the commands that were started."""
    names: list[str] = []
    monkeypatch.setattr(serve, "_start_command", names.append)
    return names


@pytest.fixture
def stderr() -> StringIO:
    """What `serve` reports."""
    return StringIO()


@pytest.fixture
def command(stderr: StringIO) -> serve.Command:
    """`serve`, which reads the clock as it is made."""
    return serve.Command(stderr=stderr)


def jump(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time()
    monkeypatch.setattr("config.management.commands.serve.time.time", lambda: now + seconds)


def test_the_hourly_command_is_started(command: serve.Command, started: list[str]) -> None:
    command.start_hourly()
    assert started == ["hourly"]


@pytest.mark.parametrize("hours", [30, -30, 24 * 365])
def test_nothing_is_pruned_by_a_clock_that_jumped(
    command: serve.Command,
    stderr: StringIO,
    started: list[str],
    monkeypatch: pytest.MonkeyPatch,
    hours: float,
) -> None:
    jump(monkeypatch, hours * HOUR)
    command.start_hourly()
    assert started == []
    assert f"The clock jumped by {hours}.0 hours" in stderr.getvalue()


def test_a_clock_that_goes_on_from_there_is_believed_an_hour_later(
    command: serve.Command, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jump(monkeypatch, 30 * HOUR)
    command.start_hourly()
    command.start_hourly()
    assert started == ["hourly"]


def test_a_clock_that_jumped_for_a_moment_is_believed_two_hours_later(
    command: serve.Command, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as moment:
        jump(moment, 30 * HOUR)
        command.start_hourly()
    command.start_hourly()
    assert started == []
    command.start_hourly()
    assert started == ["hourly"]


def test_a_command_that_runs_is_stopped_before_postgresql(command: serve.Command) -> None:
    running = subprocess.Popen(["sleep", "600"])
    command.hourly = running
    command._stop_children()
    code = running.poll()
    running.kill()
    running.wait()
    assert code == -signal.SIGTERM
