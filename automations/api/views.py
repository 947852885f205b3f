"""The endpoints of automations: `/automations`."""

from types import SimpleNamespace
from typing import Any, ClassVar

from django.db.models import F
from rest_framework.decorators import action
from rest_framework.request import Request

from automations.api import rights, schema
from automations.api.base import BaseAutomationViewSet
from automations.api.pagination import AutomationPagination
from automations.api.serializers import (
    AutomationRowSerializer,
    AutomationSerializer,
)
from automations.models import Automation, AutomationStatus
from automations.portable import export_document, import_automation
from automations.reports import count_runs
from automations.rights import (
    require_export,
    require_reading,
    require_writing,
    without_secrets,
)
from automations.waits import one_of, whole_number
from automations.writing import (
    copy_automation,
    create_automation,
    delete_automation,
    document_of,
    overdue,
    pause,
    publish,
    resume,
    update_automation,
)
from config.api.errors import InvalidFields, ObjectNotFound, Unprocessable
from config.api.responses import Response
from config.api.validation import (
    MAX_ID,
    MAX_NAME_LENGTH,
    MESSAGES,
    Validator,
    single_line,
    validate,
)
from config.audit import of_ids, record
from crm.permissions import Access, user_of

# Without them a whole document would lose all steps, or let every contact in.
WHOLE = ("conditions", "steps")


def optional(validator: Validator) -> Validator:
    """Return a validator of a query parameter, which is None if it is empty."""
    return lambda value: None if value in (None, "") else validator(value)


LIST_FIELDS: dict[str, Validator] = {
    "search": single_line(MAX_NAME_LENGTH),
    "status": optional(one_of(*AutomationStatus.values)),
}


