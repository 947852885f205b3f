"""ActiveCampaign's protocol: the event call, and the switch and the names of its API, version 3.

Sources: ActiveCampaign's page "Add event tracking event name and value", its API reference, and
what its PHP and Node.js wrappers send and can read.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from django.utils.timezone import now
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.errors import ApiError, InvalidFields, ObjectNotFound
from config.api.pagination import MAX_PER_PAGE
from config.api.parsers import FormParser, MultiPartParser, request_params
from config.api.validation import (
    WHITESPACE,
    InvalidValue,
    Validator,
    is_empty,
    single_line,
    to_bigint,
    to_text,
    validate,
)
from crm.authentication import ApiTokenAuthentication, ApplicationPasswordAuthentication
from crm.models import Scope
from crm.permissions import Access
from events.activecampaign.credentials import credentials_match
from events.api import schema
from events.api.serializers import EVENT_FIELDS as TRACKED_FIELDS
from events.api.serializers import REPLAYED, to_object_text, to_value_text
from events.models import EventName, TrackingSwitch
from events.tracking import NotEnabled, SubscriberNotFound, register_name, track

PROVIDER = "activecampaign"
SPAWNED = "Event spawned"
CONTEXT_FIELDS = (
    *("url", "referrer", "ip4", "ip6", "ua", "browser", "platform", "device"),
    *("utm_source", "utm_campaign", "utm_medium", "utm_term", "utm_content"),
)
# What JavaScript programs send for an e-mail they do not have.
NO_EMAILS = ("undefined", "null", "nan", "[object object]")


def visit_fields(value: Any) -> dict[str, str]:
    """Who it was and where it came from: an object, or its JSON text. Raises Wrong."""
    if isinstance(value, str) and value.strip():
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            raise InvalidValue("json", "The visit must be an object or its JSON.") from None
    if is_empty(value):
        return {}
    if not isinstance(value, dict):
        raise InvalidValue("object")
    found = {}
    for field in ("email", *CONTEXT_FIELDS):
        try:
            found[field] = to_text(value.get(field)).strip(WHITESPACE)
        except InvalidValue:
            raise InvalidValue("string", f"The {field} in visit must be a text.") from None
    to_object_text(found)
    if found.get("email", "").lower() in NO_EMAILS:
        raise InvalidValue("email", "A valid email address must be provided.")
    return found


def on_or_off(value: Any) -> bool:
    """true or false, also as 1, 0 or a form's words. Raises Wrong."""
    if isinstance(value, str | int) and (word := str(value).lower()) in SWITCH_WORDS:
        return SWITCH_WORDS[word]
    raise InvalidValue("boolean")


ACCOUNT_FIELDS: dict[str, Validator] = {"actid": single_line(192), "key": single_line(192)}
SWITCH_WORDS = {"true": True, "1": True, "false": False, "0": False}
SWITCH_FIELDS: dict[str, Validator] = {"enabled": on_or_off}
NAME_FIELDS: dict[str, Validator] = {"name": single_line(192)}
PLACE_FIELDS: dict[str, Validator] = {"offset": to_bigint, "limit": to_bigint}
KEY_FIELD: dict[str, Validator] = {"idempotency_key": TRACKED_FIELDS["idempotency_key"]}
NAMES_PER_PAGE = 100
EVENT_FIELDS: dict[str, Validator] = {
    "event": single_line(192),
    "eventdata": to_value_text,
    "visit": visit_fields,
}


class EventCallError(Exception):
    """What the answer says with success 0."""


class EventCallViewSet(ViewSet):
    """`/event`: actid and key in the form are the credential; `api_key` is passed over."""

    authentication_classes = ()
    permission_classes = ()
    parser_classes = (FormParser, MultiPartParser)

    @schema.EVENT_CALL
    def track(self, request: Request) -> Response:
        """Count an event on the contact of `visit`; without an e-mail keep its name alone.

        A refusal is 200 with success 0: the official wrappers read no body of another status.
        """
        try:
            again = event_call(request_params(request), request.META.get("HTTP_IDEMPOTENCY_KEY"))
        except (EventCallError, ApiError) as error:
            return Response({"success": 0, "message": error_message(error)})
        answer = {"success": 1, "message": SPAWNED}
        return Response(answer, headers=REPLAYED if again else None)


