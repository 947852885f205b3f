"""Admin pages of automations: the list, the report, and what changes their state."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from typing_extensions import override

from automations.admin.builder import document_as_json
from automations.admin.form import AutomationFormMixin, error_lines, id_of
from automations.admin.reports import report_context
from automations.admin.why import why_context
from automations.health import lateness
from automations.models import Automation, AutomationStatus
from automations.portable import export_document
from automations.reports import count_runs, count_webhooks
from automations.rights import SEE_RUNS, require_export, require_writing
from automations.writing import (
    Overdue,
    copy_automation,
    delete_automation,
    document_of,
    overdue,
    pause,
    publish,
    resume,
)
from config.api.errors import Forbidden, InvalidFields, Unprocessable
from crm.admin.base import PageByIds
from crm.admin.label_actions import confirmation_context
from events.templatetags.events import time_ago

# Why an automation stays in its state.
STATE_ERRORS = (InvalidFields, Overdue, Unprocessable)
# Automations that an action could not resume, each with the reason.
MAX_FAULTS = 5


class AutomationList(PageByIds):
    """Automations with links to their reports instead of their forms."""

    @override
    def url_for_result(self, result: Model) -> str:
        return reverse("admin:automations_automation_report", args=[result.pk])


@admin.register(Automation)
class AutomationAdmin(AutomationFormMixin):
    """Automations, with a builder and a report."""

    list_display = ("title", "state", "inside", "completed", "last_start")
    search_fields = ("title",)
    search_help_text = "Title"
    sortable_by = ("title",)
    ordering = ("-id",)
    actions = ("resume_selected",)

    @override
    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("check/", require_POST(self.check_view), "check"),
            ("<int:automation_id>/", self.report_view, "report"),
            ("<int:automation_id>/why/", self.why_view, "why"),
            ("<int:automation_id>/export/", self.export_view, "export"),
            ("<int:automation_id>/state/", require_POST(self.state_view), "state"),
        )
        return [
            path(suffix, self.admin_site.admin_view(view), name=f"automations_automation_{name}")
            for suffix, view, name in pages
        ] + super().get_urls()

    @override
    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions = super().get_actions(request)
        # A deletion asks with the numbers of one automation.
        actions.pop("delete_selected", None)
        return actions

    @override
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return AutomationList

    @override
    def page_rows(self, rows: Any) -> list[Any]:
        automations = list(rows)
        found = count_runs(each.pk for each in automations)
        for each in automations:
            each.totals = found[each.pk]
        return automations

    @admin.display(description="state")
    def state(self, automation: Automation) -> str:
        """Return the state, and why it is paused if no admin user has paused it."""
        if automation.paused_reason:
            return f"paused: {automation.paused_reason}"
        return automation.get_status_display()

    @admin.display(description="inside")
    def inside(self, automation: Any) -> str:
        """Return the number of contacts inside."""
        return f"{automation.totals.inside:,}"

    @admin.display(description="completed")
    def completed(self, automation: Any) -> str:
        """Return the number of completed runs."""
        return f"{automation.totals.completed:,}"

    @admin.display(description="last start")
    def last_start(self, automation: Any) -> str:
        """Return the time since the last start."""
        return time_ago(automation.totals.last_started_at) or "-"

    @override
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method == "GET" and self.has_view_permission(request):
            if late := lateness():
                messages.warning(request, late)
            if paused := _paused_sentence():
                messages.warning(request, paused)
        return super().changelist_view(request, extra_context)

    def page_context(
        self, request: HttpRequest, automation: Automation, title: str
    ) -> dict[str, Any]:
        """Return the context of all pages of an automation."""
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "automation": automation,
            "title": title,
            "may_change": self.has_change_permission(request, automation),
            "may_add": self.has_add_permission(request),
            "may_delete": self.has_delete_permission(request, automation),
        }

    def report_view(self, request: HttpRequest, automation_id: int) -> HttpResponse:
        """Show the state of an automation and what became of its contacts, step by step."""
        automation = self.find(request, automation_id, to_change=False)
        context = {
            **self.page_context(request, automation, automation.title),
            **report_context(automation, request.user.has_perm),
            "late": lateness(),
        }
        return TemplateResponse(request, "admin/automations/report.html", context)

    def why_view(self, request: HttpRequest, automation_id: int) -> HttpResponse:
        """Tell why a contact starts or does not, and try the automation with it."""
        automation = self.find(request, automation_id, to_change=False)
        if not request.user.has_perms(SEE_RUNS):
            raise PermissionDenied
        context = {
            **self.page_context(request, automation, "Why, and a dry run"),
            **why_context(request, automation),
        }
        return TemplateResponse(request, "admin/automations/why.html", context)

    def export_view(self, request: HttpRequest, automation_id: int) -> HttpResponse:
        """Send the document as a file, which can be imported."""
        automation = self.find(request, automation_id, to_change=False)
        require_export(document_of(automation), request.user.has_perm)
        try:
            text = document_as_json(export_document(automation))
        except InvalidFields as error:
            messages.error(request, f"Edit it first. {' '.join(error_lines(error))}")
            return self.to_report(automation)
        name = f"automation-{automation.pk}.json"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(text, content_type="application/json", headers=headers)

    def state_view(self, request: HttpRequest, automation_id: int) -> HttpResponse:
        """Publish, pause, resume or copy an automation, as the field `do` says."""
        automation = self.find(request, automation_id, to_change=True)
        do = request.POST.get("do", "")
        try:
            if do != "pause":
                require_writing(document_of(automation), request.user.has_perm)
            if do == "copy":
                return self._copy(request, automation)
            message = _change_state(automation, do)
        except Automation.DoesNotExist:
            # Deleted meanwhile.
            raise Http404 from None
        except STATE_ERRORS as error:
            messages.error(request, _error_sentence(error))
        else:
            self.log(request, automation, CHANGE, message)
            messages.success(request, message)
        return self.to_report(automation)

    @admin.action(description="Resume the selected automations", permissions=["change"])
    def resume_selected(
        self, request: HttpRequest, queryset: QuerySet[Automation]
    ) -> TemplateResponse | None:
        """Resume those that are paused, after a page that asks what becomes of overdue runs."""
        paused = list(queryset.filter(status=AutomationStatus.PAUSED).select_related("version"))
        choice = request.POST.get("overdue", "")
        number = sum(overdue(each) for each in paused)
        if number and choice not in ("run", "cancel"):
            context = {
                **self.admin_site.each_context(request),
                **confirmation_context(request),
                "opts": self.opts,
                "title": "Resume the selected automations",
                "action": "resume_selected",
                "overdue": number,
            }
            return TemplateResponse(request, "admin/automations/resume.html", context)
        faults = []
        for automation in paused:
            try:
                require_writing(document_of(automation), request.user.has_perm)
                message = _change_state(automation, choice or "publish")
            except (Automation.DoesNotExist, Forbidden, *STATE_ERRORS) as error:
                faults.append(f"“{automation}” is not resumed. {_error_sentence(error)}")
            else:
                self.log(request, automation, CHANGE, message)
        messages.success(request, f"Resumed: {len(paused) - len(faults):,}.")
        for fault in faults[:MAX_FAULTS]:
            messages.error(request, fault)
        if len(faults) > MAX_FAULTS:
            messages.error(request, f"Not resumed besides: {len(faults) - MAX_FAULTS:,}.")
        return None

    def _copy(self, request: HttpRequest, automation: Automation) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        assert isinstance(request.user, User)
        return self.added(request, copy_automation(automation, request.user))

    @override
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask with the numbers of what is deleted, and delete."""
        automation = self.find(request, id_of(object_id), to_change=False)
        if not self.has_delete_permission(request, automation):
            raise PermissionDenied
        if request.method == "POST":
            self.log_deletions(request, Automation.objects.filter(pk=automation.pk))
            delete_automation(automation.pk)
            messages.success(request, f"“{automation}” was deleted.")
            return HttpResponseRedirect(reverse("admin:automations_automation_changelist"))
        context = {
            **self.page_context(request, automation, f"Delete {automation}?"),
            "totals": count_runs([automation.pk])[automation.pk],
            "webhooks": count_webhooks(automation),
        }
        return TemplateResponse(request, "admin/automations/delete.html", context)


