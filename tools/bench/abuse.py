"""`python -m tools.bench.abuse`: how fast events are tracked while others misuse the server.

32 clients track at half of the full rate, first alone and then beside the abuse of each row. The
latency of an event counts from the moment when it was planned, so that an event that waits for the
one before it is late as well. An event that is not tracked counts as endless.

`--root CHECKOUT` measures another checkout's server with the same load, in turns with this one's.
Each row starts its servers again, on a store of 100,000 contacts with 10 events each.
"""

import argparse
import json
import math
import multiprocessing
import os
import random
import select
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

import psycopg

from config.server.postgres import USER, EmbeddedPostgres
from config.server.processes import give_way
from tests.system.admin_session import AdminSession, log_in
from tests.system.processes import wait_for_workers
from tests.system.server import API, ROOT, Server
from tools.bench.calls import SEED_CONTACTS, SEED_EVENTS, figure, wrk
from tools.bench.filters import condition

TRACKERS = 32
CONTACTS = 100_000
# An event that is still unanswered so long after the last was planned is not tracked.
PATIENCE = 10.0
# From the start of the abuse until events are measured.
LEAD_SECONDS = 3.0
HEALTH_EVERY = 0.25
FROZEN_SECONDS, PROBE_EVERY, PROBE_TIMEOUT = 25.0, 0.1, 2.0
SEED = f"""
{SEED_CONTACTS.format(contacts=CONTACTS)}
INSERT INTO crm_tag (title, slug, description, created_at, updated_at)
SELECT 'tag ' || n, 'tag-' || n, '', now(), now() FROM generate_series(1, 400) n;
INSERT INTO crm_subscriber_tags (subscriber_id, tag_id)
SELECT s.id, t.id FROM crm_subscriber s, crm_tag t WHERE t.id % 100 = s.id % 100 AND t.id < 300;
{SEED_EVENTS}
VACUUM ANALYZE
"""
TITLES = [[condition("title", "contains", f"no title has this: {number}")] for number in range(50)]
FILTER = urlencode({"filter_type": "advanced", "advanced_filters": json.dumps(TITLES)})
SEGMENTS, SEGMENTED = 300, "contact1@example.com"
CSRF = "tallybook_csrftoken"
STATIC = "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js"


class Target:
    """A checkout's server, which is started for each row on the same store."""

    def __init__(self, root: Path, folder: Path) -> None:
        """Create and fill the store."""
        folder.mkdir()
        self.name = root.name
        self.server = Server(folder, root=root, TALLYBOOK_WORKERS="2").start()
        try:
            self.session = log_in(self.server)
            self.segmented = self._fill()
            said = wrk(self.server, "track", TRACKERS)
            self.full_rate = figure(r"Requests/sec:\s+([\d.]+)", said)
        finally:
            self.server.stop()

    def _fill(self) -> int:
        socket_dir = str(EmbeddedPostgres(self.server.data_dir).socket_dir)
        with psycopg.connect(
            host=socket_dir, user=USER, dbname="tallybook", autocommit=True
        ) as store:
            for statement in SEED.split(";"):
                store.execute(statement)
            row = store.execute(
                "SELECT id FROM crm_subscriber WHERE email = %s", [SEGMENTED]
            ).fetchone()
        client = self.server.client()
        for number in range(SEGMENTS):
            fields = {"title": f"segment {number}", "filters": TITLES}
            assert client("POST", f"{API}/segments", fields).status == 200
        client.close()
        assert row
        return int(row[0])

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
        """Return the bytes of a request with the application password of "admin"."""
        return raw_request(method, path, body, Authorization=str(self.server.auth), **headers)

    def export(self) -> bytes:
        """Return the bytes of a request for all contacts as CSV."""
        fields = {"action": "export_csv", "select_across": "1", "_selected_action": self.segmented}
        return form(self.session, "/admin/crm/subscriber/", fields)


