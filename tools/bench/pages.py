"""The admin's pages on a large store: how many statements each takes, and how long."""

import statistics
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg

from config.server.postgres import USER, EmbeddedPostgres
from tests.system.admin_session import AdminSession, log_in
from tests.system.database import count_statements
from tests.system.server import Server
from tools.bench.filters import BOUGHT

MOST_SECONDS = 0.5
# For the first user, who is a superuser; others need two more for their permissions.
MOST_STATEMENTS = 13
TRIES = 5
BUSY = "busy@example.com"
BUSY_OCCURRENCES = 100_000
SEGMENT = {"title": "Bought", "slug": "bought", "filters": [[BOUGHT]]}
CONTACTS, EVENTS = "/admin/crm/subscriber/", "/admin/events/trackedevent/"
OCCURRENCES = "/admin/events/eventoccurrence/"
# What it is, and its address.
PAGES = (
    ("overview", "/admin/"),
    ("overview, the part that refreshes", "/admin/overview/"),
    ("contacts", CONTACTS),
    ("contacts, page 1,900", f"{CONTACTS}?p=1900"),
    ("contacts by e-mail", f"{CONTACTS}?o=1"),
    ("contacts: search, some", f"{CONTACTS}?q=anna"),
    ("contacts: search, none", f"{CONTACTS}?q=nobody-has-this"),
    ("contacts: status", f"{CONTACTS}?status=subscribed"),
    ("contacts: tag", f"{CONTACTS}?tag={{tag}}"),
    ("contacts: did event", f"{CONTACTS}?did=login"),
    ("contacts: segment, did event, status", f"{CONTACTS}?segment=bought&did=login&status=pending"),
    ("contact with 10 events", f"{CONTACTS}{{quiet}}/"),
    ("contact with 100,000 occurrences", f"{CONTACTS}{{busy}}/"),
    ("the same, one key", f"{CONTACTS}{{busy}}/?event_key=key_1"),
    ("the same, a provider without events", f"{CONTACTS}{{busy}}/?provider=nobody"),
    ("contact: the form", f"{CONTACTS}{{quiet}}/change/"),
    ("contact: history", f"{CONTACTS}{{quiet}}/history/"),
    ("contact: erase, the question", f"{CONTACTS}{{busy}}/erase/"),
    ("tracked events", EVENTS),
    ("tracked events, the last page", f"{EVENTS}?p=200"),
    ("tracked events: key", f"{EVENTS}?key=login"),
    ("tracked events: provider", f"{EVENTS}?provider=custom"),
    ("tracked events: a provider without events", f"{EVENTS}?provider=nobody"),
    ("tracked events: contact", f"{EVENTS}?contact={BUSY}"),
    ("occurrences", OCCURRENCES),
    ("occurrences: key", f"{OCCURRENCES}?key=login"),
    ("occurrences: a provider without events", f"{OCCURRENCES}?provider=nobody"),
    ("occurrences: contact", f"{OCCURRENCES}?contact={BUSY}"),
    ("event names", "/admin/events/eventname/"),
    ("tags", "/admin/crm/tag/"),
    ("lists", "/admin/crm/list/"),
    ("segments", "/admin/crm/segment/"),
    ("a segment, the builder", "/admin/crm/segment/{segment}/change/"),
    ("history", "/admin/crm/historyentry/"),
    ("application passwords", "/admin/crm/applicationpassword/"),
    ("tracking key", "/admin/events/trackingkey/"),
)


def measure(server: Server) -> list[str]:
    """Print a line for each page. Returns what took longer, or more statements, than it may."""
    session = log_in(server)
    database = EmbeddedPostgres(server.data_dir)
    missed = []
    with psycopg.connect(
        host=str(database.socket_dir), user=USER, dbname="tallybook", autocommit=True
    ) as store:
        names = _prepare(server, store)
        print(f"{'page':45}{'statements':>11}{'seconds':>9}{'longest':>9}")
        for what, address in PAGES:
            path = address.format(**names)
            seconds = [_seconds(session, path) for _ in range(TRIES)]
            number = count_statements(store, partial(_seconds, session, path), verbose=False)
            median = statistics.median(seconds)
            print(f"{what:45}{number:11}{median:9.3f}{max(seconds):9.3f}", flush=True)
            if median > MOST_SECONDS:
                missed.append(f"{what} took {median:.3f} s")
            if number > MOST_STATEMENTS:
                missed.append(f"{what} took {number} statements")
    return missed


def _seconds(session: AdminSession, path: str) -> float:
    began = time.monotonic()
    answer = session("GET", path)
    assert answer.status == 200, (path, answer.status)
    return time.monotonic() - began


def _prepare(server: Server, store: psycopg.Connection) -> dict[str, int]:
    """Create a contact with a long history and a segment. Return the ids for the URLs."""
    client = server.client()
    busy = client.contact(BUSY)
    now = datetime.now(UTC)
    for begin in range(0, BUSY_OCCURRENCES, 1000):
        events = [
            {
                "event_key": f"key_{number % 30}",
                "title": f"title {number % 70}",
                "value": str(number),
                "subscriber_id": busy,
                "occurred_at": (now - timedelta(minutes=number)).isoformat(),
            }
            for number in range(begin, begin + 1000)
        ]
        answer = client("POST", "/subscribers/track-events", {"events": events})
        assert answer.json()["tracked"] == len(events), answer.body
    segment = client("POST", "/segments", SEGMENT).json()["segment"]["id"]
    store.execute("VACUUM ANALYZE")
    quiet, tag = store.execute(
        "SELECT (SELECT min(id) FROM crm_subscriber WHERE email <> %s AND id > 1), "
        "(SELECT min(id) FROM crm_tag)",
        [BUSY],
    ).fetchone() or (0, 0)
    return {"busy": busy, "quiet": quiet, "tag": tag, "segment": segment}
