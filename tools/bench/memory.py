"""`python -m tools.bench.memory`: how much memory one request takes of a worker, row by row.

A store is filled as rows from before the limits may be: custom values of 5 MB, occurrences of 390
KB, 1,000 tags on each of 1,000 contacts. Each request is sent to a fresh worker, and the worker's
largest resident memory (VmHWM) is read. `--concurrent 4` sends each request of the API four times
at once.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from config.server.postgres import USER, EmbeddedPostgres
from tests.system.admin_session import AdminSession, log_in
from tests.system.processes import wait_for_applications, wait_for_workers
from tests.system.server import Answer, Client, Server, wait_until

MOST_MEGABYTES = 300
TIMEOUT = 300
MANY, BIG = 1000, 100

CONTACTS = """
INSERT INTO crm_subscriber (email, email_key, status, contact_type, total_points, life_time_value,
                            custom_values, created_at, updated_at, source)
SELECT kind || n || '@example.com', kind || n || '@example.com', 'subscribed', 'lead', 0, 0,
       %(values)s, now(), now(), kind
FROM generate_series(1, %(number)s) n, CAST(%(kind)s AS text) kind
"""
# 4.9 MB of text, which compresses well.
BIG_VALUES = """(SELECT jsonb_object_agg('key' || k, repeat('x', 16000))
                 FROM generate_series(1, 300) k)"""
# Small pieces, of which Python makes large objects.
NESTED_VALUES = (
    "(SELECT jsonb_build_object('a', jsonb_agg('[]'::jsonb)) FROM generate_series(1, 15000))"
)
EVENTS = """
WITH events AS (
    INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                     unlogged, repeatable, created_at, updated_at)
    SELECT s.id, 'large', 'title ' || n, repeat('😀', 65535), 'bench', 1, 0, true, now(), now()
    FROM crm_subscriber s, generate_series(1, 1008) n WHERE s.email = 'busy1@example.com'
    RETURNING id, subscriber_id
)
INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, counter,
                                    properties, context, occurred_at, received_at)
SELECT min(id) OVER (), subscriber_id, 'large', 'bench', repeat('😀', 65535), 1, large, large,
       now() - id * interval '1 second', now()
FROM events, (SELECT jsonb_build_object('text', repeat('é', 32000)) AS large) one
"""
COUNTS = """
UPDATE events_trackedevent e SET counter = number
FROM (SELECT event_id, count(*) AS number FROM events_eventoccurrence GROUP BY 1) o
WHERE e.id = o.event_id
"""
LABELS = """
INSERT INTO crm_{kind} (title, slug, description, created_at, updated_at{column})
SELECT '{name} ' || n, '{name}-' || n, {description}, now(), now(){value}
FROM generate_series(1, {number}) n
"""
ATTACHED = """
INSERT INTO crm_subscriber_tags (subscriber_id, tag_id)
SELECT s.id, t.id FROM crm_subscriber s, crm_tag t
WHERE s.source = 'tagged' AND t.slug LIKE 'tag-%'
"""
KEYS = """
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_at, updated_at)
SELECT s.id, 'key ' || n || repeat('😀', 170), 'title', '', 'bench', 1, 1, true, now(), now()
FROM crm_subscriber s, generate_series(1, 100000) n WHERE s.email = 'keys1@example.com'
"""
# Of most contacts, so that PostgreSQL does not plan as if each had as many as the others.
FEW_EVENTS = """
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_at, updated_at)
SELECT id, 'plain', 'title', '', 'bench', 1, 1, true, now(), now()
FROM crm_subscriber WHERE source = 'plain'
"""
SEGMENTS = """
INSERT INTO crm_segment (title, slug, filters, deleted_labels, created_at, updated_at)
SELECT 'segment ' || n, 'segment-' || n, filters, '{}', now(), now()
FROM generate_series(1, 1000) n,
     (SELECT jsonb_build_array(jsonb_agg(jsonb_build_object(
                 'source', jsonb_build_array('subscriber', 'first_name'), 'operator', 'in',
                 'value', words)))::text AS filters
      FROM generate_series(1, 6),
           (SELECT jsonb_agg('w' || w) AS words FROM generate_series(1, 1000) w) w) one