def raw_request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of a request."""
    lines = {"Host": "localhost", **headers}
    if body:
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def form(session: AdminSession, path: str, fields: dict[str, Any]) -> bytes:
    """Return the bytes of a form that the browser of an admin user submits."""
    body = urlencode(fields | {"csrfmiddlewaretoken": session.cookies[CSRF]}).encode()
    return raw_request(
        "POST",
        path,
        body,
        Cookie="; ".join(f"{name}={value}" for name, value in session.cookies.items()),
        Content_Type="application/x-www-form-urlencoded",
    )


def connect(port: int, timeout: float = 60, buffer: int = 0) -> socket.socket:
    """Connect to the server, with a buffer of so many bytes for what it sends."""
    connection = socket.socket()
    connection.settimeout(timeout)
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.connect(("127.0.0.1", port))
    return connection


def exchange(connection: socket.socket, request: bytes) -> int:
    """Send a request and read its response to the end, at the least cost. Return the status.

    Raises:
        OSError: the connection broke off, or the response took too long.
    """
    connection.sendall(request)
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0:
        if not (piece := connection.recv(65536)):
            raise ConnectionError
        answer += piece
    head = answer[:end].lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    left = length - (len(answer) - end - 4)
    while left > 0:
        if not (piece := connection.recv(1 << 20)):
            raise ConnectionError
        left -= len(piece)
    return int(head[9:12])


# The abuse: a client that goes on until its process ends, and counts what it gets.
Abuser = Callable[[Target, int, "Counter[str]"], None]


def again_and_again(target: Target, outcomes: "Counter[str]", requests: Iterator[bytes]) -> None:
    """Send requests one after another, on the same connection while it lasts."""
    while True:
        with suppress(OSError), connect(target.server.port) as connection:
            for request in requests:
                outcomes[str(exchange(connection, request))] += 1
        outcomes["dropped"] += 1
        time.sleep(0.1)


def repeating(request: Callable[[Target], bytes]) -> Abuser:
    """Return a client that sends the same request again and again."""

    def client(target: Target, _: int, outcomes: "Counter[str]") -> None:
        sent = request(target)
        again_and_again(target, outcomes, (sent for _ in count()))

    return client


def send_slowly(target: Target, _: int, outcomes: "Counter[str]") -> None:
    """Send a body of 1,000 bytes, one in half a second."""
    head = target.request(
        "POST", "/subscribers/track-event", Content_Type="application/json", Content_Length="1000"
    )
    while True:
        with suppress(OSError), connect(target.server.port) as connection:
            connection.sendall(head + b"{")
            while True:
                time.sleep(0.5)
                connection.sendall(b" ")
        outcomes["dropped"] += 1


def not_reading(request: Callable[[Target], bytes]) -> Abuser:
    """Return a client that sends a request and reads nothing of the response."""

    def client(target: Target, _: int, outcomes: "Counter[str]") -> None:
        sent = request(target)
        while True:
            with suppress(OSError), connect(target.server.port, buffer=2048) as connection:
                connection.sendall(sent)
                ends = select.poll()
                ends.register(connection, 0)
                while not ends.poll(1000):
                    pass
            outcomes["dropped"] += 1

    return client


def guess(target: Target, index: int, outcomes: "Counter[str]") -> None:
    """Log in again and again, each time with another name."""
    session = AdminSession(target.server)
    session.cookies[CSRF] = target.session.cookies[CSRF]
    again_and_again(
        target,
        outcomes,
        (
            form(session, "/admin/login/", {"username": f"u{index}-{number}", "password": "x"})
            for number in count()
        ),
    )


def bulk(tags: int) -> Abuser:
    """Return a client that writes contacts of its own, with so many tags each."""
    titles = [f"tag {number}" for number in range(1, tags + 1)]

    def client(target: Target, index: int, outcomes: "Counter[str]") -> None:
        contacts = [
            {"email": f"contact{index * 1000 + number}@example.com", "tags": titles}
            for number in range(1, 1001)
        ]
        body = json.dumps({"contacts": contacts, "__force_update": "yes"}).encode()
        sent = target.request(
            "POST", f"{API}/subscribers/bulk-add-update", body, Content_Type="application/json"
        )
        again_and_again(target, outcomes, (sent for _ in count()))

    return client


@dataclass(frozen=True)
class Row:
    """A row of the table: who misuses the server, and how much slower tracking may become."""

    what: str
    clients: int
    client: Abuser
    most: float


ROWS = {
    "senders": Row("send slowly", 64, send_slowly, 2),
    "files": Row(
        "do not read a static file", 64, not_reading(lambda _: 3 * raw_request("GET", STATIC)), 2
    ),
    "downloads": Row("do not read an export", 64, not_reading(Target.export), 2),
    "logins": Row("guess logins", 64, guess, 2),
    "schema": Row(
        "read /api/schema/", 64, repeating(lambda _: raw_request("GET", "/api/schema/")), 2
    ),
    "exports": Row("export 100,000 contacts", 8, repeating(Target.export), 3),
    "filters": Row(
        "filter by 50 titles",
        8,
        repeating(lambda target: target.request("GET", f"{API}/subscribers?{FILTER}")),
        3,
    ),
    "segments": Row(
        "read the segments of a contact",
        8,
        repeating(
            lambda target: target.request("GET", f"{API}/subscribers/{target.segmented}/segments")
        ),
        3,
    ),
    "bulks": Row("write 1,000 contacts with 400 tags", 8, bulk(400), 3),
    "accepted-bulks": Row("write 1,000 contacts with 100 tags", 8, bulk(100), 3),
}


def abuse(row: Row, target: Target, seconds: float, result: Any) -> None:
    """Misuse the server for some seconds, as a process that leaves the processor to others.

    Other clients than these would not take it from the server at all.
    """
    give_way()
    outcomes: Counter[str] = Counter()
    for index in range(row.clients):
        arguments = (target, index, outcomes)
        threading.Thread(target=row.client, args=arguments, daemon=True).start()
    time.sleep(seconds)
    result.send(dict(outcomes))
    # Without waiting for the threads.
    os.kill(os.getpid(), signal.SIGKILL)


class Tracking:
    """Events at a fixed rate, and health checks, for some seconds."""

    def __init__(self, target: Target, rate: float, seconds: float) -> None:
        """Track, and return when the last event is answered or given up.

        Args:
            target: whose server.
            rate: in events a second, of all clients together.
            seconds: how long.
        """
        self.target, self.pause = target, TRACKERS / rate
        # Of each second's events.
        self.milliseconds: list[list[float]] = [[] for _ in range(math.ceil(seconds))]
        self.health = 0.0
        self.began = time.monotonic() + 0.1
        self.ends = self.began + seconds
        threads = [
            threading.Thread(target=self._track, args=[index / rate]) for index in range(TRACKERS)
        ]
        threads.append(threading.Thread(target=self._check_health))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def quantile(self, part: float) -> float:
        """Return the latency in milliseconds that this part of a second's events keeps to.

        It is the median of all seconds, because now and then PostgreSQL makes a file for its log,
        and the machine has other guests.
        """
        return median(sorted(each)[int(len(each) * part)] for each in self.milliseconds)

    def failed(self) -> float:
        """Return which part of the events was not tracked."""
        latencies = [*chain(*self.milliseconds)]
        return sum(map(math.isinf, latencies)) / len(latencies)

    def _track(self, offset: float) -> None:
        as_from_another_machine()
        connection: socket.socket | None = None
        planned = self.began + offset
        while planned < self.ends:
            now = time.monotonic()
            time.sleep(max(0.0, planned - now))
            late = math.inf
            if now < self.ends + PATIENCE:
                try:
                    connection = connection or connect(self.target.server.port, PATIENCE)
                    if exchange(connection, self._event()) == 200:
                        late = (time.monotonic() - planned) * 1000
                except OSError:
                    if connection:
                        connection.close()
                    connection = None
            self.milliseconds[int(planned - self.began)].append(late)
            planned += self.pause
        if connection:
            connection.close()

    def _event(self) -> bytes:
        contact, key = random.randint(1, 20_000), random.randint(1, 10)
        body = (
            f'{{"event_key":"key_{key}","title":"Order placed","value":"42","provider":"bench",'
            f'"email":"contact{contact}@example.com"}}'
        )
        return self.target.request(
            "POST", f"{API}/subscribers/track-event", body.encode(), Content_Type="application/json"
        )

    def _check_health(self) -> None:
        as_from_another_machine()
        while (began := time.monotonic()) < self.ends:
            answered = is_healthy(self.target.server.port, PATIENCE)
            seconds = time.monotonic() - began if answered else math.inf
            self.health = max(self.health, seconds)
            time.sleep(HEALTH_EVERY)


def as_from_another_machine() -> None:
    """Let this thread have the processor at once, because clients have their own. It needs root.

    Without it, an event is late by up to 3 ms each time when its client waits.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def is_healthy(port: int, timeout: float) -> bool:
    """Return whether the server answers /healthz on a new connection."""
    try:
        with connect(port, timeout) as connection:
            return exchange(connection, raw_request("GET", "/healthz")) == 200
    except OSError:
        return False


