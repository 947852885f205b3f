"""`python -m tools.bench.deletion`: what the deletion of an automation with a million runs takes.

How long the request takes, and the deletion of the rows, and what tracked events that start another
automation take meanwhile. Then the same rows of an endpoint of webhooks. `--root CHECKOUT` measures
the request of another checkout alone.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from config.server.postgres import USER, EmbeddedPostgres
from tests.system.database import fetch_value
from tests.system.server import API, ROOT, Server, wait_until
from tools.bench.calls import SEED_CONTACTS

# Tracked events that are compared, and how many contacts they are about.
IDLE_SECONDS, TRACKED = 20.0, 1_000
MARK = {"type": "track_event", "event_key": "marked", "title": "Marked"}
RUNS = """
INSERT INTO automations_run (automation_id, subscriber_id, number, version_id, status, reason,
    happened, source_kind, source_key, source_at, cause, attempts, error, created_at)
SELECT a.id, s.id, 1, a.version_id, 'completed', '', false, 'event', 'big', now(), '{}', 0, '',
    now()
FROM automations_automation a, crm_subscriber s WHERE a.title = 'big';
INSERT INTO automations_runstep (run_id, automation_id, subscriber_id, step_id, version_id, outcome,
    detail, at)
SELECT r.id, r.automation_id, r.subscriber_id, s.id, r.version_id, 'done', '{}', now()
FROM automations_run r JOIN automations_step s ON s.automation_id = r.automation_id
"""
ENDPOINT = """
INSERT INTO automations_endpoint (url, secret, old_secret, enabled, disabled_reason, failures)
VALUES ('https://hook.example/', 'whsec_', '', true, '', 0)
"""
# About each contact, of the last step of an automation if there is one.
DELIVERIES = """
INSERT INTO automations_delivery (message_id, endpoint_id, run_id, step_id, subscriber_id, body,
    status, attempts, tries)
SELECT 'msg_' || s.id, p.id, s.id, (SELECT max(t.id) FROM automations_step t
        JOIN automations_automation a ON a.id = t.automation_id WHERE a.title = 'big'),
    s.id, repeat('x', 300), 'delivered', 1, 1
FROM crm_subscriber s, automations_endpoint p;
INSERT INTO automations_attempt (delivery_id, number, at, took_ms, http_status, error, answer)
SELECT id, 1, now(), 20, 200, '', '' FROM automations_delivery
"""
LEFT = "SELECT count(*)::int FROM automations_automation WHERE title = 'big'"


class Tracking:
    """Tracks events, one after the other, and notes how long each takes, in milliseconds."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.took: list[float] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._track)
        self._thread.start()

    def _track(self) -> None:
        client = self.server.client()
        number = 0
        while not self._is_over.is_set():
            number = number % TRACKED + 1
            email = f"contact{number}@example.com"
            began = time.perf_counter()
            answer = client.track(event_key="checkout", title="Order", email=email)
            assert answer.status == 200, answer.body
            self.took.append((time.perf_counter() - began) * 1000)
            time.sleep(0.01)

    def report(self, what: str) -> None:
        """Print what the events took since the last report."""
        took, self.took = sorted(self.took), []
        middle, late = took[len(took) // 2], took[int(len(took) * 0.99)]
        numbers = f"{len(took):,} events, {middle:.1f} ms, p99 {late:.1f}, most {took[-1]:.1f}"
        print(f"tracking {what}: {numbers}", flush=True)

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.2f} s", flush=True)


def publish(server: Server, *steps: dict[str, Any], title: str, event_key: str) -> int:
    """Publish an automation that lets each event in, and return its id."""
    document = {
        "title": title,
        "trigger": {"type": "event", "event_key": event_key},
        "conditions": [],
        "steps": list(steps),
        "reentry": "after_end",
        "max_starts_per_hour": 1_000_000,
    }
    client = server.client()
    created = client("POST", f"{API}/automations", document)
    automation_id: int = created.json()["automation"]["id"]
    assert client("POST", f"{API}/automations/{automation_id}/publish").status == 200
    return automation_id


def measure(server: Server, runs: int, *, is_other: bool) -> None:
    """Measure a deletion on a server that has just started."""
    hook = {"type": "webhook", "url": "https://hook.example/"}
    big = publish(server, MARK, hook, title="big", event_key="big")
    publish(server, MARK, title="other", event_key="checkout")
    host = str(EmbeddedPostgres(server.data_dir).socket_dir)
    with psycopg.connect(host=host, user=USER, dbname="tallybook", autocommit=True) as store:
        with timed("seeding"):
            store.execute(SEED_CONTACTS.format(contacts=runs))
            for statements in (RUNS, ENDPOINT, DELIVERIES, "VACUUM ANALYZE"):
                store.execute(statements)
        armed = "SELECT bool_and(armed_at IS NOT NULL) FROM automations_automation"
        wait_until(lambda: fetch_value(store, armed))
        tracking = Tracking(server)
        try:
            time.sleep(IDLE_SECONDS)
            tracking.report("before")
            with timed("the request"):
                answer = server.client(timeout=70)("DELETE", f"{API}/automations/{big}")
            print(answer.status, answer.body[:200])
            tracking.report("during the request")
            if not is_other:
                prune(server, "an automation", tracking)
                assert fetch_value(store, LEFT) == 0
                store.execute(DELIVERIES)
                store.execute("UPDATE automations_endpoint SET deleted_at = now()")
                prune(server, "an endpoint", tracking)
                assert fetch_value(store, "SELECT count(*) FROM automations_delivery") == 0
        finally:
            tracking.stop()
        ended = "SELECT count(*) FROM automations_run WHERE status = 'completed'"
        print(f"runs of another automation meanwhile: {fetch_value(store, ended):,}")


def prune(server: Server, what: str, tracking: Tracking) -> None:
    with timed(f"the rows of {what}"):
        print(server.manage("prune_automations").strip())
    tracking.report("meanwhile")


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.deletion", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout to measure")
    parser.add_argument("--runs", type=int, default=1_000_000, help="of the deleted automation")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = chosen.root.resolve()
        server = Server(Path(folder), root, TALLYBOOK_WORKERS="1").start()
        try:
            measure(server, chosen.runs, is_other=root != ROOT)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
