"""Admin pages of automations: the list, the builder, the report, and what changes their state."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, CHANGE
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from typing_extensions import override

from automations.admin.builder import (
    NEW,
    automation_table,
    check,
    document_as_json,
    document_from_json,
    error_messages,
    place_name,
)
from automations.admin.reports import report_context
from automations.admin.why import why_context
from automations.models import Automation, AutomationStatus
from automations.portable import export_document, import_automation
from automations.recipes import RECIPES
from automations.reports import count_runs
from automations.rights import require_reading, require_writing
from automations.writing import (
    Outdated,
    Overdue,
    copy_automation,
    create_automation,
    delete_automation,
    document_of,
    pause,
    publish,
    resume,
    update_automation,
)
from config.api.errors import InvalidFields, Unprocessable
from config.api.validation import MAX_ID
from config.audit import of_ids, record
from config.database import in_transaction
from crm.admin.base import PageByIds, PagedModelAdmin
from crm.admin.history import log_entry
from events.templatetags.events import time_ago

MAX_UPLOAD = 256 * 1024


class AutomationList(PageByIds):
    """Automations with links to their reports instead of their forms."""

    @override
    def url_for_result(self, result: Model) -> str:
        return reverse("admin:automations_automation_report", args=[result.pk])


@admin.register(Automation)
class AutomationAdmin(PagedModelAdmin):
    """Automations, with a builder and a report."""

    list_display = ("title", "state", "inside", "completed", "last_start")
    search_fields = ("title",)
    search_help_text = "Title"
    sortable_by = ("title",)
    ordering = ("-id",)
    actions = None

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
            for each in Automation.objects.exclude(paused_reason="").order_by("-updated_at")[:5]:
                messages.warning(request, f"“{each}” is paused: {each.paused_reason}")
        return super().changelist_view(request, extra_context)

    def find(self, request: HttpRequest, automation_id: int, *, to_change: bool) -> Automation:
        """Return an automation that the admin user may see or change.

        Raises:
            PermissionDenied: the admin user may not.
            Http404: there is no such automation.
        """
        automations = Automation.objects.select_related("version", "version__created_by")
        automation = automations.filter(pk=min(automation_id, MAX_ID)).first()
        permitted = self.has_change_permission if to_change else self.has_view_permission
        if not permitted(request, automation):
            raise PermissionDenied
        if automation is None:
            raise Http404
        require_reading(document_of(automation), request.user.has_perm)
        return automation

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
        }
        return TemplateResponse(request, "admin/automations/report.html", context)

    def why_view(self, request: HttpRequest, automation_id: int) -> HttpResponse:
        """Tell why a contact starts or does not, and try the automation with it."""
        automation = self.find(request, automation_id, to_change=False)
        if not request.user.has_perm("crm.view_subscriber"):
            raise PermissionDenied
        context = {
            **self.page_context(request, automation, "Why, and a dry run"),
            **why_context(request, automation),
        }
        return TemplateResponse(request, "admin/automations/why.html", context)

    def export_view(self, request: HttpRequest, automation_id: int) -> HttpResponse:
        """Send the document as a file, which can be imported."""
        automation = self.find(request, automation_id, to_change=False)
        try:
            text = document_as_json(export_document(automation))
        except InvalidFields as error:
            messages.error(request, f"Edit it first. {' '.join(_error_lines(error))}")
            return self._to_report(automation)
        name = f"automation-{automation.pk}.json"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(text, content_type="application/json", headers=headers)

    def state_view(self, request: HttpRequest, automation_id: int) -> HttpResponse:
        """Publish, pause, resume or copy an automation, as the field `do` says."""
        automation = self.find(request, automation_id, to_change=True)
        do = request.POST.get("do", "")
        try:
            if do == "copy":
                return self._copy(request, automation)
            if do != "pause":
                require_writing(document_of(automation), request.user.has_perm)
            message = _change_state(automation, do)
        except Overdue as error:
            number = error.detail["overdue"]
            messages.error(request, f"{number:,} are overdue by now. Choose what becomes of them.")
        except InvalidFields as error:
            messages.error(request, f"Edit it first. {' '.join(_error_lines(error))}")
        except Unprocessable as error:
            messages.error(request, str(error))
        else:
            self._log(request, automation, CHANGE, message)
            messages.success(request, message)
        return self._to_report(automation)

    def _copy(self, request: HttpRequest, automation: Automation) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        assert isinstance(request.user, User)
        return self._added(request, copy_automation(automation, request.user))

    def check_view(self, request: HttpRequest) -> JsonResponse:
        """Return the errors and sentences of the document that the builder sends as JSON."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        # Django has read such a body as a form, and it cannot be read again.
        if request.content_type == "multipart/form-data":
            return JsonResponse({"message": "The document is to be sent as JSON."}, status=415)
        return JsonResponse(check(request.body, request.user.has_perm))

    @override
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the builder, ready recipes and an import, or create a draft by one of them."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        text = document_as_json(NEW)
        errors: list[str] = []
        if request.method == "POST":
            try:
                text = _posted_text(request)
                return self._added(request, self._create(request, document_from_json(text)))
            except InvalidFields as error:
                errors = _error_lines(error)
        return self._form(request, None, "Add automation", text, errors)

    @in_transaction
    def _create(self, request: HttpRequest, data: Any) -> Automation:
        """Create a draft by the builder, or by a recipe or a file, which may create labels."""
        assert isinstance(request.user, User)
        if "document" in request.POST:
            automation = create_automation(data, request.user)
        else:
            has_perm = request.user.has_perm
            automation, created = import_automation(data, request.user, has_perm)
            for kind, titles in created.items():
                if titles:
                    messages.info(request, f"New {kind}: {', '.join(titles)}.")
        require_writing(document_of(automation), request.user.has_perm)
        return automation

    @override
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the builder of an automation, and save a new version."""
        to_change = request.method == "POST"
        automation = self.find(request, _id_of(object_id), to_change=to_change)
        text = document_as_json(document_of(automation))
        assert automation.version
        number = automation.version.number
        errors: list[str] = []
        if to_change:
            text = request.POST.get("document", "")
            sent = request.POST.get("version", "")
            try:
                version = int(sent) if sent.isascii() and sent.isdecimal() else 0
                self._update(request, automation.pk, document_from_json(text), version)
                self._log(request, automation, CHANGE, "Changed.")
                messages.success(request, "Saved. Contacts inside go on in this version.")
                return self._to_report(automation)
            except Outdated as error:
                number = error.version.number
                errors = [
                    f"{error.version.created_by or 'A program'} saved version {number} while you "
                    "were editing, so yours was not saved. It is below, as you left it. Save it "
                    f"again to put it in place of version {number}."
                ]
            except InvalidFields as error:
                errors = _error_lines(error)
        title = f"Edit {automation}" if self.has_change_permission(request) else str(automation)
        return self._form(request, automation, title, text, errors, number)

    @in_transaction
    def _update(self, request: HttpRequest, automation_id: int, data: Any, version: int) -> None:
        assert isinstance(request.user, User)
        automation = update_automation(automation_id, data, request.user, version=version)
        require_writing(document_of(automation), request.user.has_perm)

    def _form(
        self,
        request: HttpRequest,
        automation: Automation | None,
        title: str,
        text: str,
        errors: list[str],
        version: int = 0,
    ) -> HttpResponse:
        may_save = automation is None or self.has_change_permission(request, automation)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "automation": automation,
            "title": title,
            "text": text,
            "errors": errors,
            "version": version,
            "may_save": may_save,
            "recipes": RECIPES,
            "table": automation_table(request.user.has_perm) if may_save else None,
        }
        return TemplateResponse(request, "admin/automations/form.html", context)

    @override
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask with the numbers of what is deleted, and delete."""
        automation = self.find(request, _id_of(object_id), to_change=False)
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
        }
        return TemplateResponse(request, "admin/automations/delete.html", context)

    def _added(self, request: HttpRequest, automation: Automation) -> HttpResponse:
        self._log(request, automation, ADDITION, "Added.")
        messages.success(request, f"“{automation}” is a draft now. Publish it when it is ready.")
        return self._to_report(automation)

    def _log(self, request: HttpRequest, automation: Automation, flag: int, message: str) -> None:
        log_entry(request, str(automation.pk), automation.title, flag, message, model=Automation)
        record(request, message.split()[0].lower().rstrip(".,"), **of_ids([automation.pk]))

    def _to_report(self, automation: Automation) -> HttpResponse:
        url = reverse("admin:automations_automation_report", args=[automation.pk])
        return HttpResponseRedirect(url)


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


def _posted_text(request: HttpRequest) -> str:
    """Return the document of the builder, of a recipe or of a file, as JSON.

    Raises:
        InvalidFields: 422, there is none, or the file is too large or no text.
    """
    if recipe := request.POST.get("recipe"):
        for each in RECIPES:
            if each.name == recipe:
                return json.dumps(each.document)
    if upload := request.FILES.get("file"):
        content: bytes = upload.read(MAX_UPLOAD + 1)
        if len(content) > MAX_UPLOAD:
            raise InvalidFields({"document": {"max": "The file is larger than 256 KB."}})
        return content.decode(errors="replace")
    return request.POST.get("document", "")


def _error_lines(error: InvalidFields) -> list[str]:
    return [
        f"{place_name(place)}: {message}" for place, message in error_messages(error.detail).items()
    ]


def _id_of(object_id: str) -> int:
    if not object_id.isascii() or not object_id.isdecimal():
        raise Http404
    return int(object_id[:20])
