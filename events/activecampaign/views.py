"""ActiveCampaign's endpoints: its event call, and switch and names of its API, version 3."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.timezone import now
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request

from config.api.errors import ApiError, InvalidFields, ObjectNotFound
from config.api.parsers import FormParser, MultiPartParser
from config.api.responses import Response
from config.api.validation import MAX_NAME_LENGTH, InvalidValue, single_line, validate
from config.api.viewsets import ApiViewSet
from config.api.warnings import Warnings, with_warnings
from config.audit import record, record_refusal
from config.refusals import refuse
from crm.activecampaign.fields import unwrap
from crm.activecampaign.viewsets import ApiV3ViewSet
from crm.models import Scope
from crm.permissions import Access
from events import tracking
from events.activecampaign import schema
from events.activecampaign.credentials import credentials_match
from events.activecampaign.fields import (
    ACCOUNT_FIELDS,
    CONTEXT_FIELDS,
    EVENT_FIELDS,
    NAME_FIELDS,
    SWITCH_FIELDS,
    TRACKING_FIELDS,
)
from events.activecampaign.pagination import EventNamePagination, EventNameSerializer
from events.api.views import REPLAYED
from events.models import EventName, TrackingSwitch
from events.tracking.errors import NotEnabled, SubscriberNotFound
from events.tracking.fields import without_foreign_fields

PROVIDER = "activecampaign"


class EventCallError(Exception):
    """The message of a response with success 0."""


class WrongTrackingKey(EventCallError):
    """The account ID or the event key is wrong."""


class EventCallViewSet(ApiViewSet):
    """The event call `/event`. Its fields actid and key are the credentials."""

    authentication_classes = ()
    permission_classes = ()
    parser_classes = (FormParser, MultiPartParser)

    @schema.EVENT_CALL
    @action(detail=False, methods=["post"])
    def event(self, request: Request) -> Response:
        """Count an event on the contact of `visit`; without an e-mail keep its name alone.

        A rejection is 200 with success 0, because the official wrappers read no body of another
        status. Too many wrong keys are 429. `api_key` is ignored.
        """
        warnings: Warnings = []
        try:
            params = without_foreign_fields(self.params, warnings)
            replayed = call_event(params, request.META.get("HTTP_IDEMPOTENCY_KEY"), warnings)
        except WrongTrackingKey as error:
            refuse(request)
            record_refusal(request, 401, None)
            return Response({"success": 0, "message": str(error)})
        except (EventCallError, ApiError) as error:
            return Response({"success": 0, "message": error_message(error)})
        body = {"success": 1, "message": "Event spawned"}
        return Response(with_warnings(body, warnings), headers=REPLAYED if replayed else None)


def call_event(params: Mapping[str, Any], idempotency_key: str | None, warnings: Warnings) -> bool:
    """Track the event of a call, and collect warnings. Returns whether it was a retry.

    Raises:
        EventCallError: the credentials or the name are missing.
        WrongKey: the credentials are wrong.
        ApiError: as `tracking.track`.
    """
    account = validate(ACCOUNT_FIELDS, params)
    if not account.get("actid"):
        raise EventCallError("An account ID must be provided.")
    if not account.get("key"):
        raise EventCallError("An event key must be provided.")
    if not credentials_match(account["actid"], account["key"]):
        raise WrongTrackingKey("The account ID or the event key is wrong.")
    fields = validate(EVENT_FIELDS, params, warnings=warnings)
    if not fields.get("event"):
        raise EventCallError("An event name must be provided.")
    visit = fields.get("visit", {})
    key = params.get("idempotency_key") if idempotency_key is None else idempotency_key
    ours = {"occurred_at": params.get("occurred_at"), "idempotency_key": key}
    if not visit.get("email"):
        validate(TRACKING_FIELDS, ours)
        tracking.register_name(fields["event"])
        return False
    event = tracking.track(
        {
            "event_key": fields["event"],
            "title": fields["event"],
            "value": fields.get("eventdata", ""),
            "provider": PROVIDER,
            "email": visit["email"],
            "context": {field: visit[field] for field in CONTEXT_FIELDS if visit.get(field)},
            **ours,
        },
        credential=f"actid:{account['actid']}",
    )
    return event.replayed


def error_message(error: Exception) -> str:
    """Return the one sentence that a response with success 0 has for an error."""
    if isinstance(error, NotEnabled):
        return "Event tracking is not enabled."
    if isinstance(error, SubscriberNotFound):
        return "There is no contact with this email address."
    if isinstance(error, InvalidFields):
        return next(message for rules in error.detail.values() for message in rules.values())
    return str(error)


class SwitchViewSet(ApiV3ViewSet):
    """The switch `/api/3/eventTracking`, which is that of `/setting/experiments`."""

    access: ClassVar[dict[str, Access]] = {
        "event_tracking": Access(Scope.READ, "events.view_trackingswitch"),
        "update_event_tracking": Access(Scope.MANAGE, "events.change_trackingswitch"),
    }

    @schema.SWITCH
    @action(detail=False, url_path="eventTracking")
    def event_tracking(self, request: Request) -> Response:
        """Return whether tracking is enabled."""
        return Response({"eventTracking": {"enabled": TrackingSwitch.is_enabled()}})

    @schema.UPDATE_SWITCH
    @event_tracking.mapping.put
    def update_event_tracking(self, request: Request) -> Response:
        """Enable or disable tracking, in every worker from the next request on."""
        params = unwrap(self.params, "eventTracking")
        enabled = validate(SWITCH_FIELDS, {"enabled": params.get("enabled")})["enabled"]
        TrackingSwitch.set_enabled(enabled)
        return Response({"eventTracking": {"enabled": enabled}})


class EventNameViewSet(ListModelMixin, ApiV3ViewSet):
    """The catalogue of event names `/api/3/eventTrackingEvents`."""

    access: ClassVar[dict[str, Access]] = {
        "list": Access(Scope.READ, "events.view_eventname"),
        "create": Access(Scope.MANAGE, "events.add_eventname"),
        "destroy": Access(Scope.MANAGE, "events.delete_eventname"),
    }
    lookup_url_kwarg = "name"
    lookup_value_regex = ".+"
    queryset = EventName.objects.order_by("name")
    serializer_class = EventNameSerializer
    pagination_class = EventNamePagination
    filter_backends = ()

    @schema.CREATE_EVENT_NAME
    def create(self, request: Request) -> Response:
        """Add a name to the catalogue: 201, also if it is there, because clients take 201 alone."""
        params = unwrap(self.params, "eventTrackingEvent")
        warnings: Warnings = []
        name = validate(NAME_FIELDS, params, NAME_FIELDS, warnings)["name"]
        EventName.objects.get_or_create(name=name, defaults={"first_seen_at": now()})
        body = with_warnings({"eventTrackingEvent": {"name": name}}, warnings)
        return Response(body, status=201)

    @schema.DESTROY_EVENT_NAME
    def destroy(self, request: Request, name: str) -> Response:
        """Delete a name. History stays, and the next event with the name brings it back."""
        # The router takes an optional slash for part of the name, and it may be.
        for spelling in (name, name.removesuffix("/")):
            try:
                stored = single_line(MAX_NAME_LENGTH)(spelling)
            except InvalidValue:  # a NUL, which no name has
                break
            if EventName.objects.filter(name=stored).delete()[0]:
                record(request, "deleted", what="event name", name=stored)
                return Response({})
        raise ObjectNotFound("Event name")
