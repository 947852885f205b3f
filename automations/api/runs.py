"""The endpoints of runs: `/automations/runs`, and those of a contact."""

from collections.abc import Collection
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.decorators import action
from rest_framework.request import Request
from typing_extensions import override

from automations.api import rights, schema
from automations.api.pagination import RUN_NAMES, ContactRunPagination, with_names
from automations.api.serializers import RunSerializer, RunStepSerializer
from automations.documents import walk
from automations.kinds import BRANCHES
from automations.models import Run
from automations.programs import program
from automations.rights import hide_urls, without_secrets
from automations.runs import end_runs, shown_runs
from config.api.errors import ObjectNotFound, Unprocessable
from config.api.pagination import check_rows
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import clamp_id
from config.api.viewsets import ApiViewSet
from crm.api.merged import MergedContactMixin
from crm.filters.types import HasPerm
from crm.models import Subscriber
from crm.permissions import Access

# What a run has where its automation is not known from the URL.
WHERE = ("automation_title", "automation_status", "step")


def show_runs(runs: Collection[Run], has_perm: HasPerm) -> Any:
    """Return runs with their automations, and the steps where they are, without their branches."""
    steps: dict[int, dict[int, Any]] = {}
    for run in runs:
        if run.version_id not in steps:
            document = without_secrets(program(run.version_id).document, has_perm)
            steps[run.version_id] = {
                step["id"]: {name: step[name] for name in step if name not in BRANCHES}
                for step in walk(document["steps"])
            }
        run.step = steps[run.version_id].get(run.step_id or 0)  # type: ignore[attr-defined]
    return RunSerializer(runs, many=True, include=WHERE).data


class RunViewSet(ApiViewSet):
    """Runs of contacts through automations."""

    access: ClassVar[dict[str, Access]] = {
        "retrieve": rights.READ_RUNS,
        "cancel": rights.END_RUNS,
    }
    noun = "Run"
    lookup_url_kwarg = "run_id"
    lookup_value_regex = ID_REGEX
    queryset = Run.objects.all()
    serializer_class = RunSerializer
    pagination_class = None

    @override
    def get_queryset(self) -> QuerySet[Run]:
        return shown_runs()

    @schema.RUN
    def retrieve(self, request: Request, run_id: str) -> Response:
        """Return a run, and what its steps did."""
        run = with_names(self.get_queryset().filter(pk=self.url_id), RUN_NAMES).first()
        if run is None:
            raise ObjectNotFound(self.noun)
        [shown] = show_runs([run], request.user.has_perm)
        path = RunStepSerializer(run.steps.order_by("id"), many=True).data
        hide_urls(path, request.user.has_perm)
        return Response({"run": shown, "path": path})

    @schema.MESSAGE
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, run_id: str) -> Response:
        """End a run. What its steps have done stays."""
        self.get_object()
        if not end_runs([self.url_id]):
            raise Unprocessable("The run has ended already.")
        return Response({"message": "The run has been cancelled"})


class ContactAutomationViewSet(MergedContactMixin):
    """The automations of a contact: `/subscribers/{id}/automations`."""

    access: ClassVar[dict[str, Access]] = {"automations": rights.READ_RUNS}
    lookup_url_kwarg = "contact_id"
    lookup_value_regex = ID_REGEX
    serializer_class = RunSerializer
    pagination_class = ContactRunPagination

    @schema.RUNS
    @action(detail=True)
    def automations(self, request: Request, contact_id: str) -> Response:
        """List the automations that a contact is or was in: where it is, and why."""
        contact = clamp_id(contact_id)
        page = self.paginate_queryset(
            shown_runs().filter(subscriber_id=contact).order_by("-created_at", "-id")
        )
        if not page and not Subscriber.objects.filter(pk=contact).exists():
            raise ObjectNotFound("Subscriber")
        rows = show_runs(page, request.user.has_perm)
        check_rows(rows)
        return self.get_paginated_response(rows)
