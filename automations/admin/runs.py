"""Admin pages of runs: the list, and the path of each, with buttons to try again and to cancel."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST
from typing_extensions import override

from automations.admin.why import path_step
from automations.documents import places
from automations.kinds import STEPS
from automations.models import Automation, Run, RunStatus, RunStep, Version
from automations.programs import program
from automations.rights import SEE_RUNS, START_RUNS, require_writing
from automations.runs import end_runs, retry_run, shown_runs
from automations.sentences import Describer, started_by, step_number
from automations.writing import document_of
from config.api.errors import Unprocessable
from config.api.validation import MAX_ID, MAX_ITEMS, is_valid_id
from crm.admin.base import ContactFilter, NewestRowsAdmin, PageByIds, ValueFilter
from crm.admin.history import log_entry
from events.templatetags.events import time_ago

TRIED = "Tried again."
END_RUNS = "automations.change_run"


class AutomationFilter(ValueFilter):
    """Runs of one automation; the first 1,000 by title are offered."""

    title = parameter_name = "automation"

    @override
    def options(self) -> list[tuple[str, str]]:
        rows = Automation.objects.order_by("title", "pk").values_list("pk", "title")
        return [(str(pk), title) for pk, title in rows[:MAX_ITEMS]]

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not Automation.objects.filter(pk=int(value)).exists():
            raise ValueError(value)
        return rows.filter(automation_id=int(value))


class StatusFilter(ValueFilter):
    """Runs of one status."""

    title = parameter_name = "status"

    @override
    def options(self) -> list[tuple[str, str]]:
        return [(value, str(label)) for value, label in RunStatus.choices]

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        return rows.filter(status=RunStatus(value))


class StepFilter(ValueFilter):
    """Runs that are at a step of the chosen automation, or have ended at it."""

    title = parameter_name = "step"

    def __init__(self, request: HttpRequest, *arguments: Any) -> None:
        super().__init__(request, *arguments)
        self._options = _step_options(request.GET.get("automation", ""))

    @override
    def has_output(self) -> bool:
        return bool(self._options or self.value())

    @override
    def options(self) -> list[tuple[str, str]]:
        return [*self._options]

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        if not 0 < int(value) <= MAX_ID:
            raise ValueError(value)
        return rows.filter(step_id=int(value))


def _step_options(automation_id: str) -> list[tuple[str, str]]:
    """Return the ids of an automation's steps, each with its number and what it does."""
    if not is_valid_id(automation_id):
        return []
    current = Automation.objects.filter(pk=int(automation_id)).values("version")
    return [
        (str(step["id"]), f"{step_number(place)}: {STEPS[step['type']].verbose_name}")
        for version in Version.objects.filter(pk__in=current)
        for place, step in places(version.document["steps"])
    ]


class RunList(PageByIds):
    """Runs with where they are."""

    @override
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        describe_runs(self.result_list, request)


