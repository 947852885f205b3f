"""FluentCRM's endpoint that leads from a contact to those beside it in a list."""

from typing import ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.errors import Unprocessable
from config.api.responses import Response
from config.api.validation import optional_id, validate
from config.api.viewsets import ApiViewSet
from crm.api.filter_backends import CONTACT_FILTERS, LIST_FIELDS
from crm.api.rights import READ
from crm.api.schema import contacts as schema
from crm.models import Subscriber
from crm.permissions import Access
from crm.selectors import ids_beyond

NUMBER = 10


class NavigationViewSet(ApiViewSet):
    """The contacts beside a contact: `/subscribers/prev-next-ids`."""

    access: ClassVar[dict[str, Access]] = {"prev_next_ids": READ}
    queryset = Subscriber.objects.all()
    filter_backends = CONTACT_FILTERS
    list_fields = LIST_FIELDS

    @schema.PREV_NEXT_IDS
    @action(detail=False, url_path="prev-next-ids", pagination_class=None)
    def prev_next_ids(self, request: Request) -> Response:
        """Return up to ten ids on each side of `current_id`, among the contacts of a list.

        The order is that of the ids, also with `sort_by`. See FluentCRM's
        app/Http/Controllers/SubscriberController.php, getPrevNextIds.
        """
        current_id = validate({"current_id": optional_id}, self.params).get("current_id")
        contacts = self.filter_queryset(self.get_queryset())
        if not current_id or not self.list_params.get("filter_type"):
            raise Unprocessable("filter_type & current_id is required")
        rises = self.list_params.get("sort_type", "").upper() == "ASC"
        following = ids_beyond(contacts, current_id, NUMBER, ascending=rises)
        previous = ids_beyond(contacts, current_id, NUMBER, ascending=not rises)
        return Response(
            {
                "navigation": {"next": following, "prev": previous},
                "has_next": len(following) == NUMBER,
                "has_prev": len(previous) == NUMBER,
            }
        )
