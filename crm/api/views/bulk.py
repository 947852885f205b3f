"""FluentCRM's endpoint that creates or updates several contacts."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.errors import FieldErrors, InvalidFields, InvalidJSON
from config.api.json_fields import json_text_or, to_shallow_list
from config.api.json_text import read_items
from config.api.parsers import lower_names
from config.api.responses import Response
from config.api.validation import Validator, to_bool, validate
from config.api.viewsets import ApiViewSet
from config.api.warnings import with_warnings
from config.audit import record
from crm.api.batches import Outcome, add_or_update, errors_of, read_draft
from crm.api.rights import ADD
from crm.api.schema import bulk as schema
from crm.api.serializers import ContactReferenceSerializer
from crm.api.views.actions import KEEP_OPT_OUTS, check_attachments
from crm.batches import Draft, Rules, Written
from crm.custom_fields import declared_fields
from crm.permissions import Access, user_source_of

BATCH_FIELDS: dict[str, Validator] = {
    "contacts": json_text_or(to_shallow_list, read_items),
    "force_update": to_bool,
    "restore_erased": to_bool,
    **KEEP_OPT_OUTS,
}


class BulkViewSet(ApiViewSet):
    """The endpoint `/subscribers/bulk-add-update`."""

    access: ClassVar[dict[str, Access]] = {"bulk_add_update": ADD}
    pagination_class = None

    @schema.BULK_ADD_UPDATE
    @action(detail=False, methods=["post"], url_path="bulk-add-update")
    def bulk_add_update(self, request: Request) -> Response:
        """Create or update up to 1,000 contacts by e-mail; each succeeds or fails alone."""
        params = validate(BATCH_FIELDS, self.params, required=("contacts",))
        items = params["contacts"]
        drafts: dict[int, Draft] = {}
        errors: dict[int, FieldErrors] = {}
        declared = cache(declared_fields)
        for index, item in enumerate(items):
            try:
                drafts[index] = read_draft(item, declared)
            except InvalidFields as error:
                errors[index] = error.detail
        names = sum(len(names) for each in drafts.values() for names in each.labels.values())
        check_attachments("contacts", names)
        rules = Rules(
            force_status=params.get("force_update", False),
            keep_opt_outs=params.get("keep_opt_outs", True),
            erased="restore" if params.get("restore_erased") else "reject",
        )
        created: list[Any] = []
        updated: list[Any] = []
        outcomes: list[Outcome] = []
        try:
            outcomes.extend(
                add_or_update(
                    [*drafts.values()], rules, request.user.has_perm, user_source_of(request)
                )
            )
        finally:
            # Also when the database stopped it, because the earlier transactions stay.
            record_batch(request, outcomes)
        for index, outcome in zip(drafts, outcomes, strict=True):
            if not isinstance(outcome, Written):
                errors[index] = errors_of(outcome)
            else:
                reference = ContactReferenceSerializer.of_values(outcome)
                contacts_of = created if outcome.is_new else updated
                contacts_of.append(with_warnings(reference, outcome.warnings))
        body = {
            "message": "Successfully added/updated the subscribers.",
            "created": created,
            "updated": updated,
            "invalids": [sent_item(items[index]) for index in sorted(errors)],
        }
        if errors:
            body["errors"] = [
                {"index": index, "email": sent_email(items[index]), "errors": errors[index]}
                for index in sorted(errors)
            ]
        return Response(body)


def record_batch(request: Request, outcomes: Sequence[Outcome]) -> None:
    """Record in the audit log how many contacts were created and changed, if any."""
    written = [each for each in outcomes if isinstance(each, Written)]
    created = sum(each.is_new for each in written)
    changed = sum(each.is_changed for each in written) - created
    if created or changed:
        record(request, "changed", what="contacts of a batch", created=created, changed=changed)


def sent_item(item: Any) -> Any:
    """Return an item of a batch as sent, or null if it cannot be written as JSON."""
    return None if isinstance(item, InvalidJSON) else item


def sent_email(item: Any) -> Any:
    """Return the e-mail of an item of a batch as sent, or null."""
    return lower_names(item).get("email") if isinstance(item, Mapping) else None
