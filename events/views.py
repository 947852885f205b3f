"""FluentCRM's calls about events, and the switch."""

from collections.abc import Iterable, Mapping
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.errors import InvalidFields, NotFoundHere
from config.fields import LARGEST_ID, line, read_fields
from config.pagination import page_of
from config.parsers import params
from crm.models import Scope, Subscriber
from crm.permissions import Access
from events import schema
from events.models import TrackedEvent, TrackingSwitch
from events.serializers import event_data
from events.tracking import NotEnabled, track

SWITCH_WORDS = {"yes": True, "no": False, True: True, False: False}


class EventViewSet(ViewSet):
    """`/subscribers/track-event` and `/subscribers/{id}/tracking-events`."""

    access = {
        "track": Access(Scope.TRACK, "events.add_trackedevent"),
        "index": Access(Scope.READ, "events.view_trackedevent"),
    }

    @schema.TRACK_EVENT
    def track(self, request: Request) -> Response:
        """Count an event on its contact."""
        event = track(params(request), created_by=request.user.user_id)
        return Response({"message": "Event has been tracked", "id": event.id})

    @schema.TRACKING_EVENTS
    def index(self, request: Request, contact_id: str) -> Response:
        """A page of a contact's events, the newest first."""
        if not TrackingSwitch.is_on():
            raise NotEnabled
        number = int(contact_id)
        if number > LARGEST_ID or not Subscriber.objects.filter(id=number).exists():
            raise NotFoundHere("Subscriber")
        events = TrackedEvent.objects.filter(subscriber_id=number).order_by("-id")

        def rows(start: int, stop: int) -> Iterable[dict[str, Any]]:
            return map(event_data, events[start:stop])

        return Response({"events": page_of(request, events.count(), rows)})


class ExperimentViewSet(ViewSet):
    """`/setting/experiments`: of FluentCRM's experiments we have event tracking."""

    access = {
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

    access = {"index": Access(Scope.READ, "events.view_trackedevent")}

    @schema.OPTIONS
    def index(self, request: Request) -> Response:
        """The event keys that contacts have, by name; of other keys there are no options."""
        asked = read_fields({"option_key": line(64)}, params(request))
        if asked.get("option_key") != "event_tracking_keys":
            return Response({"options": []})
        keys = TrackedEvent.objects.order_by("event_key").values_list("event_key", flat=True)
        return Response({"options": [{"id": key, "title": key} for key in keys.distinct()]})