"""


@dataclass(frozen=True)
class Store:
    """The filled database, and clients for its server."""

    server: Server
    session: AdminSession
    database: psycopg.Connection

    def ids(self, kind: str) -> list[int]:
        """Return the ids of the contacts of a kind."""
        query = "SELECT id FROM crm_subscriber WHERE source = %s ORDER BY id"
        return [row[0] for row in self.database.execute(query, [kind])]


def fill(database: psycopg.Connection) -> None:
    """Write the rows, around the limits."""
    values = {"big": (BIG_VALUES, BIG), "nested": (NESTED_VALUES, MANY), "tagged": ("'{}'", MANY)}
    values |= {"described": ("'{}'", BIG), "busy": ("'{}'", 1), "keys": ("'{}'", 1)}
    values |= {"plain": ("'{}'", MANY)}
    for kind, (sql, number) in values.items():
        statement = CONTACTS.replace("%(values)s", sql)
        database.execute(statement, {"number": number, "kind": kind})
    database.execute(EVENTS)
    database.execute(COUNTS)
    for kind, column, value in (("tag", "", ""), ("list", ", is_public", ", false")):
        parts = {"kind": kind, "column": column, "value": value}
        database.execute(LABELS.format(name=kind, description="''", number=MANY, **parts))
        large = "repeat('x', 1000000)"
        database.execute(LABELS.format(name="large", description=large, number=MANY, **parts))
        many = "''"
        database.execute(LABELS.format(name="many", description=many, number=20_000, **parts))
    database.execute(ATTACHED)
    described = ATTACHED.replace("'tagged'", "'described'").replace("'tag-%'", "'large-%'")
    database.execute(described)
    database.execute(KEYS)
    database.execute(FEW_EVENTS)
    database.execute(SEGMENTS)
    database.execute("VACUUM ANALYZE")


def nested_json() -> bytes:
    """A batch of 5 MB, of which Python makes large objects."""
    item = b'{"email":"n%d@example.com","custom_values":{"a":[' + b",".join([b"[]"] * 1700) + b"]}}"
    return b'{"contacts":[' + b",".join(item % number for number in range(1000)) + b"]}"


def tagged_batch() -> dict[str, Any]:
    """A thousand contacts with 400 tags each."""
    tags = [f"tag {number}" for number in range(1, 401)]
    return {"contacts": [{"email": f"t{n}@example.com", "tags": tags} for n in range(MANY)]}


Request = Callable[[Client], Answer]


def requests(store: Store) -> Iterable[tuple[str, Request]]:
    """Yield each request with what the report calls it."""

    def get(path: str) -> Request:
        return lambda client: client("GET", path)

    def post(path: str, body: Any) -> Request:
        return lambda client: client("POST", path, body)

    def page(path: str) -> Request:
        return lambda _: store.session("GET", path)

    big, tagged, nested = store.ids("big"), store.ids("tagged"), store.ids("nested")
    described, busy = store.ids("described"), store.ids("busy")[0]
    listed = "/subscribers?sort_type=ASC&search="
    yield "GET /healthz", get("/healthz")
    yield "list of 100, custom values of 4.9 MB not shown", get(f"{listed}big&per_page=100")
    yield "the same, shown", get(f"{listed}big&per_page=100&custom_fields=true")
    yield "list of 15, the same, shown", get(f"{listed}big&custom_fields=true")
    yield (
        "list of 1,000, nested custom values",
        get(f"{listed}nested&per_page=1000&custom_fields=true"),
    )
    yield "list of 100, nested", get(f"{listed}nested&per_page=100&custom_fields=true")
    one = f"/subscribers/{big[0]}?with[]=subscriber.custom_values"
    yield "a contact with 4.9 MB of custom values", get(one)
    yield (
        "PUT of that contact",
        lambda c: c(
            "PUT", f"/subscribers/{big[0]}", {"city": "Ulm", "custom_values": {"key1": ""}}
        ),
    )
    yield "timeline, per_page 1000", get(f"/subscribers/{busy}/timeline?per_page=1000")
    yield (
        "tracking-events, per_page 1000",
        get(f"/subscribers/{busy}/tracking-events?per_page=1000"),
    )
    query = "SELECT event_id FROM events_eventoccurrence LIMIT 1"
    [event] = store.database.execute(query).fetchone() or (0,)
    occurrences = f"/subscribers/{busy}/tracking-events/{event}/occurrences"
    yield "occurrences, per_page 1000", get(f"{occurrences}?per_page=1000")
    yield "occurrences, 15", get(occurrences)
    yield "list of 1,000 on 1,000 tags", get(f"{listed}tagged&per_page=1000")
    yield "list of 15 on 1,000 tags", get(f"{listed}tagged")
    yield "list of 15 on 1,000 tags with 1 MB", get(f"{listed}described")
    sync = {"type": "tags", "subscribers": tagged, "attach": []}
    yield "sync-segments of 1,000 on 1,000 tags", post("/subscribers/sync-segments", sync)
    action = {"action_name": "add_to_tags", "subscriber_ids": tagged}
    ids = [
        row[0] for row in store.database.execute("SELECT id FROM crm_tag ORDER BY id LIMIT 1000")
    ]
    action["action_options"] = ids
    yield "do-bulk-action, 1,000 on 1,000 tags", post("/subscribers/do-bulk-action", action)
    yield (
        "bulk-add-update, 5 MB of nested JSON",
        lambda c: c(
            "POST",
            "/subscribers/bulk-add-update",
            body=nested_json(),
            headers={"Content-Type": "application/json"},
        ),
    )
    yield (
        "bulk-add-update, 1,000 with 400 tags",
        post("/subscribers/bulk-add-update", tagged_batch()),
    )
    yield "ajax-options, 100,000 keys", get("/reports/ajax-options?option_key=event_tracking_keys")
    yield "tags with all_tags", get("/tags?all_tags=true")
    yield "tags, per_page 1000, descriptions of 1 MB", get("/tags?per_page=1000&search=large")
    yield "segments, per_page 1000", get("/segments?per_page=1000")
    yield "segments of a contact", get(f"/subscribers/{tagged[0]}/segments")
    yield "search-contacts, 1,000", get("/subscribers/search-contacts?search=nested&limit=1000")
    yield "eventTrackingEvents", get("/api/3/eventTrackingEvents?limit=1000")
    yield "filter-options", get("/subscribers/filter-options")
    yield "/api/schema/", get("/api/schema/")
    contacts = "/admin/crm/subscriber/"
    yield "admin: list, 4.9 MB", page(f"{contacts}?q=big")
    yield "admin: list, 1,000 tags", page(f"{contacts}?q=tagged")
    yield "admin: list, 1,000 tags of 1 MB", page(f"{contacts}?q=described")
    yield "admin: contact, 4.9 MB", page(f"{contacts}{big[0]}/")
    yield "admin: contact with large events", page(f"{contacts}{busy}/")
    yield "admin: contact, 1,000 tags of 1 MB", page(f"{contacts}{described[0]}/")
    yield "admin: form, 4.9 MB, 22,000 tags", page(f"{contacts}{big[0]}/change/")
    yield "admin: segment, the builder", page("/admin/crm/segment/add/")
    yield "admin: tags", page("/admin/crm/tag/?q=large")
    yield "admin: export of a contact", page(f"{contacts}{busy}/export/")
    exported = {
        "busy": [busy],
        "nested": nested,
        "big": big,
        "tagged": tagged,
        "described": described[:1],
    }
    for kind, chosen in exported.items():
        for action_name in ("export_ndjson", "export_csv"):
            yield f"admin: {action_name}, {kind}", exporting(store, action_name, chosen)


def exporting(store: Store, action: str, ids: list[int]) -> Request:
    """Return the request that exports contacts, whose file is read to its end."""

    def send(_: Client) -> Answer:
        fields = [("action", action), *(("_selected_action", str(each)) for each in ids[:900])]
        token = store.session.cookies["tallybook_csrftoken"]
        return store.session(
            "POST", "/admin/crm/subscriber/", form=[*fields, ("csrfmiddlewaretoken", token)]
        )

    return send


def worker_pids(server: Server) -> list[int]:
    """Return the web server's workers and application processes."""
    return wait_for_workers(server) + wait_for_applications(server)