@admin.register(Run)
class RunAdmin(NewestRowsAdmin):
    """Runs of contacts through automations, the newest first."""

    list_display = ("contact", "of", "status", "where", "started")
    list_filter = (AutomationFilter, StatusFilter, StepFilter, ContactFilter)
    sortable_by = ()

    @override
    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        # By the index automations_run_newest.
        return ("-created_at", "-id") if request.GET.get("automation") else ("-id",)

    @override
    def get_urls(self) -> list[URLPattern]:
        pages = (("retry", self.retry_view), ("cancel", self.cancel_view))
        return [
            path(
                f"<int:run_id>/{name}/",
                self.admin_site.admin_view(require_POST(view)),
                name=f"automations_run_{name}",
            )
            for name, view in pages
        ] + super().get_urls()

    @override
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perms(SEE_RUNS)

    @override
    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    @override
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return RunList

    @override
    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        return shown_runs().order_by(*self.get_ordering(request))

    @override
    def page_rows(self, rows: QuerySet[Any]) -> list[Any]:
        return list(rows.select_related("automation", "subscriber"))

    @admin.display(description="contact")
    def contact(self, run: Run) -> str:
        """Return the e-mail of the contact."""
        return str(run.subscriber)

    @admin.display(description="automation")
    def of(self, run: Run) -> str:
        """Return the title of the automation."""
        return run.automation.title

    @admin.display(description="where")
    def where(self, run: Run) -> SafeString:
        """Return where the run is, or why it has ended."""
        sentence: SafeString = run.where  # type: ignore[attr-defined]  # by RunList
        return sentence

    @admin.display(description="started")
    def started(self, run: Run) -> str:
        """Return the time since the start."""
        return time_ago(run.created_at)

    @override
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the path of a run, and where it is."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        run = self.get_object(request, object_id)
        if run is None:
            raise Http404
        describer = Describer(request.user.has_perm)
        has_failed = run.status == RunStatus.FAILED or bool(run.attempts)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Run {run.number} of {run.subscriber}",
            "run": run,
            "started_by": started_by(run.source_kind, run.source_key),
            "where": where(run, describer),
            "path": _path(run, describer),
            "may_retry": request.user.has_perms(START_RUNS)
            and has_failed
            and run.status != RunStatus.COMPLETED,
            "may_cancel": request.user.has_perm(END_RUNS) and run.status == RunStatus.ACTIVE,
        }
        return TemplateResponse(request, "admin/automations/run.html", context)

    def retry_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """Try the failed step again at once."""
        return self._change(request, run_id, TRIED)

    def cancel_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """End the run."""
        return self._change(request, run_id, "Cancelled.")

    def _change(self, request: HttpRequest, run_id: int, message: str) -> HttpResponse:
        # What is tried again acts, as after a start.
        permissions = START_RUNS if message == TRIED else (END_RUNS,)
        if not request.user.has_perms(permissions):
            raise PermissionDenied
        run_id = min(run_id, MAX_ID)
        try:
            run = shown_runs().select_related("automation__version").get(pk=run_id)
            if message == TRIED:
                require_writing(document_of(run.automation), request.user.has_perm)
                retry_run(run_id)
            elif not end_runs([run_id], reason=f"Cancelled by {request.user}."):
                raise Unprocessable("The run has ended already.")
        except Run.DoesNotExist:
            raise Http404 from None
        except Unprocessable as error:
            messages.error(request, str(error))
        else:
            log_entry(request, str(run.pk), str(run), CHANGE, message, model=Run)
            messages.success(request, message)
        return HttpResponseRedirect(reverse("admin:automations_run_change", args=[run_id]))


def describe_runs(runs: Sequence[Any], request: HttpRequest) -> None:
    """Set `where` of runs. What their sentences name is looked up together."""
    describer = Describer(request.user.has_perm)
    describer.learn(program(run.version_id).document for run in runs)
    for run in runs:
        run.where = where(run, describer)


def where(run: Run, describer: Describer) -> SafeString:
    """Return where a run is and why, or why it has ended, as a sentence."""
    step = program(run.version_id).steps.get(run.step_id or 0)
    if run.status != RunStatus.ACTIVE:
        # Its status stands beside.
        return format_html("{}", run.reason)
    if step is None:
        return SafeString("About to go on")
    sentence = describer.step(step)
    if run.attempts:
        words = "{}: failed {} time{}, tried again {}"
        plural = "" if run.attempts == 1 else "s"
        return format_html(words, sentence, run.attempts, plural, time_ago(run.due_at))
    if run.entered_at is None or (run.due_at and run.due_at <= timezone.now()):
        return format_html("{}: about to", sentence)
    until = format_html(", until {}", time_ago(run.due_at)) if run.due_at else ""
    return format_html("{}{}", sentence, until)


def _path(run: Run, describer: Describer) -> list[dict[str, Any]]:
    """Return the steps of a run in their order."""
    rows = RunStep.objects.filter(run=run).order_by("id")
    return [path_step(row, row.version_id, describer) for row in rows]
