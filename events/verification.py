"""Verify the store: every counter, and that no row has lost the row that it belongs to.

All of it is read by plain SELECTs, one snapshot each, so that tracking goes on meanwhile. Only
programs that write into the tables by themselves cause faults, and deleted labels of segments.
"""

from typing import NamedTuple

from config.database import fetch_one, fetch_rows
from config.server.backup import Figures
from crm.models import Segment
from crm.segments import broken_segments

SHOWN_IDS = 5


class Difference(NamedTuple):
    """An event whose counter is not unlogged + occurrences."""

    event_id: int
    subscriber_id: int
    event_key: str
    title: str
    counter: int
    unlogged: int
    occurrences: int


class Fault(NamedTuple):
    """Rows with the same fault: what they are called, their number, and the first of their ids."""

    name: str
    number: int
    first_ids: list[int]


# A count is committed together with its occurrence.
DIFFERENCES = """
SELECT e.id, e.subscriber_id, e.event_key, e.title, e.counter, e.unlogged,
       COALESCE(o.occurrences, 0)
FROM events_trackedevent e
    LEFT JOIN (SELECT event_id, subscriber_id, count(*) AS occurrences
               FROM events_eventoccurrence GROUP BY event_id, subscriber_id) o
        ON o.event_id = e.id AND o.subscriber_id = e.subscriber_id
WHERE e.counter <> e.unlogged + COALESCE(o.occurrences, 0)
ORDER BY e.id
"""
SUMS = "SELECT COALESCE(sum(counter), 0), COALESCE(sum(unlogged), 0) FROM events_trackedevent"
# What each kind of orphan is called, and its ids. Foreign keys prevent some of them, unless a
# program has dropped or disabled them.
ORPHANS = {
    "events without a contact": """
SELECT id FROM events_trackedevent e
WHERE NOT EXISTS (SELECT FROM crm_subscriber s WHERE s.id = e.subscriber_id)""",
    "occurrences without an event": """
SELECT id FROM events_eventoccurrence o
WHERE NOT EXISTS (SELECT FROM events_trackedevent e
                  WHERE e.id = o.event_id AND e.subscriber_id = o.subscriber_id)""",
    "occurrences without a contact": """
SELECT id FROM events_eventoccurrence o
WHERE NOT EXISTS (SELECT FROM crm_subscriber s WHERE s.id = o.subscriber_id)""",
    "idempotency keys without an occurrence": """
SELECT occurrence_id AS id FROM events_idempotencykey k
WHERE event_id IS NULL  -- It was not taken back.
    AND NOT EXISTS (SELECT FROM events_eventoccurrence o
                  WHERE o.id = k.occurrence_id AND o.subscriber_id = k.subscriber_id)""",
    "imported rows without a contact": """
SELECT id FROM events_importedevent i
WHERE NOT EXISTS (SELECT FROM crm_subscriber s WHERE s.id = i.subscriber_id)""",
    "tags of contacts without the tag or the contact": """
SELECT id FROM crm_subscriber_tags m
WHERE NOT EXISTS (SELECT FROM crm_subscriber s WHERE s.id = m.subscriber_id)
    OR NOT EXISTS (SELECT FROM crm_tag l WHERE l.id = m.tag_id)""",
    "lists of contacts without the list or the contact": """
SELECT id FROM crm_subscriber_lists m
WHERE NOT EXISTS (SELECT FROM crm_subscriber s WHERE s.id = m.subscriber_id)
    OR NOT EXISTS (SELECT FROM crm_list l WHERE l.id = m.list_id)""",
    "identities without a contact": """
SELECT id FROM crm_identity i
WHERE NOT EXISTS (SELECT FROM crm_subscriber s WHERE s.id = i.subscriber_id)""",
    "aliases that are the e-mail or the id of a contact": """
SELECT i.id FROM crm_identity i JOIN crm_subscriber s ON s.email_key = i.value
WHERE i.kind = 'email' AND i.source = ''
UNION ALL
SELECT i.id FROM crm_identity i JOIN crm_subscriber s ON s.id::text = i.value
WHERE i.kind = 'contact' AND i.source = ''""",
    "notes without a contact": """
SELECT id FROM crm_subscribernote n
WHERE NOT EXISTS (SELECT FROM crm_subscriber s WHERE s.id = n.subscriber_id)""",
}
FIGURES = ("events without a contact", "occurrences without an event")
COUNT = """
SELECT count(*), COALESCE(array_agg(id ORDER BY id) FILTER (WHERE place <= {shown}), '{{}}')
FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM ({orphans}) o) numbered
"""


def find_differences() -> list[Difference]:
    """Return every event whose counter is wrong."""
    return [Difference(*row) for row in fetch_rows(DIFFERENCES, {})]


def find_orphans() -> list[Fault]:
    """Return each kind of row that can lose what it belongs to, and how many rows have."""
    faults = [_count(name) for name in ORPHANS]
    broken = sorted(segment.pk for segment in broken_segments(Segment.objects.all()))
    faults.append(Fault("segments with an invalid filter", len(broken), broken[:SHOWN_IDS]))
    return faults


def _count(name: str) -> Fault:
    """Count a kind of ORPHANS."""
    return Fault(name, *fetch_one(COUNT.format(shown=SHOWN_IDS, orphans=ORPHANS[name]), {}))


def store_figures() -> Figures:
    """Return what a backup and its restore compare, settings.STORE_FIGURES.

    It reads tables that each version has, because a store is backed up before it is migrated.
    """
    counters, unlogged = fetch_one(SUMS, {})
    return Figures(
        sums={"counters": int(counters), "unlogged": int(unlogged)},
        faults={
            "events whose counter differs (manage.py verify)": len(find_differences()),
            **{name: _count(name).number for name in FIGURES},
        },
    )
