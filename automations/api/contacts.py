"""The endpoints of an automation about contacts: start them, where they are, and why."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.decorators import action
from rest_framework.request import Request

from automations.api import rights, schema
from automations.api.base import BaseAutomationViewSet
from automations.api.pagination import RefusalPagination, RunPagination
from automations.api.serializers import (
    DryRunSerializer,
    ExplanationSerializer,
    RefusalSerializer,
    RunCountsSerializer,
    RunSerializer,
    StepReportSerializer,
)
from automations.api.views import optional
from automations.explaining import dry_run, explain
from automations.models import Refusal, Run, RunStatus
from automations.reports import count_refusals, count_runs, report_steps
from automations.rights import hide_urls, require_reading, require_writing
from automations.starting import start_by_hand
from automations.waits import one_of
from automations.writing import document_of
from config.api.responses import Response
from config.api.validation import Validator, optional_id, single_line, to_strict_bool, validate
from config.audit import of_ids, record
from crm.aliases import current_ids
from crm.api.fields import to_contact_ids
from crm.permissions import Access

RUN_FIELDS: dict[str, Validator] = {
    "subscriber_id": optional_id,
    "status": optional(one_of(*RunStatus.values)),
    "step_id": optional_id,
}
REFUSAL_FIELDS: dict[str, Validator] = {
    "subscriber_id": optional_id,
    "reason": single_line(20),
}


def filtered(
    rows: QuerySet[Any], fields: dict[str, Validator], params: dict[str, Any]
) -> QuerySet[Any]:
    """Filter rows by the parameters that are sent, whose names are columns.

    Raises:
        InvalidFields: 422.
    """
    values = validate(fields, params)
    return rows.filter(**{name: value for name, value in values.items() if value})


class AutomationContactViewSet(BaseAutomationViewSet):
    """The contacts of an automation: `/automations/{id}/…`."""

    access: ClassVar[dict[str, Access]] = {
        "start": rights.START,
        "report": rights.READ,
        "runs": rights.READ_RUNS,
        "refusals": rights.READ_RUNS,
        "explain": rights.READ_RUNS,
        "dry_run": rights.TRY,
    }

    @schema.START
    @action(detail=True, methods=["post"], pagination_class=None)
    def start(self, request: Request, automation_id: str) -> Response:
        """Start up to 1,000 contacts, whatever the trigger. Conditions and rules count."""
        fields = {"subscriber_ids": to_contact_ids}
        contact_ids = {*validate(fields, self.params, required=fields)["subscriber_ids"]}
        automation = self.get_object()
        require_writing(document_of(automation), request.user.has_perm)
        outcomes = start_by_hand(contact_ids, automation.pk)
        if unknown := len(contact_ids) - sum(outcomes.values()):
            outcomes["unknown"] = unknown
        started = outcomes.get("started", 0)
        record(request, "started", what="automation", runs=started, **of_ids([automation.pk]))
        message = f"{started} of {len(contact_ids)} contacts have started"
        return Response({"message": message, "outcomes": outcomes})

    @schema.REPORT
    @action(detail=True, pagination_class=None)
    def report(self, request: Request, automation_id: str) -> Response:
        """Return how many contacts entered, passed, are inside and left at each step."""
        automation = self.get_object()
        counts = count_runs([automation.pk])[automation.pk]
        report = {
            "status": automation.status,
            "started": counts.started,
            "counts": RunCountsSerializer(counts).data,
            "steps": StepReportSerializer(report_steps(automation), many=True).data,
        }
        return Response({"report": report})

    @schema.RUNS
    @action(detail=True, pagination_class=RunPagination, serializer_class=RunSerializer)
    def runs(self, request: Request, automation_id: str) -> Response:
        """List the runs of an automation, the newest first."""
        rows = Run.objects.filter(automation_id=self.get_object().pk)
        page = self.paginate_queryset(
            filtered(rows, RUN_FIELDS, self.params).order_by("-created_at", "-id")
        )
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @schema.REFUSALS
    @action(detail=True, pagination_class=RefusalPagination, serializer_class=RefusalSerializer)
    def refusals(self, request: Request, automation_id: str) -> Response:
        """List which contacts did not start and why, the newest contacts first."""
        automation = self.get_object()
        rows = Refusal.objects.filter(automation_id=automation.pk)
        # By the index of the unique constraint.
        page = self.paginate_queryset(
            filtered(rows, REFUSAL_FIELDS, self.params).order_by("-subscriber_id", "-reason")
        )
        assert isinstance(self.paginator, RefusalPagination)
        self.paginator.reasons = count_refusals(automation.pk)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @schema.EXPLAIN
    @action(detail=True, pagination_class=None)
    def explain(self, request: Request, automation_id: str) -> Response:
        """Return what decides whether a contact starts, condition by condition."""
        contact_id = self._contact_id()
        automation = self.get_object()
        require_reading(document_of(automation), request.user.has_perm)
        explanation = explain(automation.pk, contact_id)
        return Response({"explanation": ExplanationSerializer(explanation).data})

    @schema.DRY_RUN
    @action(detail=True, methods=["post"], url_path="dry-run", pagination_class=None)
    def dry_run(self, request: Request, automation_id: str) -> Response:
        """Return what the steps would do with a contact now, and do nothing.

        Waits pass at once. `happens` false lets waits for something time out.
        """
        contact_id = self._contact_id()
        happens = validate({"happens": optional(to_strict_bool)}, self.params).get("happens")
        automation = self.get_object()
        require_writing(document_of(automation), request.user.has_perm)
        result = dry_run(automation.pk, contact_id, happens=happens is not False)
        played = DryRunSerializer(result).data
        hide_urls(played["steps"], request.user.has_perm)
        return Response({"dry_run": played})

    def _contact_id(self) -> int:
        """Return the contact that a request names, or the one that it was merged into.

        Raises:
            InvalidFields: 422.
        """
        fields = {"subscriber_id": optional_id}
        sent: int = validate(fields, self.params, required=fields)["subscriber_id"]
        return current_ids([sent])[0]
