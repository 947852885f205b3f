"""FluentCRM's endpoints of the contacts in funnels.

See FluentCRM's app/Http/Controllers/FunnelController.php, getSubscribers, updateSubscriptionStatus,
deleteSubscribers, removeBulkSubscribers, subscriberAutomations and getAllActivities.
"""

from typing import Any, ClassVar

from django.db.models import Exists, OuterRef, Q, QuerySet
from rest_framework.decorators import action
from rest_framework.request import Request
from typing_extensions import override

from automations.api import rights
from automations.api.base import find_automation
from automations.api.funnels import schema
from automations.api.funnels.pagination import (
    ActivityPagination,
    FunnelRunPagination,
    FunnelSubscriberPagination,
)
from automations.funnels.rows import FILTERS, flatten, funnel_row, run_rows, sequence_tree
from automations.models import Automation, Run, RunStatus, RunStep
from automations.rights import without_secrets
from automations.runs import delete_runs, end_runs, shown_runs
from automations.writing import document_of
from config.api.errors import ObjectNotFound, Unprocessable
from config.api.pagination import FluentPagination, check_rows
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import (
    Validator,
    clamp_id,
    optional_id,
    single_line,
    to_ids,
    to_strings,
    validate,
)
from config.api.viewsets import ApiViewSet
from config.audit import of_ids, record
from crm.aliases import current_ids
from crm.api.fields import to_contact_ids
from crm.models import Subscriber
from crm.permissions import Access

FIELDS: dict[str, Validator] = {
    "search": single_line(255),
    "status": single_line(20),
    "sequence_id": optional_id,
    "with": to_strings,
}
# How a run ends by hand.
ENDS = {"cancelled": RunStatus.CANCELLED, "completed": RunStatus.COMPLETED}


def filter_runs(runs: QuerySet[Run], params: dict[str, Any]) -> QuerySet[Run]:
    """Filter runs by FluentCRM's parameters. A status that FluentCRM alone has finds none."""
    if params.get("status"):
        runs = runs.filter(status__in=FILTERS.get(params["status"], []))
    if params.get("sequence_id"):
        passed = RunStep.objects.filter(run=OuterRef("pk"), step_id=params["sequence_id"])
        runs = runs.filter(Q(Exists(passed)) | Q(step_id=params["sequence_id"]))
    if search := params.get("search"):
        is_match = Q()
        for column in ("email", "first_name", "last_name"):
            is_match |= Q(**{f"{column}__icontains": search})
        contacts = Subscriber.objects.filter(is_match, pk=OuterRef("subscriber_id"))
        runs = runs.filter(Exists(contacts))
    return runs.select_related("automation").order_by("-created_at", "-id")


class FunnelSubscriberViewSet(ApiViewSet):
    """The contacts of a funnel: `/funnels/{id}/subscribers`."""

    access: ClassVar[dict[str, Access]] = {
        "list": rights.READ_FUNNEL_RUNS,
        "destroy_several": rights.END_RUNS,
        "retrieve": rights.READ_FUNNEL_RUNS,
        "status": rights.END_RUNS,
    }
    lookup_url_kwarg = "contact_id"
    lookup_value_regex = ID_REGEX
    queryset = Run.objects.all()
    pagination_class = FunnelSubscriberPagination

    @schema.SUBSCRIBERS
    def list(self, request: Request, funnel_id: str) -> Response:
        """List the contacts of a funnel, `with[]` the funnel and its sequences."""
        params = validate(FIELDS, self.params)
        automation = self._funnel()
        runs = Run.objects.filter(automation_id=automation.pk)
        page = self.paginate_queryset(filter_runs(runs, params))
        rows = run_rows(page, request.user.has_perm)
        check_rows(rows)
        response = self.get_paginated_response(rows)
        more: dict[str, Any] = {}
        document = without_secrets(document_of(automation), request.user.has_perm)
        if "funnel" in params.get("with", []):
            more["funnel"] = funnel_row(automation, document)
        if "sequences" in params.get("with", []):
            more["sequences"] = flatten(sequence_tree(automation, document))
        return Response({**response.data, **more})

    @schema.REMOVE_SUBSCRIBERS
    def destroy_several(self, request: Request, funnel_id: str) -> Response:
        """Delete the runs of contacts. They may start once more."""
        ids = validate({"subscriber_ids": to_contact_ids}, self.params).get("subscriber_ids")
        automation = self._funnel()
        if not ids:
            raise Unprocessable("subscriber_ids parameter is required")
        runs = Run.objects.filter(automation_id=automation.pk, subscriber_id__in=ids)
        delete_and_record(request, runs)
        return Response({"message": "Subscribed has been removed from this automation funnel"})

    @schema.SUBSCRIBER
    def retrieve(self, request: Request, funnel_id: str, contact_id: str) -> Response:
        """Return the newest run of a contact, or null."""
        automation = self._funnel()
        run = self._newest(automation)
        rows = run_rows([run], request.user.has_perm) if run else [None]
        document = without_secrets(document_of(automation), request.user.has_perm)
        sequences = flatten(sequence_tree(automation, document))
        return Response({"funnel_subscriber": rows[0], "sequences": sequences})

    @schema.SUBSCRIBER_STATUS
    @action(detail=True, methods=["put"], pagination_class=None)
    def status(self, request: Request, funnel_id: str, contact_id: str) -> Response:
        """End the run of a contact: cancelled, or completed. One that has ended stays so."""
        status = validate({"status": single_line(20)}, self.params).get("status")
        automation = self._funnel()
        if not status:
            raise Unprocessable("Subscription status is required")
        run = self._newest(automation)
        if run is None:
            raise Unprocessable("No Corresponding report found")
        if status not in ENDS:
            raise Unprocessable("Tallybook can set the status to cancelled or completed.")
        if not end_runs([run.pk], ENDS[status]):
            ended = "completed" if run.status == RunStatus.COMPLETED else "cancelled"
            raise Unprocessable(f"The status already {ended} state")
        return Response({"message": f"Status has been updated to {status}"})

    def _funnel(self) -> Automation:
        return find_automation(clamp_id(self.kwargs["funnel_id"]), "Funnel")

    def _newest(self, automation: Automation) -> Run | None:
        [contact_id] = current_ids([self.url_id])
        runs = Run.objects.filter(automation_id=automation.pk, subscriber_id=contact_id)
        return runs.select_related("automation").order_by("-number").first()


