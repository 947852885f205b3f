"""`python -m config.server.webserver …`: granian, and the processes that it hands requests to.

granian's own way to run an RSGI application takes an event loop of asyncio in a thread of its own.
Here its threads call the application directly, because each change of threads costs a tracked event
a tenth of its processor time. docs/decisions/classes-of-work.md tells what was measured.
"""

import argparse
import gc
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from granian import Granian
from granian._granian import CallbackScheduler, RSGIWorker
from granian._signals import set_sync_signals
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels, logger
from granian.server.common import WORKERS_METHODS
from granian.server.mp import WorkerProcess

from config.server import work
from config.server.postgres import die_with_parent

# Also of an idle connection between requests. Proxies close theirs after 60 s and send until then.
HEADER_SECONDS = 65
# A thread that has had nothing to do for so long ends, with its connection to PostgreSQL.
IDLE_SECONDS = 600
MEMORY_SAMPLE_SECONDS = 10
# Between the death of an application process and its replacement, at most.
RESTART_SECONDS = 1.0
NICE = 10
SIGNALS = (signal.SIGCHLD, signal.SIGTERM)
WORKER_NAME, APPLICATION_NAME = "tallybook-web", "tallybook-app"
# A thread that computes keeps the interpreter for so long although others wait. A tracked event
# waits at each of its steps, and with Python's 5 ms no more than 25 a second would pass an export.
SWITCH_SECONDS = 0.0005
# A full collection of garbage stops all threads, so it comes seldom.
GARBAGE_THRESHOLDS = (5000, 10, 100)


class Scheduler(CallbackScheduler):
    """Lets granian begin a request by a call, where granian's own schedules a coroutine."""

    def __new__(cls, completions: "Completions", begin: Callable[[Any], None]) -> Self:
        """Create it without the parts of asyncio."""
        scheduler = super().__new__(cls, completions, begin, None, None, None)  # type: ignore[call-arg]
        scheduler._schedule_fn = begin  # type: ignore[attr-defined]
        return scheduler


class Completions:
    """Stands for an event loop where granian completes a future: it calls back at once."""

    def call_soon_threadsafe(
        self,
        callback: Callable[..., None],
        *args: Any,
        context: Any = None,  # noqa: ARG002
    ) -> None:
        """Call back."""
        callback(*args)

    call_soon = call_soon_threadsafe


@WorkerProcess.wrap_target  # type: ignore[untyped-decorator]
def run_worker(
    worker_id: int,
    application: Any,
    sock: Any,
    ipc: Any,
    _loop: Any,
    runtime_mode: Any,
    runtime_threads: int,
    runtime_blocking_threads: int,
    _blocking_threads: int,
    blocking_threads_idle_timeout: int,
    backpressure: int,
    _task_impl: Any,
    http_mode: Any,
    http1_settings: Any,
    http2_settings: Any,
    websockets: bool,
    static_path: Any,
    _log_access_fmt: Any,
    ssl_ctx: Any,
    _scope_opts: Any,
    metrics: Any,
) -> None:
    """Run a worker process until SIGTERM.

    The parameters are those of granian's own function (granian/server/mp.py, _spawn_rsgi_worker).
    """
    _name_process(WORKER_NAME)
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    stop = set_sync_signals()  # type: ignore[no-untyped-call]
    stopped = threading.Event()
    stop.add_cb(stopped.set)
    arguments: list[Any] = [
        *(worker_id, sock, ipc, runtime_threads, runtime_blocking_threads),
        *(work.THREADS, blocking_threads_idle_timeout, backpressure),
        *(http_mode, http1_settings, http2_settings, websockets, static_path, *ssl_ctx, metrics),
    ]
    worker = RSGIWorker(*arguments)
    completions = Completions()

    def begin(watcher: Any) -> None:
        application.begin(watcher.scope, watcher.proto)

    serve = getattr(worker, WORKERS_METHODS[runtime_mode][(sock[0] or sock[1]).is_uds()])
    serve(Scheduler(completions, begin), completions, stop)
    application.start()
    stopped.wait()


