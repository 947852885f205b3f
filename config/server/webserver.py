"""`python -m config.server.webserver …`: granian, and the processes that it hands requests to.

All are forked from this process, which has imported Django for them, so that they share its memory.
"""

import argparse
import gc
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

# It prepares Django, which the others need.
from config.server import rsgi  # noqa: F401

# isort: split
from config.log_writer import writer
from config.server import work
from config.server.granian_server import run_granian
from config.server.handover import ApplicationProcess
from config.server.postgres import die_with_parent
from config.server.processes import (
    APPLICATION_NAME,
    HEAVY_NAME,
    MEMORY_SAMPLE_SECONDS,
    give_way,
    prepare,
)
from config.server.queue import Queue

logger = logging.getLogger(__name__)

# An application process that has died is replaced within so long.
RESTART_SECONDS = 1.0
SIGNALS = (signal.SIGCHLD, signal.SIGTERM)
APPLICATIONS = {
    APPLICATION_NAME: (work.API, work.PEOPLE),
    HEAVY_NAME: (work.MANY, work.ACTIONS),
}


class WebServer:
    """The parent of granian and of the application processes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._process = os.getpid()
        self._granian = 0
        # One core is left to tracking.
        self._wanted = {
            APPLICATION_NAME: options.workers,
            HEAVY_NAME: max(1, options.workers - 1),
        }
        # Process id -> name. Those that have been told to end are in the second one.
        self._applications: dict[int, str] = {}
        self._ending: set[int] = set()

    def run(self) -> int:
        """Start all processes, replace application processes, and return when granian has ended.

        Returns:
            The exit status of granian.
        """
        for work_classes in APPLICATIONS.values():
            for work_class in work_classes:
                work_class.handover = Queue()
        # Collections of garbage leave out all modules, and do not write into memory that is shared.
        gc.collect()
        gc.freeze()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._granian = self._fork(partial(run_granian, self._options))
        next_look = next_start = 0.0
        while (status := self._reap()) is None:
            if (now := time.monotonic()) >= next_look:
                next_look = now + MEMORY_SAMPLE_SECONDS
                self._end_large()
            # Those that die at once are not started again without a pause.
            if now >= next_start and self._start_applications():
                next_start = now + RESTART_SECONDS
            received = signal.sigtimedwait(SIGNALS, RESTART_SECONDS)
            if received and received.si_signo == signal.SIGTERM:
                os.kill(self._granian, signal.SIGTERM)
        # They have no requests left.
        for pid in (*self._applications, *self._ending):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return status

    def _start_applications(self) -> bool:
        """Start those that are missing. Return whether there were any."""
        missing = [
            name
            for name, wanted in self._wanted.items()
            for _ in range(wanted - [*self._applications.values()].count(name))
        ]
        for name in missing:
            try:
                self._applications[self._fork(partial(_run_application, name))] = name
            except OSError:
                logger.exception("A process could not be started.")
        return bool(missing)

    def _fork(self, run: Callable[[], None]) -> int:
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            die_with_parent(signal.SIGKILL, self._process)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            run()
            status = 0
        except SystemExit as exit_:
            status = exit_.code if isinstance(exit_.code, int) else 1
        except BaseException:
            logger.exception("A process of the web server failed.")
        finally:
            writer.close()
            os._exit(status)

    def _reap(self) -> int | None:
        """Note which processes have ended. Return granian's exit status if it has."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid == self._granian:
                    return os.waitstatus_to_exitcode(status)
                self._applications.pop(pid, None)
                self._ending.discard(pid)
        return None

    def _end_large(self) -> None:
        """Let application processes with too much memory end after their requests."""
        for pid in list(self._applications):
            if _resident_bytes(pid) > self._options.memory_mb * 1024 * 1024:
                del self._applications[pid]
                self._ending.add(pid)
                os.kill(pid, signal.SIGTERM)


def _run_application(name: str) -> None:
    prepare(name)
    give_way()
    ApplicationProcess(APPLICATIONS[name]).run()


def _resident_bytes(pid: int) -> int:
    """Return a process's resident memory in bytes, or 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def main() -> None:
    """Run granian and the application processes until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    for name in ("port", "workers", "connections", "memory-mb", "grace-seconds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    sys.exit(WebServer(parser.parse_args()).run())


if __name__ == "__main__":
    main()
