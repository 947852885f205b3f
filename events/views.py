"""FluentCRM's calls about events, and the switch."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.errors import InvalidFields
from config.fields import line, path_id, read_fields
from config.pagination import page_of
from config.parsers import params
from crm.authentication import caller_of
from crm.models import Scope
from crm.permissions import Access
from events import schema
from events.models import TrackedEvent, TrackingSwitch
from events.serializers import event_data
from events.timelines import count_events, events_of
from events.tracking import track

SWITCH_WORDS = {"yes": True, "no": False, True: True, False: False}


class EventViewSet(ViewSet):
    """`/subscribers/track-event` and `/subscribers/{id}/tracking-events`."""

    access: ClassVar[dict[str, Access]] = {
        "track": Access(Scope.TRACK, "events.add_trackedevent"),
        "index": Access(Scope.READ, "events.view_trackedevent"),
    }

    @schema.TRACK_EVENT
    def track(self, request: Request) -> Response:
        """Count an event on its contact."""
        event = track(params(request), created_by=caller_of(request).user_id)
        return Response({"message": "Event has been tracked", "id": event.id})

    @schema.TRACKING_EVENTS
    def index(self, request: Request, contact_id: str) -> Response:
        """A page of a contact's events, the newest first."""
        number = path_id(contact_id)
        total = count_events(number)

        def rows(start: int, stop: int) -> Iterable[dict[str, Any]]:
            return map(event_data, events_of(number, start, stop))

        return Response({"events": page_of(request, total, rows)})


class ExperimentViewSet(ViewSet):
    """`/setting/experiments`: of FluentCRM's experiments we have event tracking."""

    access: ClassVar[dict[str, Access]] = {
        "show": Access(Scope.READ, "events.view_trackingswitch"),
        "update": Access(Scope.MANAGE, "events.change_trackingswitch"),
    }

    @schema.EXPERIMENTS
    def show(self, request: Request) -> Response:  # noqa: ARG002
        """Whether events are tracked."""
        word = "yes" if TrackingSwitch.is_on() else "no"
        return Response({"settings": {"event_tracking": word}})

    @schema.UPDATE_EXPERIMENTS
    def update(self, request: Request) -> Response:
        """Switch tracking on or off, in every worker from the next request on."""
        given: Mapping[str, Any] = params(request)
        if isinstance(given.get("settings"), dict):
            given = given["settings"]
        if "event_tracking" in given:
            word = given["event_tracking"]
            if not isinstance(word, str | bool) or word not in SWITCH_WORDS:
                text = "The event_tracking must be yes or no."
                raise InvalidFields({"event_tracking": {"in": text}})
            TrackingSwitch.turn(SWITCH_WORDS[word])
        return Response({"message": "Settings has been updated"})


class OptionViewSet(ViewSet):
    """`/reports/ajax-options`: choices for a form."""

    access: ClassVar[dict[str, Access]] = {"index": Access(Scope.READ, "events.view_trackedevent")}

    @schema.OPTIONS
    def index(self, request: Request) -> Response:
        """The event keys that contacts have, by name; of other keys there are no options."""
        asked = read_fields({"option_key": line(64)}, params(request))
        if asked.get("option_key") != "event_tracking_keys":
            return Response({"options": []})
        keys = TrackedEvent.objects.order_by("event_key").values_list("event_key", flat=True)
        return Response({"options": [{"id": key, "title": key} for key in keys.distinct()]})
