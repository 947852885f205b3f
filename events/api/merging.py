"""The endpoint that merges a contact into another one."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.errors import InvalidFields
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.serializers import format_datetime
from config.api.validation import (
    Validator,
    optional_id,
    single_line,
    to_email,
    to_strict_bool,
    to_strings,
    validate,
)
from config.api.viewsets import ApiViewSet
from config.audit import of_ids, record
from crm.aliases import Name
from crm.emails import email_key
from crm.merge_plans import Choice, Merge
from crm.merging import MAX_ROWS, merge_contacts
from crm.models import Scope
from crm.permissions import Access
from events.api import schema
from events.models import MERGE_CONTACTS

FIELDS: dict[str, Validator] = {
    "other_id": optional_id,
    "other_email": lambda value: to_email(value) if value else "",
    "take": to_strings,
    "status": single_line(50),
    "dry_run": to_strict_bool,
}
ONE_NAME = "Send either other_id or other_email."


class MergeViewSet(ApiViewSet):
    """The endpoint `/subscribers/{id}/merge`."""

    access: ClassVar[dict[str, Access]] = {"merge": Access(Scope.MANAGE, *MERGE_CONTACTS)}
    lookup_url_kwarg = "contact_id"
    lookup_value_regex = ID_REGEX
    pagination_class = None
    filter_backends = ()

    @schema.MERGE
    @action(detail=True, methods=["post"])
    def merge(self, request: Request, contact_id: str) -> Response:
        """Merge another contact into this one, which has then what both had."""
        # An unknown one may be a dry_run that is misspelt.
        if unknown := [name for name in self.params if name not in FIELDS]:
            message = f"There is no {', '.join(unknown)}. There are {', '.join(FIELDS)}."
            raise InvalidFields({unknown[0]: {"in": message}})
        fields = validate(FIELDS, self.params)
        choice = Choice(fields.get("take", ()), fields.get("status") or None)
        dry_run = fields.get("dry_run", False)
        merge = merge_contacts(
            self.url_id, other_name(fields), choice, dry_run=dry_run, max_rows=MAX_ROWS
        )
        if merge.other and not dry_run:
            record_merge(request, merge)
        return Response(
            {
                "message": merge.sentence(dry_run),
                "id": merge.survivor.pk,
                "other_id": merge.other.pk if merge.other else None,
                "dry_run": dry_run,
                "counts": merge.counts,
                "changes": {
                    name: {"old": to_wire(old), "new": to_wire(new)}
                    for name, (old, new) in merge.changes.items()
                },
            }
        )


def other_name(fields: dict[str, Any]) -> Name:
    """Return what names the other contact.

    Raises:
        InvalidFields: 422, nothing does, or both fields do.
    """
    other_id, other_email = fields.get("other_id"), fields.get("other_email")
    if bool(other_id) == bool(other_email):
        raise InvalidFields({"other_id": {"required": ONE_NAME}})
    return ("contact", str(other_id)) if other_id else ("email", email_key(str(other_email)))


def to_wire(value: Any) -> Any:
    """Return a value of a contact's column as the contact shows it."""
    if isinstance(value, datetime):
        return format_datetime(value)
    return str(value) if isinstance(value, date | Decimal) else value


def record_merge(request: Any, merge: Merge) -> None:
    """Write a merge to the audit log."""
    assert merge.other
    record(request, "merged", what="contact", **of_ids([merge.other.pk]), into=merge.survivor.pk)
