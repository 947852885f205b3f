"""Track a batch of events: one statement for all, and an outcome for each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import orjson
from django.db import transaction
from django.utils import timezone

from config.api.errors import ApiError
from config.api.warnings import FieldWarning, Warnings
from config.database import fetch_rows, in_transaction, retry_on_deadlock
from crm.aliases import find_holders
from crm.models import NewContacts
from events.models import TrackedEvent
from events.signals import event_tracked
from events.tracking import PYTHON_CREDENTIAL, create_contacts, to_new_contacts
from events.tracking.errors import NotEnabled
from events.tracking.fields import EventFields, parse_event
from events.tracking.item_statements import TRACK_MANY
from events.tracking.retries import earlier_results, replay
from events.tracking.writing import (
    Write,
    batch_item,
    contact_error,
    is_unnamed,
    name_of,
    own_email_key,
)


class Tracked(NamedTuple):
    """A counted event of a batch: its id, the counter that it made, and what was cut of it."""

    event_id: int
    counter: int
    replayed: bool = False
    warnings: Sequence[FieldWarning] = ()


class RolledBack(ApiError):
    """424: a valid event of an atomic batch in which another event was rejected."""

    status_code = 424

    def __init__(self) -> None:
        super().__init__({"message": "Not tracked: another event of the batch was refused"})


Outcome = Tracked | ApiError
# By the number of the item in the batch, from 0.
Outcomes = dict[int, Outcome]
Events = Mapping[int, EventFields]


class _Rollback(Exception):
    """Roll an atomic batch back. `args[0]` holds the outcome that each event would have had."""


class _Repeat(Exception):
    """Roll an atomic batch back and repeat it, because `_write` left an outcome out."""


def track_many(
    items: Iterable[Mapping[str, Any] | ApiError],
    *,
    created_by: int | None = None,
    credential: str = PYTHON_CREDENTIAL,
    new_contacts: str = "",
    user_source: str = "",
    atomic: bool = False,
) -> list[Outcome]:
    """Count many events.

    Items with the same contact, key and title count up in the order of `items`. Of items with the
    same idempotency key the later ones are retries of the first.

    Args:
        items: the `data` of `track`, or errors that are outcomes already.
        created_by: id of the calling user, as for `track`.
        credential: the owner of the idempotency keys, as for `track`.
        new_contacts: what happens to events of unknown e-mails, as for `track`.
        user_source: the source of the user_ids, as for `track`.
        atomic: whether one rejected event rolls all others back. Otherwise valid events are
            committed although others are rejected.

    Returns:
        An outcome for each item, in their order.

    Raises:
        NotEnabled: tracking is switched off.
        ValueError: `new_contacts` is no value of NewContacts.
    """
    choice = to_new_contacts(new_contacts)
    warnings: dict[int, Warnings] = {}
    rejected, valid = _parse(items, warnings)

    def write(events: Events) -> Outcomes:
        return _write(events, created_by, credential, user_source, choice)

    if atomic:
        outcomes = _write_all_or_none(rejected, valid, write)
    else:
        outcomes = rejected
        # It repeats only for events whose key was pruned, or whose contact was merged, just now.
        while pending := {number: valid[number] for number in valid if number not in outcomes}:
            outcomes |= write(pending)
    return [_with_warnings(outcomes[n], warnings.get(n, ())) for n in range(len(outcomes))]


def _with_warnings(outcome: Outcome, warnings: Sequence[FieldWarning]) -> Outcome:
    if warnings and isinstance(outcome, Tracked):
        return outcome._replace(warnings=warnings)
    return outcome


def _parse(
    items: Iterable[Mapping[str, Any] | ApiError], warnings: dict[int, Warnings]
) -> tuple[Outcomes, Events]:
    """Return the outcomes of invalid items and the fields of valid ones, and collect warnings."""
    rejected: Outcomes = {}
    valid: dict[int, EventFields] = {}
    for number, item in enumerate(items):
        try:
            if isinstance(item, ApiError):
                raise item
            warnings[number] = []
            valid[number] = parse_event(item, warnings=warnings[number])
        except ApiError as error:
            rejected[number] = error
    return rejected, valid


def _write_all_or_none(
    rejected: Outcomes, valid: Events, write: Callable[[Events], Outcomes]
) -> Outcomes:
    @in_transaction
    def write_all() -> Outcomes:
        outcomes = rejected | (write(valid) if valid else {})
        if len(outcomes) < len(rejected) + len(valid):
            raise _Repeat
        if any(isinstance(outcome, ApiError) for outcome in outcomes.values()):
            raise _Rollback(outcomes)
        return outcomes

    while True:
        try:
            return write_all()
        except _Repeat:
            # In a transaction of its own, because a second statement in the same one would take
            # its locks out of order.
            continue
        except _Rollback as rollback:
            return {
                number: outcome if isinstance(outcome, ApiError) else RolledBack()
                for number, outcome in rollback.args[0].items()
            }


def _write(
    events: Events,
    created_by: int | None,
    credential: str,
    user_source: str,
    new_contacts: NewContacts,
) -> Outcomes:
    """Run one statement and return the outcome of each event; a second if contacts are created.

    The outcome is missing of an event whose key was claimed, and pruned before it was read, or
    whose contact was merged into another one while the statement waited for it.
    """
    now = timezone.now()
    unnamed = any(is_unnamed(fields) for fields in events.values())
    own_key = own_email_key(created_by) if unnamed else ""
    items = [
        batch_item(number, Write(fields, created_by, credential, user_source), now, own_key)
        for number, fields in events.items()
    ]
    parameters = {"events": orjson.dumps(items).decode(), "now": now}
    outcomes: Outcomes = {}
    without_contact: list[int] = []
    claimed: list[int] = []
    for is_enabled, number, contact_id, event_id, counter in retry_on_deadlock(
        lambda: fetch_rows(TRACK_MANY, parameters)
    ):
        if not is_enabled:
            raise NotEnabled
        if contact_id is None:
            without_contact.append(number)
        elif event_id is None:
            claimed.append(number)
        else:
            outcomes[number] = Tracked(event_id, counter)
    _send_signals([outcome for outcome in outcomes.values() if isinstance(outcome, Tracked)])
    # Also where there is no contact, because it may have had another e-mail at the first request.
    keys = {
        number: key
        for number in (*claimed, *without_contact)
        if (key := events[number].idempotency_key)
    }
    first_uses = {events[number].idempotency_key: number for number in outcomes}
    outcomes |= _replay_all(keys, events, credential, user_source, first_uses)
    missing = {number: events[number] for number in without_contact if number not in outcomes}
    names = {number: name_of(fields, own_key) for number, fields in missing.items()}
    holders = find_holders({*names.values()}, user_source) if names else {}
    missing = {number: missing[number] for number in missing if names[number] not in holders}
    if create_contacts((fields.email for fields in missing.values()), new_contacts):
        return outcomes | _write(missing, created_by, credential, user_source, NewContacts.NONE)
    return outcomes | {number: contact_error(fields) for number, fields in missing.items()}


def _replay_all(
    keys: Mapping[int, str],
    events: Events,
    credential: str,
    user_source: str,
    first_uses: Mapping[str, int],
) -> Outcomes:
    """Return the outcomes of retries, by the results of the first uses of their keys.

    Args:
        keys: the idempotency keys of events that were not counted, by the number of the item.
        events: the fields of the events, by the number of the item.
        credential: the owner of the keys.
        user_source: the source of the user_ids.
        first_uses: the keys that this statement claimed, and the number of the item that did.
    """
    outcomes: Outcomes = {}
    results = earlier_results(credential, list(keys.values())) if keys else {}
    for number, key in keys.items():
        # A later item of this batch is no earlier request.
        if key not in results or first_uses.get(key, -1) >= number:
            continue
        try:
            event = replay(events[number], results[key], user_source)
            outcomes[number] = Tracked(event.id, event.counter, replayed=True)
        except ApiError as error:
            outcomes[number] = error
    return outcomes


def _send_signals(tracked: Sequence[Tracked]) -> None:
    """Send event_tracked for each event once they are committed, if there is a receiver."""
    if not event_tracked.receivers:
        return

    def send() -> None:
        ids = [outcome.event_id for outcome in tracked]
        rows = TrackedEvent.objects.select_related("subscriber").defer("subscriber__custom_values")
        events = rows.in_bulk(ids)
        for outcome in tracked:
            if event := events.get(outcome.event_id):  # None: deleted meanwhile
                # A copy, because several items of one event have different counters.
                counted = copy(event)
                counted.counter = outcome.counter
                event_tracked.send(TrackedEvent, event=counted, subscriber=counted.subscriber)

    transaction.on_commit(send)
