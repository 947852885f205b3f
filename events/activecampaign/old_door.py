"""ActiveCampaign's old door: `/admin/api.php` (API version 1) and `/2/track/…` (version 2).

The web server gives the former the path /activecampaign (config/server/target.py). Every rejection
is 200 with result_code 0, as in ActiveCampaign (activecampaign-api-php, issue 8), because the
official wrappers read no body of another status. The exceptions are too many wrong keys (429) and
an unavailable database (503).
"""

from typing import Any

from rest_framework.exceptions import (
    AuthenticationFailed,
    NotAuthenticated,
    PermissionDenied,
    Throttled,
    UnsupportedMediaType,
)
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import ApiError, InvalidFields
from config.api.responses import Response
from config.api.validation import MAX_NAME_LENGTH, single_line, to_text, validate
from config.api.viewsets import ApiViewSet
from config.audit import record, record_refusal
from crm.activecampaign.old_actions import ACTIONS as CONTACT_ACTIONS
from crm.activecampaign.old_actions import OldAction, OldError, Params, Result
from crm.activecampaign.views.account import NO_SITE_TRACKING
from crm.authentication import (
    ApiKeyAuthentication,
    ApiTokenAuthentication,
    ApplicationPasswordAuthentication,
)
from crm.models import Scope
from crm.permissions import Access, is_permitted, user_of
from crm.refusals import sent_secret, shown_part
from events.activecampaign.credentials import tracking_key
from events.models import EventName, TrackingSwitch

NOT_AUTHORIZED = "You are not authorized to access this file"
RETURNED = "Success: Something is returned"
MAX_NAMES = 1000
# What a request to version 2 does, by its path and method. The wrappers send no api_action.
TRACK_ACTIONS = {
    ("track/event", "GET"): "track_event_list",
    ("track/event", "POST"): "track_event_status_edit",
    ("track/event", "DELETE"): "track_event_delete",
    ("track/site", "GET"): "track_site_list",
    ("track/site", "POST"): "track_site_status_edit",
    ("track/site", "PUT"): "track_site_whitelist_add",
    ("track/site", "DELETE"): "track_site_whitelist_delete",
}
SEES_KEY = Access(Scope.MANAGE, "events.view_trackingkey")
STATUSES = {"enable": True, "disable": False}


def user_me(request: Request, params: Params) -> Result:
    """Return the user of the key, and the tracking key if the user may see it.

    Only a password of the scope manage gets it, because it lets the client track events, also
    after the password was revoked.
    """
    user = user_of(request)
    body = {"id": str(user.pk), "username": user.get_username(), "email": user.email}
    if is_permitted(request, SEES_KEY):
        pair = tracking_key()
        body |= {"trackid": pair.actid, "eventkey": pair.key}
    return body


def track_event_list(request: Request, params: Params) -> Result:
    """Return the first 1,000 event names, by numbers as keys."""
    names = EventName.objects.order_by("name").values_list("name", flat=True)[:MAX_NAMES]
    return {str(number): {"name": name} for number, name in enumerate(names)}


def track_event_status_edit(request: Request, params: Params) -> Result:
    """Switch tracking on or off."""
    status = validate({"status": to_text}, params).get("status", "").strip().lower()
    if status not in STATUSES:
        raise OldError("The status must be enable or disable.")
    TrackingSwitch.set_enabled(STATUSES[status])
    return {"result_message": f"Event tracking {status}d"}


def track_event_delete(request: Request, params: Params) -> Result:
    """Delete an event name. History stays, and the next event with the name brings it back."""
    to_name = single_line(MAX_NAME_LENGTH)
    name = validate({"event": to_name}, params, ("event",))["event"]
    if not EventName.objects.filter(name=name).delete()[0]:
        raise OldError("The event does not exist.")
    record(request, "deleted", what="event name", name=name)
    return {"result_message": "Event removed"}


def refuse_site_tracking(request: Request, params: Params) -> Result:
    """Refuse what is about site tracking."""
    raise OldError(NO_SITE_TRACKING)


SITE = OldAction(Access(None), refuse_site_tracking)
ACTIONS: dict[str, OldAction] = {
    **CONTACT_ACTIONS,
    "user_me": OldAction(Access(None), user_me),
    "track_event_list": OldAction(Access(Scope.READ, "events.view_eventname"), track_event_list),
    "track_event_status_edit": OldAction(
        Access(Scope.MANAGE, "events.change_trackingswitch"), track_event_status_edit, True
    ),
    "track_event_delete": OldAction(
        Access(Scope.MANAGE, "events.delete_eventname"), track_event_delete, True
    ),
    **{action: SITE for (path, _), action in TRACK_ACTIONS.items() if path == "track/site"},
}


class OldDoorViewSet(ApiViewSet):
    """The old door. Its credential is an application password in api_key, or in a header."""

    authentication_classes = (
        ApiKeyAuthentication,
        ApiTokenAuthentication,
        ApplicationPasswordAuthentication,
    )
    permission_classes = ()

    def answer(self, request: Request, path: str = "") -> Response:
        """Do the action that the request names."""
        if request.auth is None:
            raise NotAuthenticated
        if path:
            name = TRACK_ACTIONS.get((path.strip("/"), str(request.method)), "")
        else:
            name = validate({"api_action": to_text}, self.params).get("api_action", "").strip()
        action = ACTIONS.get(name)
        if action is None:
            raise OldError("Tallybook has no such call.")
        if not is_permitted(request, action.access):
            raise PermissionDenied
        if action.is_write and request.method in SAFE_METHODS:
            # A link is a GET, and has to change nothing.
            raise OldError("This call has to be sent as POST.")
        result = {"result_code": 1, "result_message": RETURNED, "result_output": "json"}
        return Response({**result, **action.run(request, self.params)})

    @override
    def handle_exception(self, exc: Exception) -> Any:
        match exc:
            case Throttled():
                return super().handle_exception(exc)
            case AuthenticationFailed() | NotAuthenticated():
                record_refusal(self.request, 401, self._shown_part())
                message = NOT_AUTHORIZED
            case PermissionDenied():
                record_refusal(self.request, 403, self._shown_part())
                message = NOT_AUTHORIZED
            case InvalidFields():
                message = next(text for rules in exc.detail.values() for text in rules.values())
            case ApiError() | OldError():
                message = str(exc)
            case UnsupportedMediaType():
                message = "Send JSON or a form, in UTF-8."
            case _:
                return super().handle_exception(exc)
        failure = {"result_code": 0, "result_message": message, "result_output": "json"}
        return Response(failure)

    def _shown_part(self) -> str | None:
        """Return the part of the sent secret that is no secret."""
        secret = sent_secret(self.request)
        if secret is None:
            secret = str(self.query.get("api_key", ""))
        return shown_part(secret)
