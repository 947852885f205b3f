"""Measure backup and restore of a large store under tracking load, and cause their faults.

`python -m tools.bench.backup FOLDER`: a store of 100,000 contacts, 1,000,000 events and two million
occurrences is made in FOLDER, which needs 4 GiB. With `--fill` the disk of FOLDER is filled up in
the middle of a restore. Then give FOLDER a file system of its own, such as a tmpfs of 5 GiB.
"""

import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
from typing_extensions import override

from config.server.postgres import USER, socket_dir
from tests.system.server import ROOT, Server, wait_until

CONTACTS = 100_000
# Posts a second, as a steady rate, by as many clients as one worker has threads.
RATE, CLIENTS = 100, 4
QUIET_SECONDS = 20


class Load(threading.Thread):
    """A client that posts events at a steady rate, and records when each was answered."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.client = server.client()
        self.stopping = False
        # Start and end of each post that was answered 200, in seconds.
        self.posts: list[tuple[float, float]] = []
        self.failed = 0

    @override
    def run(self) -> None:
        due = time.perf_counter()
        while not self.stopping:
            due += CLIENTS / RATE
            time.sleep(max(0, due - time.perf_counter()))
            started = time.perf_counter()
            event = {"event_key": "load", "title": "Load", "email": "ada@example.com"}
            if self.client.track(**event).status == 200:
                self.posts.append((started, time.perf_counter()))
            else:
                self.failed += 1


def connect(server: Server) -> psycopg.Connection:
    """Connect to the server's store."""
    return psycopg.connect(host=str(socket_dir(server.data_dir)), user=USER, dbname="tallybook")


def counted(server: Server, key: str) -> tuple[int, int]:
    """The sum of the counters of a key, and the number of its occurrences."""
    query = (
        "SELECT (SELECT COALESCE(sum(counter), 0)::int FROM events_trackedevent "
        "WHERE event_key = %(key)s), "
        "(SELECT count(*)::int FROM events_eventoccurrence WHERE event_key = %(key)s)"
    )
    with connect(server) as connection:
        row = connection.execute(query, {"key": key}).fetchone()
    assert row
    return row[0], row[1]


def latencies(posts: list[tuple[float, float]]) -> str:
    """Median, 99th percentile and maximum of posts in milliseconds."""
    taken = sorted((ended - started) * 1000 for started, ended in posts)
    high = taken[int(len(taken) * 0.99)]
    return (
        f"median {statistics.median(taken):.1f}, 99 % {high:.1f}, max {taken[-1]:.1f} ms "
        f"of {len(taken)} posts"
    )


def timed(server: Server, *arguments: str) -> float:
    """Run a management command that has to succeed. Return its seconds."""
    started = time.perf_counter()
    print(server.manage(*arguments).strip())
    return time.perf_counter() - started


def back_up_under_load(server: Server, path: Path) -> int:
    """Measure a backup while clients post. Return how many posts were answered before it began."""
    clients = [Load(server) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(QUIET_SECONDS)
    began = time.perf_counter()
    answered = sum(len(client.posts) for client in clients)
    seconds = timed(server, "backup", str(path))
    ended = time.perf_counter()
    time.sleep(1)
    for client in clients:
        client.stopping = True
        client.join()
    posts = [post for client in clients for post in client.posts]
    before = [post for post in posts if post[1] < began]
    during = [post for post in posts if post[0] >= began and post[1] <= ended]
    print(f"backup: {seconds:.1f} s, {path.stat().st_size / 1e6:.0f} MB")
    print(f"tracking before: {latencies(before)}")
    print(f"tracking during: {latencies(during)}")
    print(f"failed posts: {sum(client.failed for client in clients)}")
    print(f"answered before the backup began: {answered}, in all: {len(posts)}")
    return answered


def restore_elsewhere(folder: Path, path: Path, answered: int) -> None:
    """Measure a restore into a new data folder, and verify that it has what was answered."""
    server = Server(folder / "elsewhere")
    server.data_dir.mkdir(parents=True, mode=0o700)
    seconds = timed(server, "restore", str(path))
    print(f"restore: {seconds:.1f} s")
    server.start()
    events = counted(server, "load")
    print(f"restored events of the load, counted and in the log: {events}")
    assert min(events) >= answered
    print(server.manage("verify").strip())
    server.stop()
    shutil.rmtree(server.data_dir)


def interrupted_restore(server: Server, path: Path, interrupt: str) -> None:
    """Kill a restore in the middle, or fill its disk, and verify the old store."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "restore", "--replace", str(path)],
        cwd=ROOT,
        env=server.environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    tables = "SELECT count(*) FROM pg_stat_progress_copy"

    def copies() -> bool:
        try:
            host = str(socket_dir(server.data_dir))
            with psycopg.connect(host=host, user=USER, dbname="postgres") as connection:
                return connection.execute(tables).fetchone() != (0,)
        except psycopg.OperationalError:
            return False

    wait_until(copies, 60)
    filler = server.data_dir.parent / "filler"
    if interrupt == "kill -9":
        time.sleep(2)
        process.send_signal(signal.SIGKILL)
    else:
        with filler.open("wb") as file:
            try:
                while True:
                    file.write(b"x" * (1 << 20))
                    file.flush()
            except OSError as error:
                print(f"the disk is full: {error.strerror}")
    _, errors = process.communicate()
    print(f"restore with {interrupt}: exit code {process.returncode} {errors.strip()}")
    filler.unlink(missing_ok=True)
    server.start()
    print(f"the old store's events of the load: {counted(server, 'load')}")
    print(server.manage("verify").strip())
    with connect(server) as connection:
        print(connection.execute("SELECT array_agg(datname::text) FROM pg_database").fetchone())
    server.stop()


def main() -> None:
    """Print the figures."""
    folder = Path(sys.argv[1])
    server = Server(folder).start()
    path = folder / "large.backup"
    print(server.manage("seed_demo", "--contacts", str(CONTACTS)).strip())
    answered = back_up_under_load(server, path)
    server.stop()
    restore_elsewhere(folder, path, answered)
    interrupted_restore(server, path, "kill -9")
    if "--fill" in sys.argv:
        interrupted_restore(server, path, "disk full")
    print(f"restore --replace: {timed(server, 'restore', '--replace', str(path)):.1f} s")


if __name__ == "__main__":
    main()