class AutomationViewSet(BaseAutomationViewSet):
    """Automations. The document of one says what starts it, whom it lets in, and its steps."""

    access: ClassVar[dict[str, Access]] = {
        "list": rights.READ,
        "retrieve": rights.READ,
        "create": rights.ADD,
        "update": rights.CHANGE,
        "destroy": rights.DELETE,
        "publish": rights.CHANGE,
        "pause": rights.PAUSE,
        "resume": rights.CHANGE,
        "copy": rights.ADD,
        "export": rights.READ,
        "import_document": rights.ADD,
    }
    serializer_class = AutomationSerializer
    pagination_class = AutomationPagination

    @schema.LIST
    def list(self, request: Request) -> Response:
        """List automations, the newest first."""
        params = validate(LIST_FIELDS, self.params)
        rows = self.get_queryset().annotate(
            version_number=F("version__number"), trigger=F("version__document__trigger__type")
        )
        if params.get("search"):
            rows = rows.filter(title__icontains=params["search"])
        if params.get("status"):
            rows = rows.filter(status=params["status"])
        page = self.paginate_queryset(rows)
        counts = count_runs(row.pk for row in page)
        for row in page:
            row.counts = counts[row.pk]
            row.last_started_at = row.counts.last_started_at
        return self.get_paginated_response(AutomationRowSerializer(page, many=True).data)

    @schema.CREATE
    def create(self, request: Request) -> Response:
        """Create a draft."""
        automation = self.write(lambda: create_automation(self._document(), user_of(request)))
        return self._stored("Automation has been created", automation)

    @schema.RETRIEVE
    def retrieve(self, request: Request, automation_id: str) -> Response:
        """Return an automation with its document."""
        automation = self.get_object()
        require_reading(document_of(automation), request.user.has_perm)
        return Response({"automation": self._shown(automation)})

    @schema.UPDATE
    def update(self, request: Request, automation_id: str) -> Response:
        """Save a new version. Contacts inside go on in it, at the step with the same id.

        If the document has the number of a `version`, another one that was saved since is 409.
        """
        document = self._document()
        # Another value than an object is rejected below.
        sent = document if isinstance(document, dict) else dict.fromkeys(WHOLE)
        if missing := [name for name in WHOLE if name not in sent]:
            errors = {name: MESSAGES["required"].format(field=name) for name in missing}
            raise InvalidFields({name: {"required": text} for name, text in errors.items()})
        fields: dict[str, Validator] = {"version": optional(whole_number(1, MAX_ID))}
        version = validate(fields, sent).get("version")
        user = user_of(request)
        automation = self.write(
            lambda: update_automation(self.url_id, document, user, version=version)
        )
        return self._stored("Automation has been updated", automation)

    @schema.MESSAGE
    def destroy(self, request: Request, automation_id: str) -> Response:
        """Delete an automation with its versions, runs and webhooks.

        What its steps did to contacts stays.
        """
        if not delete_automation(self.url_id):
            raise ObjectNotFound(self.noun)
        record(request, "deleted", what="automation", **of_ids([self.url_id]))
        return Response({"message": "Automation has been deleted"})

    @schema.WRITTEN
    @action(detail=True, methods=["post"], pagination_class=None)
    def publish(self, request: Request, automation_id: str) -> Response:
        """Let a draft start, by what happens from now on."""
        if self.get_object().status == AutomationStatus.PAUSED:
            raise Unprocessable("The automation is paused. Resume it.")
        automation = self.write(lambda: publish(self.url_id))
        record(request, "published", what="automation", **of_ids([automation.pk]))
        return self._stored("Automation has been published", automation)

    @schema.WRITTEN
    @action(detail=True, methods=["post"], pagination_class=None)
    def pause(self, request: Request, automation_id: str) -> Response:
        """Let an automation start nothing. Contacts inside stay where they are."""
        # The response has the document.
        require_reading(document_of(self.get_object()), request.user.has_perm)
        automation = self.found(lambda: pause(self.url_id))
        record(request, "paused", what="automation", **of_ids([automation.pk]))
        return self._stored("Automation has been paused", automation)

    @schema.RESUME
    @action(detail=True, methods=["post"], pagination_class=None)
    def resume(self, request: Request, automation_id: str) -> Response:
        """Let a paused automation go on.

        Contacts inside whose time has come meanwhile go on at once, or their runs are cancelled, as
        `overdue` says. Without it such contacts are 422 with their number.
        """
        fields: dict[str, Validator] = {"overdue": optional(one_of("run", "cancel"))}
        choice = validate(fields, self.params).get("overdue") or ""
        require_writing(document_of(self.get_object()), request.user.has_perm)
        number = self.found(lambda: resume(self.url_id, choice))
        record(request, "resumed", what="automation", overdue=choice, **of_ids([self.url_id]))
        body = {"message": "Automation has been resumed", "overdue": number}
        return Response({**body, "automation": self._shown(self.get_object())})

    @schema.WRITTEN
    @action(detail=True, methods=["post"], pagination_class=None)
    def copy(self, request: Request, automation_id: str) -> Response:
        """Create a draft with the same document."""
        source = self.get_object()
        automation = self.write(lambda: copy_automation(source, user_of(request)))
        return self._stored("Automation has been copied", automation)

    @schema.EXPORT
    @action(detail=True, pagination_class=None)
    def export(self, request: Request, automation_id: str) -> Response:
        """Return the document for another store: labels by their titles, a segment by its slug."""
        automation = self.get_object()
        require_export(document_of(automation), request.user.has_perm)
        return Response({"automation": export_document(automation)})

    @schema.IMPORT
    @action(detail=False, methods=["post"], url_path="import", pagination_class=None)
    def import_document(self, request: Request) -> Response:
        """Create a draft from an export. Labels that do not exist are created."""
        created: dict[Any, Any] = {}

        def write() -> Automation:
            has_perm = request.user.has_perm
            automation, labels = import_automation(self._document(), user_of(request), has_perm)
            created.update(labels)
            return automation

        automation = self.write(write)
        body = {"message": "Automation has been imported", "automation": self._shown(automation)}
        return Response({**body, "created_labels": created})

    def _document(self) -> Any:
        """Return the document of the body, which is the body, or its `automation` as in a response.

        Parameters of the query string are no part of it.
        """
        body = self.request.data
        assert isinstance(body, dict)  # as our parsers return it
        return body.get("automation", body)

    def _shown(self, automation: Automation) -> dict[str, Any]:
        counts = count_runs([automation.pk])[automation.pk]
        is_paused = automation.status == AutomationStatus.PAUSED
        attributes = {
            **vars(automation),
            **without_secrets(document_of(automation), self.request.user.has_perm),
            "counts": counts,
            "last_started_at": counts.last_started_at,
            "version_number": automation.version.number if automation.version else 0,
            "overdue": overdue(automation) if is_paused else 0,
        }
        shown: dict[str, Any] = AutomationSerializer(SimpleNamespace(**attributes)).data
        return shown

    def _stored(self, message: str, automation: Automation) -> Response:
        return Response({"message": message, "automation": self._shown(automation)})
