"""Run granian, whose threads run the application in place.

granian's own way to run an RSGI application takes an event loop of asyncio in a thread of its own.
Here its threads call the application directly, because each change of threads costs a tracked event
a tenth of its processor time. docs/decisions/classes-of-work.md tells what was measured.
"""

import argparse
import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Self

from granian import Granian
from granian._granian import CallbackScheduler, RSGIWorker
from granian._signals import set_sync_signals
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels, logger
from granian.server.common import WORKERS_METHODS
from granian.server.mp import WorkerProcess

from config.log_writer import writer
from config.server import work
from config.server.metrics import metrics
from config.server.postgres import die_with_parent
from config.server.processes import MEMORY_SAMPLE_SECONDS, WORKER_NAME, prepare

# Also of an idle connection between requests. Proxies close theirs after 60 s and send until then.
HEADER_SECONDS = 65
# A thread that has had nothing to do for so long ends, with its connection to PostgreSQL.
IDLE_SECONDS = 600


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
    prepare(WORKER_NAME)
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
    writer.close()


def run_granian(options: argparse.Namespace) -> None:
    """Run granian and its workers until SIGTERM.

    Args:
        options: of config.server.webserver.
    """
    server = os.getpid()

    def in_worker() -> None:
        # A worker is forked with its server's signal handlers, which do nothing in the worker.
        # Until granian has set the worker's own, it would ignore SIGTERM, and the server would
        # wait for it until the grace period is over.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # A worker whose server was killed would keep the port.
        die_with_parent(signal.SIGKILL, server)
        metrics.own_table()
        _let_sigterm(signal.SIG_UNBLOCK)

    os.register_at_fork(before=metrics.choose_table)
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
        options.host,
        options.port,
        interface=Interfaces.RSGI,
        workers=options.workers,
        blocking_threads_idle_timeout=IDLE_SECONDS,
        loop=Loops.asyncio,
        http=HTTPModes.http1,
        websockets=False,
        backpressure=options.connections,
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_SECONDS * 1000),
        log_level=LogLevels.warning,
        # Without it, one dead worker ends the server.
        respawn_failed_workers=True,
        workers_kill_timeout=options.grace_seconds,
        workers_max_rss=options.memory_mb,
        rss_sample_interval=MEMORY_SAMPLE_SECONDS,
    ).serve(spawn_target=run_worker)


def _let_sigterm(how: int) -> None:
    signal.pthread_sigmask(how, [signal.SIGTERM])
