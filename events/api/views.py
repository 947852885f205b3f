"""FluentCRM's endpoints of events, and those of Tallybook: occurrences, timelines, batches."""

from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal, TypedDict

from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.errors import ApiError, InvalidFields, ObjectNotFound
from config.api.json_fields import json_text_or, to_fields
from config.api.parsers import JSONParser, NDJSONParser, lower_names
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import (
    MAX_ITEMS,
    MAX_NAME_LENGTH,
    TOO_MANY_ITEMS,
    WHITESPACE,
    InvalidValue,
    Validator,
    clamp_id,
    php_list,
    single_line,
    to_datetime,
    to_strict_bool,
    to_text,
    validate,
)
from config.api.viewsets import ApiViewSet
from config.api.warnings import MAX_CHOICES, FieldWarning, Warnings, capped, with_warnings
from config.audit import of_ids, record
from crm.api.merged import MergedContactMixin
from crm.models import ApplicationPassword, Scope, Subscriber
from crm.permissions import Access
from events import tracking
from events.api import schema
from events.api.pagination import EventPagination, OccurrencePagination, TimelinePagination
from events.api.serializers import OccurrenceSerializer, TrackedEventSerializer
from events.filters.options import distinct_values
from events.history import MICROSECOND, Cursor, Timeline
from events.models import EventOccurrence, TrackingSwitch
from events.tracking.batches import Outcome, RolledBack, Tracked, track_many
from events.tracking.corrections import Corrected, take_back, take_back_by_key
from events.tracking.fields import MAX_PROVIDER_LENGTH, to_idempotency_key, without_foreign_fields

# The header of a response that repeats an earlier one.
REPLAYED = {"Idempotency-Replayed": "true"}
KEY_PER_EVENT = "In a batch each event has an idempotency_key of its own, not the request."
NO_SWITCH: FieldWarning = {
    "field": "event_tracking",
    "rule": "required",
    "message": "The settings have no event_tracking, so that tracking stays as it is.",
}
OPTION_COLUMNS: dict[str, Literal["event_key", "provider"]] = {
    "event_tracking_keys": "event_key",
    "event_tracking_providers": "provider",
}


def to_event_list(value: Any) -> list[Any]:
    """Return the events of a batch.

    Raises:
        InvalidValue: not a list, or over 1,000 events.
    """
    value = php_list(value)
    if not isinstance(value, list):
        raise InvalidValue("array")
    if len(value) > MAX_ITEMS:
        raise InvalidValue("max", TOO_MANY_ITEMS)
    return value


def to_atomic(value: Any) -> bool:
    """Convert the parameter `atomic`: a word for true or false; null and "" are false."""
    return value is not None and value != "" and to_strict_bool(value)


def to_inclusive_end(value: Any) -> datetime | None:
    """Convert to the last microsecond of what is written: of a date, a second, or a fraction.

    "2024-01-17" is 2024-01-17 23:59:59.999999, "2024-01-17 10:00:00" is 10:00:00.999999.
    """
    end = to_datetime(value)
    if end is None or "." in str(value):
        return end
    is_date = len(str(value).strip(WHITESPACE)) == len("2024-01-17")
    return end + (timedelta(days=1) if is_date else timedelta(seconds=1)) - MICROSECOND


def to_cursor(value: Any) -> Cursor | None:
    """Convert a `next_cursor` of an earlier page; null and "" are None."""
    if value in (None, ""):
        return None
    try:
        return Cursor.parse(to_text(value))
    except (ValueError, OverflowError):
        raise InvalidValue("cursor", "The {field} is not one of ours.") from None


BATCH_FIELDS: dict[str, Validator] = {"events": to_event_list, "atomic": to_atomic}
TIMELINE_FIELDS: dict[str, Validator] = {
    "event_key": single_line(MAX_NAME_LENGTH),
    "provider": single_line(MAX_PROVIDER_LENGTH),
    "from": to_datetime,
    "to": to_inclusive_end,
    "cursor": to_cursor,
}


