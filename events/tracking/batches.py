"""Many events at once: one statement for all, and an answer for each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import orjson
from django.db import transaction
from django.utils import timezone

from config.api.errors import ApiError
from config.database import fetch_rows, in_transaction, retry_on_deadlock
from events.api.serializers import EventFields, parse_event
from events.models import TrackedEvent
from events.signals import event_tracked
from events.tracking import (
    PYTHON_CREDENTIAL,
    NotEnabled,
    earlier_results,
    fingerprint,
    not_found,
    replay,
)
from events.tracking.statements import TRACK_MANY


class Tracked(NamedTuple):
    """An event of a batch that is counted: its id, and the count it made."""

    event_id: int
    counter: int
    replayed: bool = False


class RolledBack(ApiError):
    """424: a good event of an atomic batch in which another one was refused."""

    def __init__(self) -> None:
        super().__init__(424, {"message": "Not tracked: another event of the batch was refused"})


Outcome = Tracked | ApiError


class _Rollback(Exception):
    """Rolls an atomic batch back, and carries what would have become of each event."""


class _KeyPruned(Exception):
    """Rolls an atomic batch back to begin anew: a key was claimed, and then there was no claim."""


def track_many(
    items: Iterable[Mapping[str, Any] | ApiError],
    *,
    created_by: int | None = None,
    credential: str = PYTHON_CREDENTIAL,
    atomic: bool = False,
) -> list[Outcome]:
    """Count many events; what became of each, in the order of `items`.

    An item is the `data` of track(), or an error that takes its place in the answer. Good events
    are committed although others are refused; with `atomic`, all of them or none. Items with the
    same contact, key and title count up in the order of `items`; of items with the same idempotency
    key the later ones are retries of the first. Raises NotEnabled.
    """
    refused, good = _read(items)
    contents = {
        number: fingerprint(fields) for number, fields in good.items() if fields.idempotency_key
    }

    def write(waiting: Mapping[int, EventFields]) -> dict[int, Outcome]:
        return _write(waiting, contents, created_by, credential)

    if atomic:
        outcomes = _all_or_none(refused, good, write)
    else:
        outcomes = refused
        # More than once only if a key was pruned just now.
        while waiting := {number: good[number] for number in good if number not in outcomes}:
            outcomes |= write(waiting)
    return [outcomes[number] for number in range(len(outcomes))]


def _read(
    items: Iterable[Mapping[str, Any] | ApiError],
) -> tuple[dict[int, Outcome], dict[int, EventFields]]:
    """The items that are wrong already, and the fields of the others, by their number."""
    refused: dict[int, Outcome] = {}
    good: dict[int, EventFields] = {}
    for number, item in enumerate(items):
        try:
            if isinstance(item, ApiError):
                raise item
            good[number] = parse_event(item)
        except ApiError as error:
            refused[number] = error
    return refused, good


def _all_or_none(
    refused: dict[int, Outcome],
    good: Mapping[int, EventFields],
    write: Callable[[Mapping[int, EventFields]], dict[int, Outcome]],
) -> dict[int, Outcome]:
    def work() -> dict[int, Outcome]:
        outcomes = refused | (write(good) if good else {})
        if len(outcomes) < len(refused) + len(good):
            raise _KeyPruned
        if any(isinstance(outcome, ApiError) for outcome in outcomes.values()):
            raise _Rollback(outcomes)
        return outcomes

    while True:
        try:
            return in_transaction(work)()
        except _KeyPruned:
            # From the start: a second statement here would take its locks out of order.
            continue
        except _Rollback as undone:
            return {
                number: outcome if isinstance(outcome, ApiError) else RolledBack()
                for number, outcome in undone.args[0].items()
            }


def _write(
    waiting: Mapping[int, EventFields],
    contents: Mapping[int, bytes],
    created_by: int | None,
    credential: str,
) -> dict[int, Outcome]:
    """One statement; what became of each event. One is missing if its key was pruned just now."""
    now = timezone.now()
    rows = [
        {
            "n": number,
            "subscriber_id": fields.subscriber_id,
            "email": fields.email,
            "user_id": 0 if fields.subscriber_id or fields.email else fields.user_id or created_by,
            "event_key": fields.event_key,
            "title": fields.title,
            "value": fields.value,
            "provider": fields.provider,
            "repeatable": fields.repeatable,
            "properties": fields.properties,
            "context": fields.context,
            "occurred_at": fields.occurred_at or now,
            "idempotency_key": fields.idempotency_key,
            "content": contents[number].hex() if fields.idempotency_key else "",
        }
        for number, fields in waiting.items()
    ]
    parameters = {
        "events": orjson.dumps(rows).decode(),
        "credential": credential,
        "created_by": created_by,
        "now": now,
    }
    outcomes: dict[int, Outcome] = {}
    strangers: list[int] = []
    claimed: list[int] = []
    for enabled, number, contact_id, event_id, counter in retry_on_deadlock(
        lambda: fetch_rows(TRACK_MANY, parameters)
    ):
        if not enabled:
            raise NotEnabled
        if contact_id is None:
            strangers.append(number)
        elif event_id is None:
            claimed.append(number)
        else:
            outcomes[number] = Tracked(event_id, counter)
    _announce([outcome for outcome in outcomes.values() if isinstance(outcome, Tracked)])
    # What is not there may have been: with its key it was counted before its e-mail changed.
    asking = {
        number: key for number in (*claimed, *strangers) if (key := waiting[number].idempotency_key)
    }
    earlier = earlier_results(credential, list(asking.values())) if asking else {}
    made_here = {waiting[number].idempotency_key: number for number in outcomes}
    for number, key in asking.items():
        # Not what a later item of this batch did.
        if key in earlier and made_here.get(key, -1) < number:
            try:
                event = replay(contents[number], earlier[key])
                outcomes[number] = Tracked(event.id, event.counter, replayed=True)
            except ApiError as error:
                outcomes[number] = error
    for number in strangers:
        outcomes.setdefault(number, not_found(waiting[number]))
    return outcomes


def _announce(tracked: Sequence[Tracked]) -> None:
    """Send event_tracked for each once they are committed, if anybody listens."""
    if not event_tracked.receivers:
        return

    def send() -> None:
        ids = [outcome.event_id for outcome in tracked]
        events = TrackedEvent.objects.select_related("subscriber").in_bulk(ids)
        for outcome in tracked:
            if event := events.get(outcome.event_id):  # None: deleted meanwhile
                own = copy(event)  # of several on one event, each has its own count
                own.counter = outcome.counter
                event_tracked.send(TrackedEvent, event=own, subscriber=own.subscriber)

    transaction.on_commit(send)
