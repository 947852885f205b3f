"""FluentCRM's endpoints that change funnels, and several of them at once."""

from typing import ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request

from automations.api import rights
from automations.api.funnels import schema
from automations.api.funnels.views import BaseFunnelViewSet
from automations.funnels.rows import FUNNEL_STATUSES, funnel_row, funnel_status, sequence_tree
from automations.funnels.writing import change_trigger, save_sequences
from automations.models import Automation
from automations.rights import require_writing, without_secrets
from automations.writing import delete_automation, document_of, update_automation
from config.api.errors import Unprocessable
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import (
    MAX_NAME_LENGTH,
    Validator,
    optional_id,
    single_line,
    to_ids,
    validate,
)
from config.audit import of_ids, record
from config.database import in_transaction
from crm.api.absent import NO_LABELS
from crm.permissions import Access, user_of

TITLE: dict[str, Validator] = {"title": single_line(MAX_NAME_LENGTH)}
BULK: dict[str, Validator] = {
    "action_name": single_line(64),
    "funnel_ids": to_ids,
    "status": single_line(20),
}


class FunnelEditViewSet(BaseFunnelViewSet):
    """Title, trigger and sequences of funnels, and the bulk actions."""

    access: ClassVar[dict[str, Access]] = {
        "title": rights.CHANGE,
        "change_trigger": rights.CHANGE,
        "sequences": rights.CHANGE,
        "save_sequences": rights.CHANGE,
        "do_bulk_action": rights.CHANGE,
    }
    pagination_class = None

    @schema.TITLE
    @action(
        detail=False,
        methods=["put"],
        url_path=f"funnel/(?P<funnel_id>{ID_REGEX})/title",
    )
    def title(self, request: Request, funnel_id: str) -> Response:
        """Change the title."""
        title = validate(TITLE, self.params, required=TITLE)["title"]
        automation = self.get_object()
        if automation.title == title:
            raise Unprocessable("Funnel already have the same title")
        document = {**document_of(automation), "title": title}
        self.write(lambda: update_automation(automation.pk, document, user_of(request)))
        return Response({"message": f"Title has been updated to {title}"})

    @schema.DO_BULK_ACTION
    @action(detail=False, methods=["post"], url_path="do-bulk-action")
    def do_bulk_action(self, request: Request) -> Response:
        """Set the status of several funnels, or delete them."""
        params = validate(BULK, self.params)
        ids = list(dict.fromkeys(params.get("funnel_ids", [])))
        if not ids:
            raise Unprocessable("Please provide funnel IDs")
        match params.get("action_name"):
            case "change_funnel_status":
                if params.get("status") not in FUNNEL_STATUSES:
                    raise Unprocessable("Please select status")
                self._set_status_of(ids, params["status"])
                message = "Status has been changed for the selected funnels"
            case "delete_funnels":
                if not request.user.has_perms(rights.DELETE.permissions):
                    self.permission_denied(request)
                deleted = [each for each in ids if delete_automation(each)]
                record(request, "deleted", what="automation", **of_ids(deleted))
                message = "Selected Funnels has been deleted permanently"
            case "apply_labels":
                raise Unprocessable(NO_LABELS)
            case _:
                raise Unprocessable("invalid bulk action")
        return Response({"message": message})

    @in_transaction
    def _set_status_of(self, ids: list[int], status: str) -> None:
        """Set the status of funnels, of all or of none. Those that have it stay.

        Raises:
            Overdue: 422, contacts inside of one would go on at once.
        """
        rows = Automation.objects.select_related("version").filter(pk__in=ids).order_by("pk")
        for automation in rows:
            if funnel_status(automation.status) != status:
                require_writing(document_of(automation), self.request.user.has_perm)
                self.set_status(automation, status)

    @schema.CHANGE_TRIGGER
    @action(detail=True, methods=["put"], url_path="change-trigger")
    def change_trigger(self, request: Request, funnel_id: str) -> Response:
        """Change trigger and title. The trigger has to be complete."""
        user = user_of(request)
        automation = self.write(lambda: change_trigger(self.get_object(), self.params, user))
        row = funnel_row(automation, document_of(automation))
        message = "Funnel Trigger has been successfully updated"
        return Response({"message": message, "funnel": row})

    @schema.SEQUENCES
    @action(detail=True, methods=["post"])
    def sequences(self, request: Request, funnel_id: str) -> Response:
        """Replace the steps, which are sent as JSON or as its text."""
        return self._save(request)

    @schema.SAVE_SEQUENCES
    @action(detail=False, methods=["post"], url_path="funnel/save-funnel-sequences")
    def save_sequences(self, request: Request) -> Response:
        """Replace the steps of the funnel `funnel_id`, as FluentCRM's interface does."""
        fields = {"funnel_id": optional_id}
        sent = validate(fields, self.params, required=fields)
        self.kwargs["funnel_id"] = str(sent["funnel_id"])
        return self._save(request)

    def _save(self, request: Request) -> Response:
        user = user_of(request)
        automation = self.write(lambda: save_sequences(self.get_object(), self.params, user))
        document = without_secrets(document_of(automation), request.user.has_perm)
        tree = sequence_tree(automation, document)
        return Response({"sequences": tree, "message": "Sequence successfully updated"})