def measure(row: Row, target: Target, rate: float, seconds: float) -> None:
    """Print a line of the table."""
    target.server.start()
    try:
        Tracking(target, rate, 1)
        quiet = Tracking(target, rate, seconds)
        ours, theirs = multiprocessing.Pipe()
        arguments = (row, target, LEAD_SECONDS + seconds + PATIENCE / 2, theirs)
        process = multiprocessing.get_context("fork").Process(target=abuse, args=arguments)
        process.start()
        # So that its end is noticed.
        theirs.close()
        time.sleep(LEAD_SECONDS)
        busy = Tracking(target, rate, seconds)
        outcomes = ours.recv()
        process.join()
    finally:
        target.server.stop()
    ratio = busy.quantile(0.99) / quiet.quantile(0.99)
    print(
        f"{row.clients:2} {row.what:35}{target.name:9}"
        f"{quiet.quantile(0.5):7.1f}{quiet.quantile(0.99):7.1f}"
        f"{busy.quantile(0.5):9.1f}{busy.quantile(0.99):9.1f}{ratio:7.1f}{row.most:7.0f}"
        f"{busy.failed():7.1%}{quiet.health:7.2f}{busy.health:7.2f}  "
        + ", ".join(f"{number} x {what}" for what, number in sorted(outcomes.items())),
        flush=True,
    )