def memory(pid: int, name: str = "VmHWM") -> int:
    """Return a process's largest resident memory, in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) // 1024
    return 0


def renew_workers(server: Server) -> None:
    """End the workers, which the web server replaces, and wait until the new ones answer."""
    before = worker_pids(server)
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    def answers() -> bool:
        now = worker_pids(server)
        if len(now) < len(before) or set(now) & set(before):
            return False
        try:
            return server.client(timeout=5)("GET", "/api/3/eventTracking").status == 200
        except OSError:
            return False

    wait_until(answers, 60)


def measure(store: Store, send: Request, concurrent: int) -> tuple[str, float, list[int]]:
    """Send a request to fresh workers. Returns status and size, seconds, and their memory."""
    renew_workers(store.server)
    store.session.close()

    def sent(_: int) -> str:
        try:
            answer = send(store.server.client(timeout=TIMEOUT))
            return f"{answer.status} {len(answer.body) / 1024**2:.1f} MB"
        except OSError as error:
            return type(error).__name__

    began = time.monotonic()
    pids = worker_pids(store.server)
    with ThreadPoolExecutor(concurrent) as pool:
        outcomes = list(pool.map(sent, range(concurrent)))
    seconds = time.monotonic() - began
    return ", ".join(sorted(set(outcomes))), seconds, [memory(pid) for pid in pids if memory(pid)]


def main() -> None:
    """Fill the store, print a line for each request, and fail if one took too much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concurrent", type=int, default=1, metavar="N")
    parser.add_argument("--only", default="", metavar="WORD", help="requests whose name has it")
    options = parser.parse_args()
    missed = []
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name), TALLYBOOK_WORKERS="1").start()
        try:
            socket_dir = str(EmbeddedPostgres(server.data_dir).socket_dir)
            with psycopg.connect(
                host=socket_dir, user=USER, dbname="tallybook", autocommit=True
            ) as database:
                fill(database)
                store = Store(server, log_in(server), database)
                store.session.connection.timeout = TIMEOUT
                print(f"{'request':48}{'answer':>30}{'seconds':>9}{'VmHWM, MB':>11}", flush=True)
                for what, send in requests(store):
                    if options.only not in what:
                        continue
                    outcome, seconds, peaks = measure(store, send, options.concurrent)
                    print(
                        f"{what:48}{outcome:>30}{seconds:9.2f}{max(peaks, default=0):11}",
                        flush=True,
                    )
                    if max(peaks, default=0) > MOST_MEGABYTES:
                        missed.append(what)
        finally:
            server.stop()
    if missed:
        sys.exit(f"Over {MOST_MEGABYTES} MB: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
