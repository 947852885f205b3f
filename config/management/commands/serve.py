"""`manage.py serve`: run the database, the migrations, the first user and the web server."""

import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import OperationalError, connections
from django.utils.module_loading import import_string
from typing_extensions import override

from config.commands import LeanCommand
from config.server.bootstrap import DEMO_EMAIL, FirstLogin, bootstrap
from config.server.heartbeat import PIPE, Watch
from config.server.postgres import EmbeddedPostgres, PostgresError, die_with_parent

# Not through a proxy of HTTP_PROXY, which Docker may set in each container.
DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
GRACE_SECONDS = 25
READY_SECONDS = 60
MAX_PAUSE_SECONDS = 5.0
TICK_SECONDS = 0.1
# Of one worker. An idle connection takes a few KiB.
MAX_CONNECTIONS = 2048
# Of libraries, database connections and temporary files.
OTHER_DESCRIPTORS = 64
# The command `hourly` runs a minute after the start, and then every hour.
SETTLED_SECONDS = 60.0
HOUR_SECONDS = 3600.0
MAX_JUMP_SECONDS = HOUR_SECONDS / 2


class Command(LeanCommand):
    """Run Tallybook until SIGINT or SIGTERM."""

    help = "Run Tallybook: its PostgreSQL (unless DATABASE_URL is set) and its web server."
    postgres: EmbeddedPostgres | None = None
    server: subprocess.Popen[bytes] | None = None
    # By the names of settings.WORKER_COMMANDS.
    workers: dict[str, subprocess.Popen[bytes]]
    hourly: subprocess.Popen[bytes] | None = None
    stopping = False
    secret_key = ""

    @override
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.clock = _clock()
        self.watch = Watch()
        self.workers = {}

    @override
    def add_arguments(self, parser: ArgumentParser) -> None:
        # For make, whose death by SIGKILL serve would not notice otherwise.
        parser.add_argument(
            "--stop-with-parent",
            action="store_true",
            help="stop when the process that started this one dies (make run does)",
        )

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup, SIGHUP stays ignored.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._stop)
        if options["stop_with_parent"]:
            die_with_parent(signal.SIGTERM, os.getppid())
        try:
            self._run()
        except PostgresError as error:
            raise CommandError(str(error)) from None
        except OperationalError as error:
            raise CommandError(f"The database does not answer: {error}".strip()) from None
        finally:
            self._stop_children()
            if self.postgres:
                self.postgres.stop()

    def _run(self) -> None:
        url = f"http://{_host_in_url(settings.HOST)}:{settings.PORT}"
        if settings.EMBEDDED_POSTGRES:
            self.postgres = EmbeddedPostgres(settings.DATA_DIR)
            self.postgres.lock(f"Tallybook runs at {url} as process {os.getpid()}.")
        _check_port()
        if self.postgres:
            self.postgres.start()
        first_login = bootstrap(self._print_first_login)
        self.secret_key = import_string(settings.SHARED_KEY)()
        connections.close_all()
        self._start_server()
        self._wait_until_it_answers(url)
        for name in settings.WORKER_COMMANDS:
            self._start_worker(name)
        if not self.stopping:
            self._print_welcome(url + settings.FORCE_SCRIPT_NAME, first_login)
        self._keep_running()

    def _start_server(self) -> None:
        self.server = _child(
            [
                *("-m", "config.server.webserver"),
                *("--host", settings.HOST, "--port", str(settings.PORT)),
                *("--workers", str(settings.WORKERS)),
                *("--connections", str(max_connections())),
                *("--memory-mb", str(settings.WORKER_MEMORY_MB)),
                *("--grace-seconds", str(GRACE_SECONDS)),
            ],
            environment={"SECRET_KEY": self.secret_key},
            pipe=self.watch.writer,
        )

    def _start_worker(self, name: str) -> None:
        self.workers[name] = _start_command(name)

    def _wait_until_it_answers(self, url: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self.stopping:
            if self.server is None or self.server.poll() is not None:
                raise CommandError("The web server ended while starting.")
            if time.monotonic() > deadline:
                raise CommandError("The web server did not answer.")
            try:
                with DIRECTLY.open(f"{url}/healthz", timeout=2):
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.05)

    def _keep_running(self) -> None:
        """Restart PostgreSQL and the web server when they die, with growing pauses."""
        pause = 0.0
        healthy_since = time.monotonic()
        next_hourly = healthy_since + SETTLED_SECONDS
        while not self.stopping:
            is_running = self.hourly and self.hourly.poll() is None
            if time.monotonic() > next_hourly and not is_running:
                self.start_hourly()
                next_hourly += HOUR_SECONDS
            self._kill_silent_workers()
            if self.postgres:
                self.postgres.bound_log()
            dead: list[tuple[str, Callable[[], object]]] = []
            if self.postgres and self.postgres.process and self.postgres.process.poll() is not None:
                dead.append(("PostgreSQL", self.postgres.spawn))
            if self.server and self.server.poll() is not None:
                dead.append(("The web server", self._start_server))
            dead += [
                (f"The command {name}", partial(self._start_worker, name))
                for name, worker in self.workers.items()
                if worker.poll() is not None
            ]
            if not dead:
                if time.monotonic() - healthy_since > MAX_PAUSE_SECONDS:
                    pause = 0.0
                time.sleep(TICK_SECONDS)
                continue
            time.sleep(pause)
            for name, start in dead:
                if not self.stopping:
                    self._report(f"{name} died and is started again.")
                    start()
            pause = min(MAX_PAUSE_SECONDS, pause * 2 + TICK_SECONDS)
            healthy_since = time.monotonic()

    def start_hourly(self) -> None:
        """Start the command `hourly`, an hour later if the clock jumped.

        It deletes what is old, and by a clock that is wrong for a moment everything may be.
        """
        clock = _clock()
        jump, self.clock = clock - self.clock, clock
        if abs(jump) < MAX_JUMP_SECONDS:
            self.hourly = _start_command("hourly")
        else:
            hours = f"{jump / HOUR_SECONDS:.1f}"
            self._report(f"The clock jumped by {hours} hours. What is old is deleted later.")

    def _kill_silent_workers(self) -> None:
        """Kill workers that do not answer. The web server starts others in their place."""
        if self.server is None:
            return
        for pid in self.watch.silent_workers(self.server.pid):
            self._report(f"Worker {pid} does not answer and is replaced.")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _report(self, sentence: str) -> None:
        # Without a reader of the log, serve goes on.
        with suppress(OSError):
            self.stderr.write(sentence)

    def _stop(self, _signal_number: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _stop_children(self) -> None:
        """Let requests and the step of a job end, for GRACE_SECONDS and some more.

        A backup is stopped too, because the end of PostgreSQL would be reported as its failure.
        """
        children = (self.server, *self.workers.values(), self.hourly)
        running = [each for each in children if each and each.poll() is None]
        for child in running:
            child.terminate()
        deadline = time.monotonic() + GRACE_SECONDS + 5
        while any(child.poll() is None for child in running):
            # Requests do not end in processes that are stopped.
            self._kill_silent_workers()
            if time.monotonic() > deadline:
                for child in running:
                    child.kill()
            time.sleep(TICK_SECONDS)

    def _print_first_login(self, login: FirstLogin) -> None:
        say = self.stdout.write
        say("The first start. These passwords are not shown again:")
        say(f"  login: {login.username}, password {login.password}")
        say(f"  application password of {login.username}: {login.application_password}")
        self.stdout.flush()

    def _print_welcome(self, url: str, first_login: FirstLogin | None) -> None:
        say = self.stdout.write
        say(f"Tallybook answers at {url}")
        say(f"  admin: {url}/admin/")
        say(f"  API:   {url}/wp-json/fluent-crm/v2/ (described at {url}/api/docs/)")
        if first_login:
            say("Track an event:")
            secret = first_login.application_password.replace(" ", "")
            credential = f"{first_login.username}:{secret}"
        else:
            if import_string(settings.FIRST_LOGIN_IS_UNUSED)():
                say("The first login was never used. If you do not have its password:")
                say("  .venv/bin/python manage.py changepassword admin")
            say("Track an event. To create a password: .venv/bin/python manage.py \\")
            say("  create_application_password admin --name NAME --scope track")
            credential = "admin:APPLICATION_PASSWORD"
        event = f'{{"event_key":"checkout","title":"Order placed","email":"{DEMO_EMAIL}"}}'
        say(
            f"  curl -u {credential} -H 'Content-Type: application/json' "
            f"-d {shlex.quote(event)} {url}/subscribers/track-event"
        )
        self.stdout.flush()


def _clock() -> float:
    """Return by how many seconds the clock is ahead of one that never jumps."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def max_connections() -> int:
    """Return how many connections a worker accepts at a time; the others wait.

    A worker without a file descriptor for the next connection would try again without a pause.
    """
    # granian raises the soft limit to the hard one.
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, limit - OTHER_DESCRIPTORS))


def _start_command(name: str) -> subprocess.Popen[bytes]:
    """Run a management command in a process of its own, so that this one goes on watching."""
    return _child(["manage.py", name], stdout=subprocess.DEVNULL)


def _child(
    arguments: list[str],
    stdout: int | None = None,
    environment: Mapping[str, str] | None = None,
    pipe: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a Python process that dies with this one.

    Args:
        arguments: of the interpreter.
        stdout: as of subprocess.Popen.
        environment: further variables.
        pipe: the descriptor of a pipe that the process and its children write into.
    """
    further = dict(environment or {})
    if pipe is not None:
        further[PIPE] = str(pipe)
    parent = os.getpid()
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=settings.BASE_DIR,
        env=os.environ | further,
        pass_fds=() if pipe is None else (pipe,),
        stdout=stdout,
        # A session of its own, so that Ctrl-C reaches this process only, which stops its children
        # in order.
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(signal.SIGTERM, parent),
    )


def _host_in_url(host: str) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _check_port() -> None:
    """Fail early, with a clear message, if the port is in use.

    Raises:
        CommandError: the port cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.HOST, settings.PORT))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CommandError(
                f"Cannot listen on {settings.HOST}:{settings.PORT}: {reason}. "
                "Set HOST or PORT to another one."
            ) from None
