"""Tell whether what happened is what an automation starts by, or what a run waits for."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Q

from automations.models import Run
from automations.values import property_of
from config.database import fetch_row, fetch_rows
from crm.labels import LabelKind, memberships
from crm.models import OutboxKind, Subscriber

# The kinds of triggers about labels: the kind of entries, and of the labels.
LABEL_KINDS: dict[str, tuple[OutboxKind, LabelKind]] = {
    "tag_added": (OutboxKind.TAG_ADDED, "tags"),
    "tag_removed": (OutboxKind.TAG_REMOVED, "tags"),
    "list_added": (OutboxKind.LIST_ADDED, "lists"),
    "list_removed": (OutboxKind.LIST_REMOVED, "lists"),
}
ADDED = ("tag_added", "list_added")
# Occurrences of a key since the one that started the run, or since a time. Those of a batch have
# the same time, and ids in the order sent.
OCCURRED = """
SELECT o.id FROM events_eventoccurrence o
    JOIN events_trackedevent e ON e.id = o.event_id AND e.subscriber_id = o.subscriber_id
WHERE o.subscriber_id = %(contact)s AND o.event_key = %(key)s AND o.occurred_at >= %(since)s
    AND (o.occurred_at, o.id) > (%(since)s, COALESCE(%(source)s, 0))
    AND (%(title)s = '' OR e.title = %(title)s)
ORDER BY o.occurred_at, o.id
"""


class Entry(NamedTuple):
    """A row of the outbox."""

    id: int
    contact_id: int
    kind: str
    key: str
    title: str
    occurrence_id: int | None
    # Of the key and title after it.
    counter: int | None
    quiet: bool
    cause: list[int]
    occurred_at: datetime
    created_at: datetime


Happening = Mapping[str, Any]


def entries_of(happening: Happening) -> Iterator[tuple[OutboxKind, str]]:
    """Yield the kinds and keys of the entries that may say that something happened.

    Args:
        happening: a trigger of a document, or what its step waits for. What is no entry, such as
            entering a segment, has none.
    """
    kind = happening["type"]
    if kind == "event":
        yield OutboxKind.EVENT, happening["event_key"]
    elif kind in LABEL_KINDS:
        outbox_kind, labels = LABEL_KINDS[kind]
        yield from ((outbox_kind, str(label_id)) for label_id in happening[labels])
    elif kind == "status_changed":
        yield from ((OutboxKind.STATUS, status) for status in happening["statuses"])
    elif kind == "contact_created":
        yield OutboxKind.CREATED, ""


def matches(happening: Happening, entry: Entry) -> bool:
    """Return whether an entry, which is one of `entries_of`, says that it happened."""
    if entry.kind == OutboxKind.EVENT:
        return happening["title"] in ("", entry.title)
    return happening.get("match") != "all" or _has_all(happening, entry.contact_id)


def _has_all(happening: Happening, contact_id: int) -> bool:
    """Return whether a contact has all labels that were to be added, or none of the others."""
    _, kind = LABEL_KINDS[happening["type"]]
    number = _number_of_labels(kind, happening[kind], contact_id)
    return number == (len(happening[kind]) if happening["type"] in ADDED else 0)


def _number_of_labels(kind: LabelKind, label_ids: list[int], contact_id: int) -> int:
    rows, column = memberships(kind)
    return rows.filter(Q(**{f"{column}__in": label_ids}), subscriber_id=contact_id).count()


def is_awaited(run: Run, step: Mapping[str, Any] | None, entry: Entry) -> bool:
    """Return whether a run waits at a step for what an entry says."""
    if step is None or step["type"] != "wait_until" or run.entered_at is None or run.happened:
        return False
    happening = step["happens"]
    if (entry.kind, entry.key) not in {*entries_of(happening)} or not matches(happening, entry):
        return False
    if run.due_at and entry.created_at > run.due_at:
        # The time has ended before.
        return False
    if step["since"] == "here" and entry.created_at < run.entered_at:
        return False
    if step["since"] == "start":
        source = (run.source_at, run.occurrence_id or 0)
        if (entry.occurred_at, entry.occurrence_id or 0) < source:
            return False
    if entry.occurrence_id is not None and entry.occurrence_id == run.occurrence_id:
        return False
    return _is_same(step["same"], run, entry.occurrence_id)


def happened_before(run: Run, step: Mapping[str, Any]) -> bool:
    """Return whether what a step waits for has happened since the run started.

    Labels and the status have no times: the contact has what is awaited, or has not.
    """
    happening = step["happens"]
    contact_id = run.subscriber_id
    kind = happening["type"]
    if kind == "status_changed":
        return Subscriber.objects.filter(pk=contact_id, status__in=happening["statuses"]).exists()
    if kind in LABEL_KINDS:
        if happening["match"] == "all":
            return _has_all(happening, contact_id)
        _, labels = LABEL_KINDS[kind]
        number = _number_of_labels(labels, happening[labels], contact_id)
        return number > 0 if kind in ADDED else number < len(happening[labels])
    parameters = {
        "contact": contact_id,
        "key": happening["event_key"],
        "title": happening["title"],
        "since": run.source_at,
        "source": run.occurrence_id,
    }
    if not step["same"]:
        return fetch_row(f"{OCCURRED} LIMIT 1", parameters) is not None
    found = fetch_rows(f"{OCCURRED} LIMIT 1000", parameters)
    return any(_is_same(step["same"], run, occurrence_id) for (occurrence_id,) in found)


def _is_same(path: str, run: Run, occurrence_id: int | None) -> bool:
    """Return whether two occurrences have the same property, or no property is to be the same."""
    if not path:
        return True
    own = property_of(run.subscriber_id, run.occurrence_id, path)
    return own is not None and own == property_of(run.subscriber_id, occurrence_id, path)
