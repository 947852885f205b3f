"""A real Tallybook for tests: `manage.py serve` as a child process, and an HTTP client for it."""

import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

ROOT = Path(__file__).parents[2]
API = "/wp-json/fluent-crm/v2"
START_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def basic(username: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{secret}".encode()).decode()


def wait_until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait until the condition holds, and fail when `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"The condition did not hold within {seconds} s."
        time.sleep(0.02)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A client with one keep-alive connection, which is opened again after an error."""

    def __init__(self, port: int, auth: str | None, timeout: float = 30) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.auth = auth

    def __call__(
        self,
        method: str,
        path: str,
        json_body: Any = None,
        form: dict[str, str] | list[tuple[str, str]] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        auth: str | None = "",
    ) -> Answer:
        sent = dict(headers or {})
        authorization = self.auth if auth == "" else auth
        if authorization:
            sent.setdefault("Authorization", authorization)
        if json_body is not None:
            body = json.dumps(json_body).encode()
            sent.setdefault("Content-Type", "application/json")
        elif form is not None:
            body = urlencode(form).encode()
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        try:
            self.connection.request(method, path, body, sent)
            response = self.connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException):
            self.connection.close()
            raise

    def track(self, **fields: Any) -> Answer:
        return self("POST", f"{API}/subscribers/track-event", fields)

    def contact(self, email: str, **fields: Any) -> int:
        answer = self(
            "POST", f"{API}/subscribers", {"email": email, "status": "subscribed"} | fields
        )
        assert answer.status == 200, answer.body
        contact_id: int = answer.json()["contact"]["id"]
        return contact_id

    def close(self) -> None:
        self.connection.close()


class Server:
    """`manage.py serve` with a port, a data folder and an environment of its own."""

    def __init__(self, folder: Path, root: Path = ROOT, **environment: str) -> None:
        self.root = root
        self.port = free_port()
        self.log = folder / "serve.log"
        self.data_dir = folder / "data"
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "DJANGO_SETTINGS_MODULE")
        }
        self.environment = kept | {
            "PORT": str(self.port),
            "TALLYBOOK_DATA_DIR": str(self.data_dir),
            # The statements and locks of a backup would disturb tests that count or race.
            "TALLYBOOK_BACKUPS": "0",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.auth: str | None = None
        self.serving: Sequence[str] = (sys.executable, "manage.py", "serve")

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for it."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.serving,
                cwd=self.root,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def start(self) -> Self:
        """Start the process and wait until the server answers."""
        self.spawn()
        try:
            wait_until(lambda: "curl " in self.output() or self.has_ended(), START_SECONDS)
            assert not self.has_ended(), self.output()
        except AssertionError:
            self.stop()
            raise
        if "application password of admin" in self.output():
            self.auth = basic("admin", self.password())
        return self

    def copy(self, folder: Path, **environment: str) -> "Server":
        """Return a server with a copy of this stopped one's store. It is not started."""
        copied = Server(folder, self.root, **environment)
        # The copy keeps its owner, because started as root PostgreSQL may run as another user.
        subprocess.run(["cp", "-a", self.data_dir, copied.data_dir], check=True)
        copied.auth = self.auth
        return copied

    def admin_password(self) -> str:
        """Return the password of the superuser "admin", which the first start prints."""
        printed = re.search(r"login: +admin, password (\S+)", self.output())
        assert printed, self.output()
        return printed[1]

    def printed_port(self) -> int:
        """Return the port of the URL that a start prints."""
        printed = re.search(r"Tallybook answers at http://127\.0\.0\.1:(\d+)", self.output())
        assert printed, self.output()
        return int(printed[1])

    def password(self) -> str:
        """Return the application password of "admin", which the first start prints."""
        printed = re.search(r"application password of admin: (.+)\n", self.output())
        assert printed, self.output()
        return printed[1]

    def output(self) -> str:
        """Return everything that the process has printed."""
        return self.log.read_text()

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)

    def ensure_stopped(self) -> None:
        """Stop the process, unless it has ended or was never started."""
        if not self.has_ended():
            self.stop()

    def client(self, auth: str | None = "", timeout: float = 30) -> Client:
        return Client(self.port, self.auth if auth == "" else auth, timeout)

    def manage(self, *arguments: str) -> str:
        """Run a management command that has to succeed and return its standard output."""
        process = self.command(*arguments)
        assert process.returncode == 0, process.stderr
        return process.stdout

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command on this server's database."""
        return manage(arguments, self.environment)


def manage(
    arguments: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a management command as a process."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