def _paused_sentence() -> str:
    """Return a sentence about automations that no admin user has paused, or ""."""
    paused = Automation.objects.exclude(paused_reason="")
    number = paused.count()
    if number > 1:
        return f"{number:,} automations are paused. The column “state” tells why."
    return "".join(f"“{each}” is paused: {each.paused_reason}" for each in paused)


def _error_sentence(error: Exception) -> str:
    if isinstance(error, Overdue):
        return f"{error.detail['overdue']:,} are overdue by now. Choose what becomes of them."
    if isinstance(error, InvalidFields):
        return f"Edit it first. {' '.join(error_lines(error))}"
    return str(error)


def _change_state(automation: Automation, do: str) -> str:
    """Publish, pause or resume, and return what was done.

    Raises:
        Http404: `do` is something else.
        ApiError: 422, the automation is in another state, or its document is invalid.
    """
    match do:
        case "publish" if automation.status == AutomationStatus.PAUSED:
            resume(automation.pk)
            return "Resumed."
        case "publish":
            publish(automation.pk)
            return "Published. What happens from now on starts it."
        case "pause":
            pause(automation.pk)
            return "Paused. The contacts inside stay where they are."
        case "run":
            return f"Resumed. Overdue runs that go on now: {resume(automation.pk, 'run'):,}."
        case "cancel":
            return f"Resumed. Overdue runs that were cancelled: {resume(automation.pk, do):,}."
    raise Http404