def freeze(target: Target) -> None:
    """Stop a worker, and print after how long each new connection is answered again."""
    target.server.start()
    try:
        pid = wait_for_workers(target.server)[0]
        # Until it has told `serve` that it lives.
        time.sleep(LEAD_SECONDS)
        os.kill(pid, signal.SIGSTOP)
        began = time.monotonic()
        silent = 0.0
        unanswered = 0
        with ThreadPoolExecutor(TRACKERS) as pool:
            probes = []
            while (sent := time.monotonic() - began) < FROZEN_SECONDS:
                probe = pool.submit(is_healthy, target.server.port, PROBE_TIMEOUT)
                probes.append((sent, probe))
                time.sleep(PROBE_EVERY)
            for sent, probe in probes:
                if not probe.result():
                    silent, unanswered = sent + PROBE_EVERY, unanswered + 1
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    finally:
        target.server.stop()
    outcome = f"after {silent:.1f} s" if silent < FROZEN_SECONDS - 1 else "never"
    print(
        f"   {'one worker stopped':35}{target.name:9}all new connections are answered {outcome}; "
        f"{unanswered} of {len(probes)} were not",
        flush=True,
    )


def main() -> None:
    """Fill a store for each checkout and print a line for each row and checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, "frozen"], default=[*ROWS, "frozen"])
    parser.add_argument("--root", action="append", type=Path, default=[], metavar="CHECKOUT")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        targets = [
            Target(root.resolve(), Path(name) / str(number))
            for number, root in enumerate([*options.root, ROOT])
        ]
        # The same for all.
        rate = min(target.full_rate for target in targets) / 2
        for target in targets:
            print(f"{target.name}: {target.full_rate:.0f} events a second at full rate")
        print(f"{rate:.0f} events a second; ms and seconds")
        print(
            f"{'':38}{'':9}{'quiet':>7}{'':7}{'beside':>9}{'':16}{'':14}{'/healthz':>14}\n"
            f"{'':38}{'':9}{'p50':>7}{'p99':>7}{'p50':>9}{'p99':>9}{'ratio':>7}{'wanted':>7}"
            f"{'failed':>7}{'quiet':>7}{'beside':>7}",
            flush=True,
        )
        for row in options.rows:
            for target in targets:
                if row == "frozen":
                    freeze(target)
                else:
                    measure(ROWS[row], target, rate, options.seconds)


if __name__ == "__main__":
    main()