def event_call(given: Mapping[str, Any], idempotency_key: str | None) -> bool:
    """Track what the form says; whether that was a retry. Raises Failed and ApiError."""
    account = validate(ACCOUNT_FIELDS, given)
    if not account.get("actid"):
        raise EventCallError("An account ID must be provided.")
    if not account.get("key"):
        raise EventCallError("An event key must be provided.")
    if not credentials_match(account["actid"], account["key"]):
        raise EventCallError("The account ID or the event key is wrong.")
    fields = validate(EVENT_FIELDS, given)
    if not fields.get("event"):
        raise EventCallError("An event name must be provided.")
    visit = fields.get("visit", {})
    key = given.get("idempotency_key") if idempotency_key is None else idempotency_key
    if not visit.get("email"):
        validate(KEY_FIELD, {"idempotency_key": key})
        register_name(fields["event"])
        return False
    event = track(
        {
            "event_key": fields["event"],
            "title": fields["event"],
            "value": fields.get("eventdata", ""),
            "provider": PROVIDER,
            "email": visit["email"],
            "context": {field: visit[field] for field in CONTEXT_FIELDS if visit.get(field)},
            "idempotency_key": key,
        },
        credential=f"actid:{account['actid']}",
    )
    return event.replayed


def error_message(error: Exception) -> str:
    """The one sentence that a refusal has room for."""
    if isinstance(error, NotEnabled):
        return "Event tracking is not enabled."
    if isinstance(error, SubscriberNotFound):
        return "There is no contact with this email address."
    if isinstance(error, InvalidFields):
        return str(next(to_text for rules in error.body.values() for to_text in rules.values()))
    return str(error)


class ApiViewSet(ViewSet):
    """A call of `/api/3/`."""

    authentication_classes = (ApiTokenAuthentication, ApplicationPasswordAuthentication)


class SwitchViewSet(ApiViewSet):
    """`/api/3/eventTracking`: the switch that FluentCRM's `/setting/experiments` turns as well."""

    access: ClassVar[dict[str, Access]] = {
        "show": Access(Scope.READ, "events.view_trackingswitch"),
        "update": Access(Scope.MANAGE, "events.change_trackingswitch"),
    }

    @schema.SWITCH
    def show(self, request: Request) -> Response:  # noqa: ARG002
        """Whether events are tracked."""
        return Response({"eventTracking": {"enabled": TrackingSwitch.is_enabled()}})

    @schema.UPDATE_SWITCH
    def update(self, request: Request) -> Response:
        """Switch tracking on or off, in every worker from the next request on."""
        given = unwrap(request_params(request), "eventTracking")
        enabled = validate(SWITCH_FIELDS, {"enabled": given.get("enabled")})["enabled"]
        TrackingSwitch.set_enabled(enabled)
        return Response({"eventTracking": {"enabled": enabled}})


class EventNameViewSet(ApiViewSet):
    """`/api/3/eventTrackingEvents`: the catalogue of event names."""

    access: ClassVar[dict[str, Access]] = {
        "index": Access(Scope.READ, "events.view_eventname"),
        "store": Access(Scope.MANAGE, "events.add_eventname"),
        "destroy": Access(Scope.MANAGE, "events.delete_eventname"),
    }

    @schema.EVENT_NAMES
    def index(self, request: Request) -> Response:
        """The names in order, from `offset` on, at most `limit` of them."""
        asked = {"offset": 0, "limit": NAMES_PER_PAGE} | validate(
            PLACE_FIELDS, request_params(request)
        )
        start = asked["offset"]
        names = EventName.objects.order_by("name").values_list("name", flat=True)
        some = names[start : start + min(asked["limit"], MAX_PER_PAGE)]
        return Response(
            {
                "eventTrackingEvents": [{"name": name} for name in some],
                "meta": {"total": names.count()},
            }
        )

    @schema.STORE_EVENT_NAME
    def store(self, request: Request) -> Response:
        """Put a name into the catalogue: 201, or 200 if it is there already."""
        given = unwrap(request_params(request), "eventTrackingEvent")
        name = validate(NAME_FIELDS, given, required=NAME_FIELDS)["name"]
        _, created = EventName.objects.get_or_create(name=name, defaults={"first_seen_at": now()})
        answer = {"eventTrackingEvent": {"name": name}}
        return Response(answer, status=201 if created else 200)

    @schema.DELETE_EVENT_NAME
    def destroy(self, request: Request, name: str) -> Response:  # noqa: ARG002
        """Take a name out of the catalogue; history stays, and its next event brings it back."""
        # A slash at its end may be the name's own.
        for written in (name, name.removesuffix("/")):
            try:
                stored = NAME_FIELDS["name"](written)
            except InvalidValue:  # a NUL, which no name has
                break
            if EventName.objects.filter(name=stored).delete()[0]:
                return Response({})
        raise ObjectNotFound("Event name")


def unwrap(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The object that ActiveCampaign wraps its fields in; nothing if it is none."""
    found = given.get(name)
    return found if isinstance(found, dict) else {}
