"""The one writer of events. Every protocol, the Python API and the signal end in `track`."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from psycopg.errors import ForeignKeyViolation

from config.database import fetch_row, tried_again
from config.errors import ApiError
from events.models import TrackedEvent
from events.serializers import EventFields, event_fields
from events.signals import event_tracked


class TrackingError(ApiError):
    """An event that could not be tracked; `code` is FluentCRM's."""

    code: str
    message: str

    def __init__(self) -> None:
        super().__init__(422, {"message": self.message, "error_code": self.code})


class NotEnabled(TrackingError):
    """Tracking is switched off."""

    code = "not_enabled"
    message = "Event Tracker is not enabled"


class SubscriberNotFound(TrackingError):
    """The event names a contact that is not there."""

    code = "subscriber_not_found"
    message = "Subscriber not found"


class CurrentSubscriberNotFound(SubscriberNotFound):
    """The event names nobody, and the caller is no contact."""

    message = "Current Subscriber could not be found"


# The whole of tracking, in one statement and one commit. One row comes back, whatever happened:
# whether tracking is on, the contact, and the event.
TRACK = """
WITH switch AS (
    -- No row: nobody has touched it, and tracking is on.
    SELECT COALESCE((SELECT enabled FROM events_trackingswitch), true) AS enabled
), contact AS (
    -- Deleting a contact waits for us, or we wait for it and find nobody: nothing is orphaned.
    SELECT id FROM crm_subscriber
    WHERE {contact} AND (SELECT enabled FROM switch)
    FOR KEY SHARE
), event AS (
    INSERT INTO events_trackedevent AS t
        (subscriber_id, event_key, title, value, provider, counter, unlogged, repeatable,
         created_by_id, created_at, updated_at)
    SELECT id, %(event_key)s, %(title)s, %(value)s, %(provider)s, 1, 0, %(repeatable)s,
           %(created_by)s, %(now)s, %(now)s
    FROM contact
    -- Rows that do not repeat are outside the index: they never conflict.
    ON CONFLICT (subscriber_id, event_key, title) WHERE repeatable DO UPDATE SET
        counter = t.counter + excluded.counter,
        -- Two posts can commit in the other order than they came: the later one's value stays,
        -- and a clock that jumps back moves nothing back.
        value = CASE WHEN excluded.updated_at >= t.updated_at THEN excluded.value ELSE t.value END,
        updated_at = GREATEST(t.updated_at, excluded.updated_at),
        created_at = LEAST(t.created_at, excluded.created_at)
    -- All columns, in the order of TrackedEvent's fields.
    RETURNING id, subscriber_id, event_key, title, value, provider, counter, unlogged, repeatable,
              created_by_id, created_at, updated_at
), occurrence AS (
    INSERT INTO events_eventoccurrence
        (event_id, subscriber_id, event_key, provider, value, counter, properties, context,
         occurred_at, received_at)
    SELECT id, subscriber_id, event_key, %(provider)s, %(value)s, counter, '{{}}', '{{}}',
           %(now)s, %(now)s
    FROM event
)
SELECT switch.enabled, event.*
FROM switch LEFT JOIN event ON true
"""
TRACK_BY_ID = TRACK.format(contact="id = %(who)s")
# lower(), for which there is an index, and not Django's iexact, which writes UPPER().
TRACK_BY_EMAIL = TRACK.format(contact="lower(email) = lower(%(who)s)")
TRACK_BY_USER = TRACK.format(
    contact="lower(email) = (SELECT lower(email) FROM auth_user WHERE id = %(who)s AND email > '')"
)


def track(
    data: Mapping[str, Any], repeatable: bool = True, *, created_by: int | None = None
) -> TrackedEvent:
    """Count an event on its contact and keep the occurrence: FluentCRM's track().

    `data` has event_key and title, and may have value, provider, and one of subscriber_id, email
    and user_id; `created_by` is the id of the user who calls, whose own contact is meant if none
    is named. `repeatable` false, here or in `data`, makes a row of its own. When it returns the
    event is committed, unless it runs inside a transaction of yours.

    Raises InvalidFields, NotEnabled, SubscriberNotFound, CurrentSubscriberNotFound.
    """
    fields = event_fields(data)
    event = _write(fields, repeatable and fields.repeatable, created_by)
    if event_tracked.receivers:
        transaction.on_commit(
            lambda: event_tracked.send(TrackedEvent, event=event, subscriber=event.subscriber)
        )
    return event


def track_on_signal(
    sender: object,  # noqa: ARG001
    data: Mapping[str, Any],
    repeatable: bool = True,
    **_: object,
) -> TrackedEvent:
    """The receiver of track_event_activity."""
    return track(data, repeatable)


def delete_events_of(contact_ids: Sequence[int]) -> None:
    """Delete the events and occurrences of contacts that delete_contacts holds locked."""
    with connection.cursor() as cursor:
        for table in ("events_trackedevent", "events_eventoccurrence"):
            cursor.execute(
                f"DELETE FROM {table} WHERE subscriber_id = ANY(%s::bigint[])",  # noqa: S608
                [list(contact_ids)],
            )


def _write(fields: EventFields, repeatable: bool, created_by: int | None) -> TrackedEvent:
    who: int | str | None
    if fields.subscriber_id:
        statement, who = TRACK_BY_ID, fields.subscriber_id
    elif fields.email:
        statement, who = TRACK_BY_EMAIL, fields.email
    else:
        statement, who = TRACK_BY_USER, fields.user_id or created_by
    parameters = {
        "who": who,
        "event_key": fields.event_key,
        "title": fields.title,
        "value": fields.value,
        "provider": fields.provider,
        "repeatable": repeatable,
        "created_by": created_by,
        "now": timezone.now(),
    }
    try:
        row = tried_again(lambda: fetch_row(statement, parameters))
    except IntegrityError as error:
        # A contact deleted by somebody who takes no locks, between our look and our row.
        if isinstance(error.__cause__, ForeignKeyViolation):
            raise SubscriberNotFound from error
        raise
    assert row is not None  # one row, always
    enabled, *columns = row
    if not enabled:
        raise NotEnabled
    event = TrackedEvent(*columns)
    if event.id is not None:
        return event
    if fields.subscriber_id or fields.email or fields.user_id:
        raise SubscriberNotFound
    raise CurrentSubscriberNotFound
