"""The pages that add and change an automation: a builder, whose form is the document as JSON."""

import json
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import ADDITION, CHANGE
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse
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
from automations.models import Automation
from automations.portable import import_automation
from automations.recipes import RECIPES
from automations.rights import require_reading, require_writing, without_secrets
from automations.writing import Outdated, create_automation, document_of, update_automation
from config.api.errors import InvalidFields
from config.api.validation import MAX_ID, is_valid_id
from config.audit import of_ids, record
from config.database import in_transaction
from crm.admin.base import PagedModelAdmin
from crm.admin.history import log_entry
from crm.labels import LabelKind

MAX_UPLOAD = 256 * 1024


class AutomationFormMixin(PagedModelAdmin):
    """The pages `add/` and `<id>/change/`, and the check of what they build."""

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
                return self.added(request, self._create(request, document_from_json(text)))
            except InvalidFields as error:
                errors = error_lines(error)
        return self._form(request, None, "Add automation", text, errors)

    @in_transaction
    def _create(self, request: HttpRequest, data: Any) -> Automation:
        """Create a draft by the builder, or by a recipe or a file, which may create labels."""
        assert isinstance(request.user, User)
        created: dict[LabelKind, list[str]] = {}
        if "document" in request.POST:
            automation = create_automation(data, request.user)
        else:
            has_perm = request.user.has_perm
            automation, created = import_automation(data, request.user, has_perm)
        require_writing(document_of(automation), request.user.has_perm)
        for kind, titles in created.items():
            if titles:
                messages.info(request, f"New {kind}: {', '.join(titles)}.")
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
        automation = self.find(request, id_of(object_id), to_change=to_change)
        text = document_as_json(without_secrets(document_of(automation), request.user.has_perm))
        assert automation.version
        number = automation.version.number
        errors: list[str] = []
        if to_change:
            text = request.POST.get("document", "")
            sent = request.POST.get("version", "")
            try:
                version = int(sent) if is_valid_id(sent) else 0
                self._update(request, automation.pk, document_from_json(text), version)
                self.log(request, automation, CHANGE, "Changed.")
                messages.success(request, "Saved. Contacts inside go on in this version.")
                return self.to_report(automation)
            except Automation.DoesNotExist:
                # Deleted meanwhile.
                raise Http404 from None
            except Outdated as error:
                number = error.version.number
                errors = [
                    f"{error.version.created_by or 'A program'} saved version {number} while you "
                    "were editing, so yours was not saved. It is below, as you left it. Save it "
                    f"again to put it in place of version {number}."
                ]
            except InvalidFields as error:
                errors = error_lines(error)
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

    def added(self, request: HttpRequest, automation: Automation) -> HttpResponse:
        """Log a new draft, and redirect to its report."""
        self.log(request, automation, ADDITION, "Added.")
        messages.success(request, f"“{automation}” is a draft now. Publish it when it is ready.")
        return self.to_report(automation)

    def log(self, request: HttpRequest, automation: Automation, flag: int, message: str) -> None:
        """Add an entry to the history and the audit log."""
        log_entry(request, str(automation.pk), automation.title, flag, message, model=Automation)
        done = message.split()[0].lower().rstrip(".,")
        record(request, done, what="automation", **of_ids([automation.pk]))

    def to_report(self, automation: Automation) -> HttpResponse:
        """Redirect to the report of an automation."""
        url = reverse("admin:automations_automation_report", args=[automation.pk])
        return HttpResponseRedirect(url)


def _posted_text(request: HttpRequest) -> str:
    """Return the document of the builder, of a recipe or of a file, as JSON.

    Raises:
        InvalidFields: 422, there is none, or the file is too large or no object.
    """
    if recipe := request.POST.get("recipe"):
        for each in RECIPES:
            if each.name == recipe:
                return json.dumps(each.document)
    if upload := request.FILES.get("file"):
        content: bytes = upload.read(MAX_UPLOAD + 1)
        if len(content) > MAX_UPLOAD:
            raise InvalidFields({"document": {"max": "The file is larger than 256 KB."}})
        text = content.decode(errors="replace")
        if not isinstance(document_from_json(text), dict):
            raise InvalidFields({"document": {"object": "The file must hold a JSON object."}})
        return text
    return request.POST.get("document", "")


def error_lines(error: InvalidFields) -> list[str]:
    """Return the errors of a document, each with its place for people."""
    return [
        f"{place_name(place)}: {message}" for place, message in error_messages(error.detail).items()
    ]


def id_of(object_id: str) -> int:
    """Return the id that a URL has.

    Raises:
        Http404: no row can have it.
    """
    if not is_valid_id(object_id):
        raise Http404
    return int(object_id)