class EventViewSet(MergedContactMixin):
    """The endpoints of events below `/subscribers`."""

    access: ClassVar[dict[str, Access]] = {
        "track_event": Access(Scope.TRACK, "events.add_trackedevent"),
        "track_events": Access(Scope.TRACK, "events.add_trackedevent"),
        "tracking_events": Access(Scope.READ, "events.view_trackedevent"),
        "occurrences": Access(Scope.READ, "events.view_eventoccurrence"),
        "timeline": Access(Scope.READ, "events.view_eventoccurrence"),
        "take_back": Access(Scope.MANAGE, "events.delete_eventoccurrence"),
        "take_back_event": Access(Scope.MANAGE, "events.delete_eventoccurrence"),
    }
    lookup_url_kwarg = "contact_id"
    lookup_value_regex = ID_REGEX

    @schema.TRACK_EVENT
    @action(detail=False, methods=["post"], url_path="track-event")
    def track_event(self, request: Request) -> Response:
        """Count an event on its contact."""
        warnings: Warnings = []
        event = tracking.track(
            without_foreign_fields(self.params, warnings),
            idempotency_key=request.META.get("HTTP_IDEMPOTENCY_KEY"),
            **caller(request),
            warnings=warnings,
        )
        body = {"message": "Event has been tracked", "id": event.id}
        return Response(with_warnings(body, warnings), headers=REPLAYED if event.replayed else None)

    @schema.TRACK_EVENTS
    @action(
        detail=False,
        methods=["post"],
        url_path="track-events",
        parser_classes=(JSONParser, NDJSONParser),
    )
    def track_events(self, request: Request) -> Response:
        """Count up to 1,000 events, and report the outcome of each."""
        # In any case, because a batch that is not atomic although it was meant to be counts twice.
        params = lower_names(self.params)
        if "HTTP_IDEMPOTENCY_KEY" in request.META or params.get("idempotency_key"):
            raise InvalidFields({"idempotency_key": {"per_event": KEY_PER_EVENT}})
        batch = validate(BATCH_FIELDS, params, required=("events",))
        is_atomic = batch.get("atomic", False)
        outcomes = track_many(batch["events"], atomic=is_atomic, **caller(request))
        tracked = [outcome for outcome in outcomes if isinstance(outcome, Tracked)]
        rejected = [outcome for outcome in outcomes if isinstance(outcome, ApiError)]
        is_rolled_back = is_atomic and bool(rejected)
        is_replayed = bool(tracked) and all(outcome.replayed for outcome in tracked)
        return Response(
            {
                "tracked": len(tracked),
                "failed": sum(not isinstance(outcome, RolledBack) for outcome in rejected),
                "results": [outcome_data(outcome) for outcome in outcomes],
            },
            status=422 if is_rolled_back else 200,
            headers=REPLAYED if is_replayed else None,
        )

    @schema.TRACKING_EVENTS
    @action(
        detail=True,
        url_path="tracking-events",
        pagination_class=EventPagination,
        serializer_class=TrackedEventSerializer,
    )
    def tracking_events(self, request: Request, contact_id: str) -> Response:
        """List a contact's events, the newest first."""
        page = self.paginate_queryset(self.url_id)
        return self.get_paginated_response([*map(TrackedEventSerializer.of_values, page)])

    @schema.OCCURRENCES
    @action(
        detail=True,
        url_path=f"tracking-events/(?P<event_id>{ID_REGEX})/occurrences",
        pagination_class=OccurrencePagination,
        serializer_class=OccurrenceSerializer,
    )
    def occurrences(self, request: Request, contact_id: str, event_id: str) -> Response:
        """List an event's occurrences, the newest first."""
        page = self.paginate_queryset((self.url_id, clamp_id(event_id)))
        return self.get_paginated_response([*map(OccurrenceSerializer.of_values, page)])

    @schema.TAKE_BACK
    @action(
        detail=True,
        methods=["delete"],
        url_path=f"tracking-events/(?P<event_id>{ID_REGEX})/occurrences/"
        f"(?P<occurrence_id>{ID_REGEX})",
    )
    def take_back(
        self, request: Request, contact_id: str, event_id: str, occurrence_id: str
    ) -> Response:
        """Take an occurrence back, as if it had never been sent."""
        pk = clamp_id(occurrence_id)
        named = EventOccurrence.objects.filter(
            pk=pk, event_id=clamp_id(event_id), subscriber_id=self.url_id
        )
        corrected = take_back(self.url_id, [pk]) if named.exists() else []
        if not corrected:
            raise ObjectNotFound("Occurrence")
        return taken_back(request, pk, corrected[0])

    @schema.TAKE_BACK_EVENT
    @action(detail=False, methods=["post"], url_path="take-back-event")
    def take_back_event(self, request: Request) -> Response:
        """Take back the occurrence that was sent with an idempotency key."""
        fields = {"idempotency_key": to_idempotency_key}
        params = validate(fields, self.params, required=("idempotency_key",))
        pk, corrected = take_back_by_key(caller(request)["credential"], params["idempotency_key"])
        return taken_back(request, pk, corrected)

    @schema.TIMELINE
    @action(detail=True, pagination_class=TimelinePagination, serializer_class=OccurrenceSerializer)
    def timeline(self, request: Request, contact_id: str) -> Response:
        """List all occurrences of a contact, the newest first, from a cursor on."""
        params = validate(TIMELINE_FIELDS, self.params)
        timeline = Timeline(
            self.url_id,
            event_key=params.get("event_key", ""),
            provider=params.get("provider", ""),
            since=params.get("from"),
            until=params.get("to"),
            cursor=params.get("cursor"),
        )
        page = self.paginate_queryset(timeline)
        if not page and not Subscriber.objects.filter(id=self.url_id).exists():
            raise ObjectNotFound("Subscriber")
        return self.get_paginated_response([*map(OccurrenceSerializer.of_values, page)])


