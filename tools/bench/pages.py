"""The admin's pages on a large store: how many statements each takes, and how long."""

from datetime import UTC, datetime, timedelta
from functools import partial
from operator import attrgetter

from tests.system.database import count_statements
from tools.bench.filters import BOUGHT
from tools.bench.turns import Bench, heading, line

MOST_SECONDS, MOST_SECONDS_OF_MILLION = 0.5, 1.0
# For the first user, who is a superuser; others need two more for their permissions.
MOST_STATEMENTS = 13
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
    ("contact: merge, both side by side", f"{CONTACTS}{{busy}}/merge/?other={{quiet}}"),
    ("possible duplicates", f"{CONTACTS}duplicates/"),
    ("notes", "/admin/crm/subscribernote/"),
    ("notes: contact", f"/admin/crm/subscribernote/?contact={BUSY}"),
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
    ("automations", "/admin/automations/automation/"),
    ("automations, the builder", "/admin/automations/automation/add/"),
    ("runs of automations", "/admin/automations/run/"),
    ("event names", "/admin/events/eventname/"),
    ("tags", "/admin/crm/tag/"),
    ("lists", "/admin/crm/list/"),
    ("custom fields", "/admin/crm/customfield/"),
    ("segments", "/admin/crm/segment/"),
    ("a segment, the builder", "/admin/crm/segment/{segment}/change/"),
    ("history", "/admin/crm/historyentry/"),
    ("webhook endpoints", "/admin/automations/endpoint/"),
    ("webhook deliveries", "/admin/automations/delivery/"),
    ("application passwords", "/admin/crm/applicationpassword/"),
    ("authorize an application", "/wp-admin/authorize-application.php"),
    ("tracking key", "/admin/events/trackingkey/"),
)


def measure(bench: Bench) -> list[str]:
    """Print a line for each page. Returns what took longer, or more statements, than it may."""
    names = _prepare(bench)
    most_seconds = MOST_SECONDS_OF_MILLION if bench.is_million else MOST_SECONDS
    session = bench.targets[-1].session
    missed = []
    print(heading("statements", len(bench.targets)))
    for what, address in PAGES:
        path = address.format(**names)
        costs, _ = bench.costs(attrgetter("session"), path)
        number = count_statements(bench.store, partial(session, "GET", path), verbose=False)
        print(line(what, number, costs), flush=True)
        if costs[-1].ms > most_seconds * 1000:
            missed.append(f"{what} took {costs[-1].ms:.0f} ms")
        if number > MOST_STATEMENTS:
            missed.append(f"{what} took {number} statements")
    return missed


def _prepare(bench: Bench) -> dict[str, int]:
    """Create a contact with a long history and a segment. Return the ids for the URLs."""
    client, store = bench.targets[-1].client, bench.store
    busy = client.contact(BUSY, __force_update="yes")
    [done] = store.execute(
        "SELECT count(*) FROM events_eventoccurrence WHERE subscriber_id = %s", [busy]
    ).fetchone() or [0]
    now = datetime.now(UTC)
    for begin in range(done, BUSY_OCCURRENCES, 1000):
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
    found = store.execute("SELECT id FROM crm_segment WHERE slug = %s", [SEGMENT["slug"]])
    row = found.fetchone()
    segment = row[0] if row else client("POST", "/segments", SEGMENT).json()["segment"]["id"]
    store.execute("VACUUM ANALYZE")
    quiet, tag = store.execute(
        "SELECT (SELECT min(id) FROM crm_subscriber WHERE email <> %s AND id > 1), "
        "(SELECT min(id) FROM crm_tag)",
        [BUSY],
    ).fetchone() or (0, 0)
    return {"busy": busy, "quiet": quiet, "tag": tag, "segment": segment}
