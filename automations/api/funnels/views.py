"""FluentCRM's endpoints of automations: `/funnels`.

See FluentCRM's app/Http/Controllers/FunnelController.php.
"""

from typing import Any, ClassVar

from django.db.models import F, TextField
from django.db.models.functions import Cast
from rest_framework.decorators import action
from rest_framework.request import Request

from automations.api import rights
from automations.api.base import BaseAutomationViewSet
from automations.api.funnels import schema
from automations.api.funnels.pagination import FunnelPagination
from automations.funnels.names import blocks, triggers
from automations.funnels.rows import (
    FUNNEL_STATUSES,
    funnel_row,
    funnel_status,
    report_stats,
    sequence_tree,
)
from automations.funnels.writing import create_funnel
from automations.models import Automation, AutomationStatus
from automations.reports import count_runs, report_steps
from automations.rights import (
    require_writing,
    without_secrets,
)
from automations.waits import one_of
from automations.writing import (
    copy_automation,
    delete_automation,
    document_of,
    pause,
    publish,
    resume,
)
from config.api.errors import ObjectNotFound, Unprocessable
from config.api.responses import Response
from config.api.validation import (
    MAX_NAME_LENGTH,
    Validator,
    single_line,
    to_strings,
    validate,
)
from config.audit import of_ids, record
from crm.permissions import Access, user_of

STATUS: dict[str, Validator] = {
    "status": one_of(*FUNNEL_STATUSES),
    "overdue": one_of("run", "cancel"),
}
# The columns of a document that a list shows.
PARTS = ("trigger", "conditions", "only_subscribed", "reentry")
LIST_FIELDS: dict[str, Validator] = {
    "search": single_line(MAX_NAME_LENGTH),
    "sort_by": single_line(64),
    "sort_type": single_line(4),
    "with": to_strings,
}
SORTABLE = ("id", "title", "created_at", "updated_at")


class BaseFunnelViewSet(BaseAutomationViewSet):
    """Endpoints whose URL names an automation as a funnel."""

    noun = "Funnel"
    lookup_url_kwarg = "funnel_id"

    def set_status(self, automation: Automation, status: str, overdue: str = "") -> None:
        """Publish or resume an automation, or pause it, as FluentCRM's status says.

        Raises:
            Unprocessable: 422, it has the status.
            Overdue: 422, contacts inside would go on at once, and `overdue` does not say so.
            ObjectNotFound: 404, it was deleted meanwhile.
        """
        if funnel_status(automation.status) == status:
            raise Unprocessable("Funnel already have the same status")
        if status == "draft":
            self.found(lambda: pause(automation.pk))
        elif automation.status == AutomationStatus.PAUSED:
            self.found(lambda: resume(automation.pk, overdue))
        else:
            self.found(lambda: publish(automation.pk))


class FunnelViewSet(BaseFunnelViewSet):
    """Automations as FluentCRM's funnels."""

    access: ClassVar[dict[str, Access]] = {
        "list": rights.READ_FUNNELS,
        "retrieve": rights.READ_FUNNELS,
        "create": rights.ADD,
        "update": rights.CHANGE,
        "destroy": rights.DELETE,
        "list_triggers": rights.READ_FUNNELS,
        "clone": rights.ADD,
        "report": rights.READ_FUNNELS,
    }
    pagination_class = FunnelPagination

    @schema.LIST
    def list(self, request: Request) -> Response:
        """List funnels, the newest first."""
        params = validate(LIST_FIELDS, self.params)
        rows = self.get_queryset().annotate(
            **{name: F(f"version__document__{name}") for name in PARTS}
        )
        rows = rows.annotate(document_text=Cast("version__document", TextField()))
        if params.get("search"):
            rows = rows.filter(title__icontains=params["search"])
        column = params.get("sort_by")
        column = column if column in SORTABLE else "id"
        is_ascending = (params.get("sort_type") or "").upper() == "ASC"
        page = self.paginate_queryset(rows.order_by(column if is_ascending else f"-{column}"))
        counts = count_runs(row.pk for row in page)
        data = [
            {
                **funnel_row(row, {name: getattr(row, name) for name in PARTS}),
                "subscribers_count": counts[row.pk].started,
                "description": row.description,
                "labels": [],
            }
            for row in page
        ]
        response = self.get_paginated_response(data)
        if "triggers" in params.get("with", []):
            return Response({**response.data, "triggers": triggers()})
        return response

    @schema.CREATE
    def create(self, request: Request) -> Response:
        """Create a draft. Its trigger has to be complete, because a draft is a whole document."""
        automation = self.write(lambda: create_funnel(self.params, user_of(request)))
        row = funnel_row(automation, document_of(automation))
        message = "Funnel has been created. Please configure now"
        return Response({"funnel": row, "message": message})

    @schema.RETRIEVE
    def retrieve(self, request: Request, funnel_id: str) -> Response:
        """Return a funnel, `with[]` its blocks, their fields, and its sequences."""
        wanted = validate({"with": to_strings}, self.params).get("with", [])
        automation = self.get_object()
        document = without_secrets(document_of(automation), request.user.has_perm)
        row = funnel_row(automation, document)
        more = {
            "trigger": triggers().get(row["trigger_name"], {}),
            "settingsFields": {},
            "conditionFields": {},
            "description": automation.description,
        }
        body: dict[str, Any] = {"funnel": {**row, **more}}
        if "blocks" in wanted:
            body["blocks"] = blocks()
        if "block_fields" in wanted:
            body |= {"block_fields": {}, "composer_context_codes": []}
        if "funnel_sequences" in wanted:
            body["funnel_sequences"] = sequence_tree(automation, document)
        return Response(body)

    @schema.UPDATE
    def update(self, request: Request, funnel_id: str) -> Response:
        """Publish a funnel, or make a published one start nothing.

        `overdue` is that of `/automations/{id}/resume`.
        """
        params = validate(STATUS, self.params, required=("status",))
        automation = self.get_object()
        require_writing(document_of(automation), request.user.has_perm)
        self.set_status(automation, params["status"], params.get("overdue", ""))
        record(request, params["status"], what="automation", **of_ids([automation.pk]))
        return Response({"message": f"Status has been updated to {params['status']}"})

    @schema.MESSAGE
    def destroy(self, request: Request, funnel_id: str) -> Response:
        """Delete a funnel with its runs and webhooks."""
        if not delete_automation(self.url_id):
            raise ObjectNotFound(self.noun)
        record(request, "deleted", what="automation", **of_ids([self.url_id]))
        return Response({"message": "Funnel has been deleted"})

    @schema.TRIGGERS
    @action(detail=False, url_path="triggers", pagination_class=None)
    def list_triggers(self, request: Request) -> Response:
        """List the triggers that there are."""
        return Response({"triggers": triggers()})

    @schema.CLONE
    @action(detail=True, methods=["post"], pagination_class=None)
    def clone(self, request: Request, funnel_id: str) -> Response:
        """Create a draft with the same trigger and sequences."""
        source = self.get_object()
        automation = self.write(lambda: copy_automation(source, user_of(request)))
        row = funnel_row(automation, document_of(automation))
        return Response({"message": "Funnel has been successfully cloned", "funnel": row})

    @schema.REPORT
    @action(detail=True, pagination_class=None)
    def report(self, request: Request, funnel_id: str) -> Response:
        """Return how many contacts started, and passed each step."""
        automation = self.get_object()
        counts = count_runs([automation.pk])[automation.pk]
        return Response({"stats": report_stats(counts, report_steps(automation))})