class WebServer:
    """granian and the application processes, all forked from this one.

    It imports Django once for all of them, so that they share its memory.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        # They prepare Django for requests, which tests that import this module do not want.
        from config.server import handover, rsgi

        self._options = options
        self._process = os.getpid()
        self._granian = 0
        # Those that have been told to end are in the second set.
        self._applications: set[int] = set()
        self._ending: set[int] = set()
        rsgi.application.queue = queue = handover.Queue()
        size = sum(work_class.size for work_class in work.HANDED_OVER)
        self._application = handover.ApplicationProcess(queue, size)

    def run(self) -> int:
        """Start all processes, replace application processes, and return when granian has ended.

        Returns:
            The exit status of granian.
        """
        # Collections of garbage leave out all modules, and do not write into memory that is shared.
        gc.collect()
        gc.freeze()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self._granian = self._fork(self._run_granian)
        next_look = 0.0
        while (status := self._reap()) is None:
            for _ in range(self._options.workers - len(self._applications)):
                self._applications.add(self._fork(self._run_application))
            if time.monotonic() > next_look:
                self._replace_large()
                next_look = time.monotonic() + MEMORY_SAMPLE_SECONDS
            received = signal.sigtimedwait(SIGNALS, RESTART_SECONDS)
            if received and received.si_signo == signal.SIGTERM:
                os.kill(self._granian, signal.SIGTERM)
        # They have no requests left.
        for pid in self._applications | self._ending:
            os.kill(pid, signal.SIGKILL)
        return status

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
            os._exit(status)

    def _reap(self) -> int | None:
        """Note which processes have ended. Return granian's exit status if it has."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid == self._granian:
                    return os.waitstatus_to_exitcode(status)
                self._applications.discard(pid)
                self._ending.discard(pid)
        return None

    def _replace_large(self) -> None:
        """Let application processes with too much memory end after their requests."""
        for pid in list(self._applications):
            if _resident_bytes(pid) > self._options.memory_mb * 1024 * 1024:
                self._applications.remove(pid)
                self._ending.add(pid)
                os.kill(pid, signal.SIGTERM)

    def _run_application(self) -> None:
        _name_process(APPLICATION_NAME)
        # All that it does can wait for tracking.
        os.nice(NICE)
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        self._application.run()

    def _run_granian(self) -> None:
        server = os.getpid()

        def in_worker() -> None:
            # A worker is forked with its server's signal handlers, which do nothing in the worker.
            # Until granian has set the worker's own, it would ignore SIGTERM, and the server would
            # wait for it until the grace period is over.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            # A worker whose server was killed would keep the port.
            die_with_parent(signal.SIGKILL, server)
            _let_sigterm(signal.SIG_UNBLOCK)

        os.register_at_fork(
            # A SIGTERM between the fork and the line above waits.
            before=lambda: _let_sigterm(signal.SIG_BLOCK),
            after_in_parent=lambda: _let_sigterm(signal.SIG_UNBLOCK),
            after_in_child=in_worker,
        )
        # It warns at each start of an option of the kernel, which docs/how-to/operate.md tells of.
        logger.addFilter(lambda record: "tcp_migrate_req" not in record.getMessage())
        Granian(
            "config.server.rsgi:application",
            self._options.host,
            self._options.port,
            interface=Interfaces.RSGI,
            workers=self._options.workers,
            blocking_threads_idle_timeout=IDLE_SECONDS,
            loop=Loops.asyncio,
            http=HTTPModes.http1,
            websockets=False,
            backpressure=self._options.connections,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
            log_level=LogLevels.warning,
            # Without it, one dead worker ends the server.
            respawn_failed_workers=True,
            workers_kill_timeout=self._options.grace_seconds,
            workers_max_rss=self._options.memory_mb,
            rss_sample_interval=MEMORY_SAMPLE_SECONDS,
        ).serve(spawn_target=run_worker)


def main() -> None:
    """Run granian and the application processes until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    for name in ("port", "workers", "connections", "memory-mb", "grace-seconds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    sys.exit(WebServer(parser.parse_args()).run())


def _let_sigterm(how: int) -> None:
    signal.pthread_sigmask(how, [signal.SIGTERM])


def _name_process(name: str) -> None:
    """Name this process, as `ps -o comm` shows it."""
    Path("/proc/self/comm").write_text(name)


def _resident_bytes(pid: int) -> int:
    """Return a process's resident memory in bytes, or 0 if it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    main()
