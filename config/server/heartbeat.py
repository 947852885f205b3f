"""Let each web worker tell `serve` that it answers, over a pipe that all of them inherit.

Connections from outside cannot be aimed at one worker, because the kernel deals them out. A worker
that is stopped, or whose threads wait for each other, says nothing. A worker that is busy uses the
processor, and is left alone.
"""

import os
import struct
import time
from contextlib import suppress
from pathlib import Path

# The environment variable by which workers know the pipe.
PIPE = "TALLYBOOK_HEARTBEAT_PIPE"
BEAT = struct.Struct("=i")  # the worker's process id
BEAT_SECONDS = 1.0
# With the second until the check and the new worker's start, a worker is replaced within ten.
SILENT_SECONDS = 5.0
# What a worker uses while it waits is less, in a second.
IDLE_CPU_SECOND = 0.015

_next_beat = 0.0


def beat(now: float) -> None:
    """Tell `serve` that this worker answers, if `serve` has started it.

    Args:
        now: in seconds of time.monotonic(). It tells every BEAT_SECONDS.
    """
    global _next_beat
    if now < _next_beat:
        return
    _next_beat = now + BEAT_SECONDS
    if pipe := os.environ.get(PIPE):
        # Full, if serve is stopped.
        with suppress(BlockingIOError):
            os.write(int(pipe), BEAT.pack(os.getpid()))


class Watch:
    """What `serve` knows of each worker: when it last beat, or used the processor."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(self.writer, False)
        self._checked_at = time.monotonic()
        self._alive_at: dict[int, float] = {}
        self._cpu: dict[int, float] = {}

    def silent_workers(self, server: int) -> list[int]:
        """Return the process ids of workers that are silent and idle.

        Args:
            server: the process id of the web server, of which they have to be descendants.
        """
        now = time.monotonic()
        paused = now - self._checked_at
        if paused < BEAT_SECONDS:
            return []
        self._checked_at = now
        for pid in self._beats():
            self._alive_at[pid] = now
        silent = []
        for pid, alive_at in list(self._alive_at.items()):
            parent, cpu = _parent_and_cpu(pid)
            is_busy = cpu - self._cpu.get(pid, 0.0) > IDLE_CPU_SECOND * paused
            self._cpu[pid] = cpu
            if server not in (parent, _parent_and_cpu(parent)[0]):
                self._forget(pid)
            # After a pause of this process, such as one of the whole machine, all begin again.
            elif is_busy or paused > SILENT_SECONDS:
                self._alive_at[pid] = now
            elif now - alive_at > SILENT_SECONDS:
                silent.append(pid)
                self._forget(pid)
        return silent

    def _forget(self, pid: int) -> None:
        del self._alive_at[pid], self._cpu[pid]

    def _beats(self) -> set[int]:
        try:
            read = os.read(self.reader, 1 << 16)
        except BlockingIOError:
            return set()
        return {pid for (pid,) in BEAT.iter_unpack(read)}


def _parent_and_cpu(pid: int) -> tuple[int, float]:
    """Return a process's parent and the seconds of processor that it used; 0 if it has ended."""
    try:
        # After the command's name, which may have spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0, 0.0
    return int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