class Caller(TypedDict):
    """What the tracking functions need to know of the caller."""

    created_by: int
    credential: str
    new_contacts: str
    user_source: str


def caller(request: Request) -> Caller:
    """Return the calling user, the owner of the idempotency keys, and the password's settings."""
    password = request.auth
    assert isinstance(password, ApplicationPassword)
    return {
        "created_by": password.user_id,
        "credential": f"password:{password.pk}",
        "new_contacts": password.new_contacts,
        "user_source": password.user_source,
    }


def taken_back(request: Request, occurrence_id: int, corrected: Corrected) -> Response:
    """Write to the audit log that an occurrence was taken back, and return the response."""
    record(request, "taken back", what="occurrence", **of_ids([occurrence_id]))
    body = {"id": corrected.event_id, "counter": str(corrected.counter)}
    return Response({"message": "Event has been taken back", **body})


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    """Serialize an outcome of a batch: id and counter, or status and body of the rejection."""
    if isinstance(outcome, Tracked):
        body = {"id": outcome.event_id, "counter": str(outcome.counter)}
        return with_warnings(body, outcome.warnings)
    return {"status": outcome.status_code, **outcome.detail}


class SettingViewSet(ApiViewSet):
    """FluentCRM's experiments, of which Tallybook has event tracking: `/setting/experiments`."""

    access: ClassVar[dict[str, Access]] = {
        "experiments": Access(Scope.READ, "events.view_trackingswitch"),
        "update_experiments": Access(Scope.MANAGE, "events.change_trackingswitch"),
    }

    @schema.EXPERIMENTS
    @action(detail=False)
    def experiments(self, request: Request) -> Response:
        """Return whether tracking is enabled."""
        word = "yes" if TrackingSwitch.is_enabled() else "no"
        return Response({"settings": {"event_tracking": word}})

    @schema.UPDATE_EXPERIMENTS
    @experiments.mapping.post
    def update_experiments(self, request: Request) -> Response:
        """Enable or disable tracking, in every worker from the next request on."""
        nested = validate({"settings": json_text_or(to_fields)}, self.params)
        fields = validate({"event_tracking": to_strict_bool}, nested.get("settings") or self.params)
        warnings: Warnings = []
        if "event_tracking" in fields:
            TrackingSwitch.set_enabled(fields["event_tracking"])
        else:
            warnings.append(NO_SWITCH)
        return Response(with_warnings({"message": "Settings has been updated"}, warnings))


class ReportViewSet(ApiViewSet):
    """Choices for a form: `/reports/ajax-options`."""

    access: ClassVar[dict[str, Access]] = {
        "ajax_options": Access(Scope.READ, "events.view_trackedevent")
    }

    @schema.AJAX_OPTIONS
    @action(detail=False, url_path="ajax-options")
    def ajax_options(self, request: Request) -> Response:
        """Return the keys or the providers of events. Other option keys have no options.

        Of more than 10,000 it returns the first, and a warning.
        """
        params = validate({"option_key": single_line(64)}, self.params)
        column = OPTION_COLUMNS.get(params.get("option_key", ""))
        if column is None:
            return Response({"options": []})
        options, warnings = capped(distinct_values(column, MAX_CHOICES + 1), "options")
        body = {"options": [{"id": name, "title": name} for name in options]}
        return Response(with_warnings(body, warnings))
