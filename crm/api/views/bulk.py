"""FluentCRM's endpoint that creates or updates several contacts."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.errors import FieldErrors, Forbidden, InvalidFields, InvalidJSON
from config.api.json_fields import json_text_or, to_shallow_list
from config.api.json_text import read_items
from config.api.parsers import lower_names
from config.api.responses import Response
from config.api.validation import (
    Validator,
    to_bool,
    validate,
)
from config.api.viewsets import ApiViewSet
from config.api.warnings import Warnings, with_warnings
from config.database import in_transaction
from crm import contacts
from crm.api.changes import change_labels
from crm.api.fields import (
    LABEL_FIELDS,
    contact_fields,
    with_values_of_slugs,
)
from crm.api.rights import ADD, CHANGE, require_change
from crm.api.schema import bulk as schema
from crm.api.serializers import ContactReferenceSerializer
from crm.api.views.actions import KEEP_OPT_OUTS, check_attachments
from crm.batches import MAX_TOGETHER, Draft, NotTogether, Rules, Written, write_together
from crm.custom_fields import Fields, declared_fields
from crm.filters.types import HasPerm
from crm.models import Erasure
from crm.permissions import Access

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
        emails = [draft.fields["email"] for draft in drafts.values()]
        rules = Rules(
            force_status=params.get("force_update", False),
            keep_opt_outs=params.get("keep_opt_outs", True),
            erased=Erasure.erased_keys([] if params.get("restore_erased") else emails),
        )
        created: list[Any] = []
        updated: list[Any] = []
        outcomes = add_or_update([*drafts.values()], rules, request.user.has_perm)
        for index, outcome in zip(drafts, outcomes, strict=True):
            if isinstance(outcome, InvalidFields):
                errors[index] = outcome.detail
            elif isinstance(outcome, Forbidden):
                errors[index] = {"contact": {"forbidden": str(outcome)}}
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


def read_draft(item: Any, declared: Callable[[], Fields]) -> Draft:
    """Validate one contact of a batch.

    Args:
        item: the contact as sent.
        declared: returns the definitions of custom fields.

    Raises:
        InvalidFields: a field is invalid, or the item is not JSON, or not an object.
    """
    if isinstance(item, InvalidJSON):
        raise InvalidFields({"contact": {"json": f"The contact is not JSON: {item.reason}."}})
    if not isinstance(item, Mapping):
        raise InvalidFields({"contact": {"object": "The contact must be an object."}})
    warnings: Warnings = []
    params = with_values_of_slugs(lower_names(item), declared)
    fields = contact_fields(params, warnings, required=("email",), declared=declared)
    labels = validate(LABEL_FIELDS, params, warnings=warnings)
    return Draft(fields, labels, warnings)


def add_or_update(
    drafts: Sequence[Draft], rules: Rules, has_perm: HasPerm
) -> list[Written | InvalidFields | Forbidden]:
    """Create or update the contacts of a batch, in its order: together, and alone where need be.

    Returns:
        The outcome of each.
    """
    outcomes: list[Written | InvalidFields | Forbidden] = []
    may_change = all(map(has_perm, CHANGE.permissions))
    size = MAX_TOGETHER
    while len(outcomes) < len(drafts):
        following = drafts[len(outcomes) : len(outcomes) + size]
        try:
            outcomes += write_together(following, rules, may_change)
            size = min(2 * size, MAX_TOGETHER)
        except NotTogether as error:
            if not error.position:
                try:
                    outcomes.append(write_alone(following[0], rules, has_perm))
                except (InvalidFields, Forbidden) as rejection:
                    outcomes.append(rejection)
            # Short after an exception, because contacts that are alike often follow each other.
            size = error.position or 1
    return outcomes


@in_transaction
def write_alone(draft: Draft, rules: Rules, has_perm: HasPerm) -> Written:
    """Create or update one contact of a batch.

    A user_id that another contact has is ignored and reported if the contact exists, because an
    opt-out beside it has to be written.

    Raises:
        InvalidFields: another contact has the user_id of a new one, or the contact stays erased.
        Forbidden: the user may not change the contact, or not create one of the labels.
    """
    user_id = draft.fields.get("user_id")
    fields = {name: value for name, value in draft.fields.items() if name != "user_id"}
    # A list of each try, because a deadlock repeats this function.
    reported = [*draft.warnings]
    contact, created = contacts.create_or_update(fields, **rules._asdict(), warnings=reported)
    require_change(created, has_perm)
    try:
        if user_id:
            contacts.set_user_id(contact, user_id)
    except InvalidFields:
        if created:
            raise
        message = contacts.USER_ID_TAKEN["unique"]
        reported.append({"field": "user_id", "rule": "unique", "message": message})
    change_labels(contact, draft.labels, reported, has_perm)
    return Written(contact.id, contact.email, contact.status, created, reported)


def sent_item(item: Any) -> Any:
    """Return an item of a batch as sent, or null if it cannot be written as JSON."""
    return None if isinstance(item, InvalidJSON) else item


def sent_email(item: Any) -> Any:
    """Return the e-mail of an item of a batch as sent, or null."""
    return lower_names(item).get("email") if isinstance(item, Mapping) else None
