"""The calls about events at FluentCRM's addresses, its own and ours, and the switch."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.errors import ApiError, InvalidFields
from config.api.pagination import page_of, page_size
from config.api.parsers import JSONParser, NDJSONParser, parse_query, request_params
from config.api.validation import (
    MAX_ITEMS,
    TOO_MANY_ITEMS,
    InvalidValue,
    Validator,
    clamp_id,
    single_line,
    validate,
)
from crm.authentication import caller_of
from crm.models import Scope
from crm.permissions import Access
from events.api import schema
from events.api.serializers import REPLAYED, TIMELINE_FIELDS, event_data
from events.history import Timeline, count_events, events_of, find_event, occurrences_of
from events.models import TrackedEvent, TrackingSwitch
from events.tracking import track
from events.tracking.batches import Outcome, RolledBack, Tracked, track_many

ATOMIC_WORDS = {"1": True, "true": True, "0": False, "false": False, "": False}
KEY_PER_EVENT = "In a batch each event has an idempotency_key of its own, not the request."
SWITCH_WORDS = {"yes": True, "no": False, True: True, False: False}


class EventViewSet(ViewSet):
    """`/subscribers/track-event` and `/subscribers/{id}/tracking-events`."""

    access: ClassVar[dict[str, Access]] = {
        "track": Access(Scope.TRACK, "events.add_trackedevent"),
        "index": Access(Scope.READ, "events.view_trackedevent"),
        "occurrences": Access(Scope.READ, "events.view_eventoccurrence"),
        "timeline": Access(Scope.READ, "events.view_eventoccurrence"),
    }

    @schema.TRACK_EVENT
    def track(self, request: Request) -> Response:
        """Count an event on its contact."""
        caller = caller_of(request)
        event = track(
            request_params(request),
            created_by=caller.user_id,
            idempotency_key=request.META.get("HTTP_IDEMPOTENCY_KEY"),
            credential=f"password:{caller.credential_id}",
        )
        answer = {"message": "Event has been tracked", "id": event.id}
        return Response(answer, headers=REPLAYED if event.replayed else None)

    @schema.TRACKING_EVENTS
    def index(self, request: Request, contact_id: str) -> Response:
        """A page of a contact's events, the newest first."""
        number = clamp_id(contact_id)
        total = count_events(number)

        def rows(start: int, stop: int) -> Iterable[dict[str, Any]]:
            return map(event_data, events_of(number, start, stop))

        return Response({"events": page_of(request, total, rows)})

    @schema.OCCURRENCES
    def occurrences(self, request: Request, contact_id: str, event_id: str) -> Response:
        """A page of the times that an event happened, the newest first."""
        event = find_event(clamp_id(contact_id), clamp_id(event_id))

        def rows(start: int, stop: int) -> Iterable[dict[str, Any]]:
            return occurrences_of(event, start, stop)

        return Response({"occurrences": page_of(request, event.occurrences, rows)})

    @schema.TIMELINE
    def timeline(self, request: Request, contact_id: str) -> Response:
        """All that a contact did, each time of it, the newest first; on from a cursor."""
        given = request_params(request)
        asked = validate(TIMELINE_FIELDS, given)
        timeline = Timeline(
            contact_id=clamp_id(contact_id),
            event_key=asked.get("event_key", ""),
            provider=asked.get("provider", ""),
            since=asked.get("from"),
            until=asked.get("to"),
        )
        data, following = timeline.page(page_size(given), asked.get("cursor"))
        next_cursor = str(following) if following else None
        return Response({"timeline": {"data": data, "next_cursor": next_cursor}})


