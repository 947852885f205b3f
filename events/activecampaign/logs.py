"""What a contact did, as ActiveCampaign shows it: tracking logs and activities."""

from typing import Any, ClassVar

from rest_framework.request import Request

from config.api.pagination import fetch_whole_page
from config.api.responses import Response
from config.api.validation import MAX_ID, clamp_id, validate
from crm.activecampaign.contacts import CONTACT
from crm.activecampaign.fields import to_object_id
from crm.activecampaign.pagination import PAGE_FIELDS
from crm.activecampaign.serializers import format_iso
from crm.activecampaign.viewsets import ApiV3ViewSet, NoResult
from crm.aliases import find_holder
from crm.models import Scope, Subscriber
from crm.permissions import Access
from events.activecampaign import schema
from events.history import OCCURRENCE_ORDER, OCCURRENCE_SIZE, Occurrence, Timeline

LOGS, MAX_LOGS = 20, 100


class ContactLogViewSet(ApiV3ViewSet):
    """Occurrences of a contact: `/api/3/contacts/{id}/trackingLogs` and `/api/3/activities`."""

    access: ClassVar[dict[str, Access]] = {
        "tracking_logs": Access(Scope.READ, "events.view_eventoccurrence"),
        "activities": Access(Scope.READ, "events.view_eventoccurrence"),
    }
    pagination_class = None
    filter_backends = ()

    @schema.TRACKING_LOGS
    def tracking_logs(self, request: Request, contact_id: str) -> Response:
        """Return what a contact did, the newest first."""
        return Response({"trackingLogs": self._read(clamp_id(contact_id))})

    @schema.ACTIVITIES
    def activities(self, request: Request) -> Response:
        """Return the same as activities, each with its tracking log beside."""
        contact_id = validate({"contact": to_object_id}, self.params, ("contact",))["contact"]
        logs = self._read(contact_id)
        activities = [
            {
                **{name: log[name] for name in ("id", "contact", "subscriberid", "tstamp")},
                "reference_type": "TrackingLog",
                "reference_id": log["id"],
                "reference_action": "",
                "links": {},
            }
            for log in logs
        ]
        return Response({"activities": activities, "trackingLogs": logs})

    def _read(self, contact_id: int) -> list[dict[str, Any]]:
        """Return a page of a contact's occurrences as tracking logs.

        Raises:
            NoResult: 404, the contact does not exist.
            PageTooLarge: 422, the page has more than 8 MB.
        """
        page = {"limit": LOGS, "offset": 0} | validate(PAGE_FIELDS, self.params)
        limit = min(page["limit"], MAX_LOGS)
        statement, parameters = Timeline(contact_id).query(limit)
        rows = fetch_whole_page(
            f"{statement} OFFSET %(start)s",
            {**parameters, "start": min(page["offset"], MAX_ID - limit)},
            size=OCCURRENCE_SIZE,
            order=OCCURRENCE_ORDER,
        )
        if not rows and not Subscriber.objects.filter(pk=contact_id).exists():
            if holder := find_holder(("contact", str(contact_id))):
                return self._read(holder)
            raise NoResult(CONTACT, contact_id)
        return [tracking_log(contact_id, Occurrence(*row[:-2])) for row in rows]


def tracking_log(contact_id: int, occurrence: Occurrence) -> dict[str, Any]:
    """Return an occurrence as a tracking log, whose type is the event's name for programs.

    See ActiveCampaign's page "Contact event tracking API guide".
    """
    return {
        "id": str(occurrence.id),
        "contact": str(contact_id),
        "subscriberid": str(contact_id),
        "type": occurrence.event_key,
        "value": occurrence.value,
        "tstamp": format_iso(occurrence.occurred_at),
        "hash": "",
        "links": {},
    }