class FunnelRunViewSet(ApiViewSet):
    """The contacts of all funnels."""

    access: ClassVar[dict[str, Access]] = {
        "automations": rights.READ_FUNNEL_RUNS,
        "all_activities": rights.READ_FUNNEL_RUNS,
        "remove_bulk_subscribers": rights.END_RUNS,
    }
    pagination_class = FluentPagination

    @schema.CONTACT_FUNNELS
    @action(
        detail=False,
        url_path=f"subscriber/(?P<contact_id>{ID_REGEX})/automations",
        pagination_class=FunnelRunPagination,
    )
    def automations(self, request: Request, contact_id: str) -> Response:
        """List the funnels that a contact is or was in."""
        [found] = current_ids([clamp_id(contact_id)])
        runs = shown_runs().filter(subscriber_id=found)
        page = self.paginate_queryset(filter_runs(runs, {}))
        if not page and not Subscriber.objects.filter(pk=found).exists():
            raise ObjectNotFound("Subscriber")
        rows = self._with_funnels(page, contacts=False)
        check_rows(rows)
        return self.get_paginated_response(rows)

    @schema.ACTIVITIES
    @action(detail=False, url_path="all-activities", pagination_class=ActivityPagination)
    def all_activities(self, request: Request) -> Response:
        """List the runs of all funnels, the newest first."""
        params = validate(FIELDS, self.params)
        params.pop("sequence_id", None)
        page = self.paginate_queryset(filter_runs(shown_runs(), params).order_by("-id"))
        rows = self._with_funnels(page, contacts=True)
        for row, run in zip(rows, page, strict=True):
            assert run.automation.version
            document = without_secrets(run.automation.version.document, request.user.has_perm)
            row["funnel"]["actions"] = flatten(sequence_tree(run.automation, document))
        check_rows(rows)
        return self.get_paginated_response(rows)

    @schema.REMOVE_BULK
    @action(detail=False, methods=["post"], url_path="remove-bulk-subscribers")
    def remove_bulk_subscribers(self, request: Request) -> Response:
        """Delete runs by their ids. Their contacts may start once more."""
        fields = {"funnel_subscriber_ids": to_ids}
        ids = validate(fields, self.params).get("funnel_subscriber_ids")
        if not ids:
            raise Unprocessable("Please provide funnel subscriber IDs")
        delete_and_record(request, Run.objects.filter(pk__in=ids))
        message = "Selected subscribers has been removed from this automation funnels"
        return Response({"message": message})

    def _with_funnels(self, runs: "list[Run]", *, contacts: bool) -> "list[dict[str, Any]]":
        ids = {run.automation_id for run in runs}
        automations = Automation.with_deleted.select_related("version").in_bulk(ids)
        for run in runs:
            run.automation = automations[run.automation_id]
        return [
            {**row, "funnel": funnel_row(run.automation, document_of(run.automation))}
            for row, run in zip(
                run_rows(runs, self.request.user.has_perm, contacts=contacts), runs, strict=True
            )
        ]

    @override
    def get_queryset(self) -> QuerySet[Run]:
        return Run.objects.all()


def delete_and_record(request: Request, runs: QuerySet[Run]) -> None:
    """Delete runs, and write that into the audit log."""
    ids = [*runs.values_list("pk", flat=True)]
    delete_runs(ids)
    record(request, "deleted", what="automation run", **of_ids(ids))