class BatchViewSet(ViewSet):
    """`/subscribers/track-events`: up to 1,000 events in one request."""

    access: ClassVar[dict[str, Access]] = {
        "track_many": Access(Scope.TRACK, "events.add_trackedevent"),
    }
    parser_classes = (JSONParser, NDJSONParser)

    @schema.TRACK_EVENTS
    def track_many(self, request: Request) -> Response:
        """Count many events, and tell what became of each."""
        if "HTTP_IDEMPOTENCY_KEY" in request.META:
            raise InvalidFields({"idempotency_key": {"per_event": KEY_PER_EVENT}})
        body = request.data if isinstance(request.data, dict) else {}
        query = parse_query(request.META.get("QUERY_STRING", ""))
        given = {"events": body.get("events"), "atomic": query.get("atomic", "")}
        asked = validate(BATCH_FIELDS, given, required=("events",))
        caller = caller_of(request)
        outcomes = track_many(
            [event if isinstance(event, ApiError | dict) else {} for event in asked["events"]],
            created_by=caller.user_id,
            credential=f"password:{caller.credential_id}",
            atomic=asked["atomic"],
        )
        tracked = [outcome for outcome in outcomes if isinstance(outcome, Tracked)]
        refused = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
        undone = asked["atomic"] and bool(refused)
        answer = {
            "tracked": len(tracked),
            "failed": sum(not isinstance(outcome, RolledBack) for outcome in refused),
            "results": [outcome_data(outcome) for outcome in outcomes],
        }
        again = bool(tracked) and all(outcome.replayed for outcome in tracked)
        return Response(answer, status=422 if undone else 200, headers=REPLAYED if again else None)


def to_event_list(value: Any) -> list[Any]:
    """The events of a batch. Raises Wrong."""
    if not isinstance(value, list):
        raise InvalidValue("array")
    if len(value) > MAX_ITEMS:
        raise InvalidValue("max", TOO_MANY_ITEMS)
    return value


def to_atomic(value: Any) -> bool:
    """`atomic` of a query string. Raises Wrong."""
    if not isinstance(value, str) or value not in ATOMIC_WORDS:
        raise InvalidValue("boolean")
    return ATOMIC_WORDS[value]


BATCH_FIELDS: dict[str, Validator] = {"events": to_event_list, "atomic": to_atomic}


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    """What became of an event of a batch: its id and count, or the single call's refusal."""
    if isinstance(outcome, Tracked):
        return {"id": outcome.event_id, "counter": str(outcome.counter)}
    return {"status": outcome.status, **outcome.body}


class ExperimentViewSet(ViewSet):
    """`/setting/experiments`: of FluentCRM's experiments we have event tracking."""

    access: ClassVar[dict[str, Access]] = {
        "show": Access(Scope.READ, "events.view_trackingswitch"),
        "update": Access(Scope.MANAGE, "events.change_trackingswitch"),
    }

    @schema.EXPERIMENTS
    def show(self, request: Request) -> Response:  # noqa: ARG002
        """Whether events are tracked."""
        word = "yes" if TrackingSwitch.is_enabled() else "no"
        return Response({"settings": {"event_tracking": word}})

    @schema.UPDATE_EXPERIMENTS
    def update(self, request: Request) -> Response:
        """Switch tracking on or off, in every worker from the next request on."""
        given: Mapping[str, Any] = request_params(request)
        if isinstance(given.get("settings"), dict):
            given = given["settings"]
        if "event_tracking" in given:
            word = given["event_tracking"]
            if not isinstance(word, str | bool) or word not in SWITCH_WORDS:
                text = "The event_tracking must be yes or no."
                raise InvalidFields({"event_tracking": {"in": text}})
            TrackingSwitch.set_enabled(SWITCH_WORDS[word])
        return Response({"message": "Settings has been updated"})


class OptionViewSet(ViewSet):
    """`/reports/ajax-options`: choices for a form."""

    access: ClassVar[dict[str, Access]] = {"index": Access(Scope.READ, "events.view_trackedevent")}

    @schema.OPTIONS
    def index(self, request: Request) -> Response:
        """The keys, or the providers, of the events that contacts have; of others no options."""
        asked = validate({"option_key": single_line(64)}, request_params(request))
        column = OPTION_COLUMNS.get(asked.get("option_key", ""))
        if column is None:
            return Response({"options": []})
        values = TrackedEvent.objects.order_by(column).values_list(column, flat=True)
        return Response({"options": [{"id": one, "title": one} for one in values.distinct()]})


OPTION_COLUMNS = {"event_tracking_keys": "event_key", "event_tracking_providers": "provider"}
