"""FluentCRM's endpoints that make one change to several contacts."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.errors import InvalidFields, Unprocessable
from config.api.json_fields import json_text_or, to_fields
from config.api.pagination import PageTooLarge
from config.api.parsers import Params
from config.api.responses import Response
from config.api.validation import (
    Validator,
    multi_line,
    optional_id,
    single_line,
    to_ids,
    to_text,
    validate,
)
from config.api.viewsets import ApiViewSet
from config.api.warnings import Warnings, with_warnings
from config.database import in_transaction
from crm import bulk_columns
from crm.api.absent import NO_MAIL
from crm.api.changes import delete_named, record_change
from crm.api.fields import (
    max_length,
    to_contact_ids,
    to_custom_values,
    to_keep_opt_outs,
    to_label_names,
)
from crm.api.filter_backends import CONTACT_FILTERS, LIST_FIELDS
from crm.api.rights import CHANGE, DELETE
from crm.api.schema import bulk as schema
from crm.api.serializers import serialize_contacts
from crm.attachments import MAX_ATTACHMENTS, attach, detach
from crm.bulk_actions import find_bulk_action
from crm.bulk_changes import (
    change_column,
    change_custom_value,
    change_labels,
    create_label_change,
)
from crm.bulk_columns import BulkColumn, Kept, set_custom_value
from crm.custom_fields import clean_values, declared_fields
from crm.filters.query import OTHER_PARAMETERS, query_filter_help
from crm.labels import (
    LABEL_MODELS,
    LabelKind,
    find_named,
    missing_label_warnings,
    missing_labels,
    resolve_labels,
)
from crm.models import ContactType, Status, Subscriber
from crm.permissions import Access, user_of, user_source_of
from crm.selectors import ids_beyond, read_contacts


def is_status(text: str) -> bool:
    """Return whether a text names a status, in any case."""
    try:
        return bool(Status(text))
    except ValueError:
        return False


RESPONSE_TOO_LARGE = {
    "max": "The response would have more than 8 MB, so nothing was changed. Send fewer subscribers."
}
KEEP_OPT_OUTS: dict[str, Validator] = {"keep_opt_outs": to_keep_opt_outs}
PROPERTY_FIELDS: dict[str, Validator] = {
    "property": single_line(64),
    "value": multi_line,
    "subscribers": to_contact_ids,
    **KEEP_OPT_OUTS,
}
SYNC_FIELDS: dict[str, Validator] = {
    "type": single_line(16),
    "attach": to_label_names,
    "detach": to_label_names,
    "find_by": single_line(16),
    "subscribers": to_contact_ids,
}
ACTION_FIELDS: dict[str, Validator] = {
    "action_name": single_line(64),
    "subscriber_ids": to_contact_ids,
    "action_options": to_ids,
    "new_status": single_line(50),
    "custom_field": json_text_or(to_fields),
    "contact_query": json_text_or(to_fields),
    "last_id": optional_id,
    **KEEP_OPT_OUTS,
}
# Of one request that means all contacts of a query, as in FluentCRM.
CONTACTS_PER_REQUEST = 400
# The parameters of a contact_query besides those that filter. They change nothing.
UNUSED_IN_QUERY = ("search", "sort_by", "sort_type", "has_commerce", "custom_fields")
# Action -> the kind of label, and whether labels are attached or detached.
LABEL_ACTIONS: dict[str, tuple[LabelKind, bool]] = {
    "add_to_tags": ("tags", True),
    "add_to_lists": ("lists", True),
    "remove_from_tags": ("tags", False),
    "remove_from_lists": ("lists", False),
}
# Action -> the column, the error without a value, the message.
COLUMN_ACTIONS: dict[str, tuple[BulkColumn, str, str]] = {
    "change_contact_status": (
        "status",
        "Please select status",
        "Status has been changed for the selected subscribers",
    ),
    "change_contact_type": (
        "contact_type",
        "Please select new type",
        "Contact Type has been updated for the selected subscribers",
    ),
}

NO_MAIL_ACTIONS = ("send_double_optin", "add_to_email_sequence")
ALL_DONE = {
    "is_completed": True,
    "completed_contacts": 0,
    "message": "All contacts has been processed",
}
# Rule of a warning -> which contacts kept their status.
KEPT = {"keep_opt_outs": "opted out", "erased": "were erased"}
IS_VALID: dict[BulkColumn, Callable[[str], bool]] = {
    "status": is_status,
    "contact_type": ContactType.values.__contains__,
    "avatar": lambda value: (
        len(value) <= max_length("avatar") and value.startswith(("http://", "https://", "/"))
    ),
}


class ActionViewSet(ApiViewSet):
    """The endpoints below `/subscribers` that make one change to several contacts."""

    access: ClassVar[dict[str, Access]] = {
        "update_property": CHANGE,
        "sync_segments": CHANGE,
        "do_bulk_action": CHANGE,
    }
    pagination_class = None

    @schema.UPDATE_PROPERTY
    @action(detail=False, methods=["put"], url_path="subscribers-property")
    def update_property(self, request: Request) -> Response:
        """Set status, contact type or avatar of several contacts."""
        # FluentCRM names these two fields otherwise in its errors.
        names = {
            "column": self.params.get("property"),
            "subscriber_ids": self.params.get("subscribers"),
        }
        validate({}, names, required=names)
        params = validate(PROPERTY_FIELDS, self.params)
        column = params["property"]
        if column not in IS_VALID:
            raise Unprocessable("Column is not valid")
        value = params.get("value", "")
        warnings = set_column(request, column, value, params["subscribers"], params)
        return Response(with_warnings({"message": "Subscribers successfully updated"}, warnings))

    @schema.SYNC_LABELS
    @action(detail=False, methods=["post"], url_path="sync-segments")
    def sync_segments(self, request: Request) -> Response:
        """Attach and detach tags or lists, by slug unless `find_by` says title or id."""
        params = validate(SYNC_FIELDS, self.params, required=("type", "subscribers"))
        if params["type"] not in LABEL_MODELS:
            raise InvalidFields({"type": {"in": "The type must be tags or lists."}})
        kind: LabelKind = params["type"]
        contact_ids = params["subscribers"]
        warnings: Warnings = []
        attached, detached = find_label_ids(kind, params, warnings)
        check_attachments("subscribers", len(contact_ids) * len(attached))

        @in_transaction
        def sync() -> list[dict[str, Any]]:
            # First, because a contact may have its most labels. A label of both is detached.
            changes = ((False, detached), (True, [*set(attached).difference(detached)]))
            for is_attached, label_ids in changes:
                if label_ids:
                    change_labels_of(request, kind, is_attached, contact_ids, label_ids)
            return serialize_contacts(
                read_contacts(contact_ids, user_source_of(request)), ("tags", "lists")
            )

        try:
            subscribers = sync()
        except PageTooLarge:
            raise InvalidFields({"subscribers": RESPONSE_TOO_LARGE}) from None
        noun = "subscriber" if len(contact_ids) == 1 else "subscribers"
        body = {"message": f"Successfully updated the {noun}.", "subscribers": subscribers}
        return Response(with_warnings(body, warnings))

    @schema.DO_BULK_ACTION
    @action(
        detail=False,
        methods=["post"],
        url_path="do-bulk-action",
        filter_backends=CONTACT_FILTERS,
        list_fields=LIST_FIELDS,
    )
    def do_bulk_action(self, request: Request) -> Response:
        """Apply one action to several contacts.

        With `is_all`, to the next 400 contacts of `contact_query` after `last_id`. See FluentCRM's
        app/Http/Controllers/SubscriberController.php, handleBulkActions.
        """
        is_all = self.is_on("is_all")
        params = validate(ACTION_FIELDS, self.params, ("contact_query",) if is_all else ())
        name = params.get("action_name", "")
        if name in NO_MAIL_ACTIONS:
            raise Unprocessable(NO_MAIL)
        if is_all:
            contact_ids = self._next_contacts(params["contact_query"], params.get("last_id", 0))
            if not contact_ids:
                return Response(ALL_DONE)
        else:
            contact_ids = params.get("subscriber_ids", [])
        if not contact_ids:
            raise Unprocessable("Subscribers selection is required")
        warnings: Warnings = []
        changed_ids: Sequence[int] | None = None
        if name == "delete_contacts":
            # The scope was checked already.
            if not request.user.has_perms(DELETE.permissions):
                self.permission_denied(request)
            sent = validate({"subscriber_ids": to_ids}, self.params).get("subscriber_ids")
            delete_named(request, contact_ids if is_all or not sent else sent)
            message = "Selected Contacts has been deleted permanently"
        elif name in COLUMN_ACTIONS:
            column, missing, message = COLUMN_ACTIONS[name]
            if not params.get("new_status"):
                raise Unprocessable(missing)
            warnings = set_column(request, column, params["new_status"], contact_ids, params)
        elif name == "update_custom_fields":
            set_custom_value_of(request, *sent_custom_value(params), contact_ids)
            message = "Custom Fields has been updated for the selected subscribers"
        elif name in LABEL_ACTIONS:
            kind, is_attached = LABEL_ACTIONS[name]
            if not params.get("action_options"):
                raise Unprocessable("Please provide bulk options")
            if is_attached:
                number = len(contact_ids) * len(params["action_options"])
                check_attachments("action_options" if is_all else "subscriber_ids", number)
            change = in_transaction(change_labels_of)
            change(request, kind, is_attached, contact_ids, params["action_options"])
            warnings = missing_id_warnings("action_options", kind, params["action_options"])
            message = "Selected bulk action has been successfully completed"
        elif added := find_bulk_action(name):
            if not request.user.has_perms(added.permissions):
                self.permission_denied(request)
            result = added.run(contact_ids, params.get("new_status", ""), request.user.has_perm)
            message, changed_ids = result.message, result.contact_ids
        else:
            raise Unprocessable("Selected Action is not valid")
        body: dict[str, Any] = {
            "last_contact_id": contact_ids[-1],
            "completed_contacts": len(contact_ids),
            "message": message,
        }
        if changed_ids is not None:
            body["subscribers"] = serialize_contacts(read_contacts(changed_ids))
        return Response(with_warnings(body, warnings))

    def _next_contacts(self, query: dict[str, Any], last_id: int) -> list[int]:
        """Return the ids of the next contacts of a `contact_query`.

        Raises:
            InvalidFields: 422, a filter is invalid, or a name is unknown, because without a filter
                that is misspelt the action would change other contacts. Or filter_type is missing,
                which tells that all contacts are meant where no filter has a value.
        """
        # Without companies, as FluentCRM's own pages send it.
        query = {name: value for name, value in query.items() if value or name != "company_ids"}
        names = [*query_filter_help(), *OTHER_PARAMETERS, *UNUSED_IN_QUERY]
        if not query.get("filter_type"):
            message = "The contact_query must have a filter_type: simple or advanced."
            raise InvalidFields({"contact_query": {"required": message}})
        if unknown := [name for name in query if name not in names]:
            message = f"There is no {', '.join(unknown)}. There are {', '.join(names)}."
            raise InvalidFields({"contact_query": {"in": message}})
        # Where the filter backends read the parameters of a list.
        self.params = query
        contacts = self.filter_queryset(Subscriber.objects.all())
        return ids_beyond(contacts, last_id, CONTACTS_PER_REQUEST)


def change_labels_of(
    request: Request,
    kind: LabelKind,
    is_attached: bool,
    contact_ids: list[int],
    label_ids: list[int],
) -> None:
    """Attach or detach labels. A change of several contacts can be undone in the admin."""
    if len(contact_ids) == 1:
        (attach if is_attached else detach)(kind, contact_ids, label_ids)
        return
    user = user_of(request)
    job = create_label_change(kind, is_attached, label_ids, len(contact_ids), user)
    change_labels(job, kind, is_attached, contact_ids, label_ids)
    record_change(request, kind, job)


def check_attachments(field: str, number: int) -> None:
    """Check how many times a request attaches a tag or list to a contact.

    Raises:
        InvalidFields: 422, more than 100,000 times.
    """
    if number > MAX_ATTACHMENTS:
        message = (
            f"The request attaches tags and lists {number:,} times, and {MAX_ATTACHMENTS:,} times "
            f"is the most. Send fewer {field}."
        )
        raise InvalidFields({field: {"max": message}})


def set_column(
    request: Request, column: BulkColumn, value: str, contact_ids: list[int], params: Params
) -> Warnings:
    """Set a column of contacts. That of several contacts can be undone in the admin.

    Returns:
        A warning for each reason for which contacts kept theirs.

    Raises:
        Unprocessable: 422, the column cannot have this value.
    """
    if not IS_VALID[column](value):
        raise Unprocessable("Value is not valid")
    keep_opt_outs = params.get("keep_opt_outs", True)
    kept: Kept
    if len(contact_ids) == 1:
        kept = bulk_columns.set_column(contact_ids, column, value, keep_opt_outs).kept
    else:
        job, kept = change_column(column, value, contact_ids, keep_opt_outs, user_of(request))
        record_change(request, column, job)
    warnings: Warnings = []
    for rule, kept_ids in kept.items():
        who, ids = KEPT[rule], ", ".join(map(str, kept_ids))
        message = f"Contacts that {who} keep their status: {len(kept_ids)}, with the ids {ids}."
        warnings.append({"field": column, "rule": rule, "message": message})
    return warnings


def set_custom_value_of(request: Request, key: str, value: Any, contact_ids: list[int]) -> None:
    """Set a custom value of contacts. That of several contacts can be undone in the admin.

    Raises:
        InvalidFields: 422, as `set_custom_value`.
    """
    if len(contact_ids) == 1:
        set_custom_value(contact_ids, key, value)
        return
    job = change_custom_value(key, value, contact_ids, user_of(request))
    record_change(request, "custom_values", job)


def sent_custom_value(params: Params) -> tuple[str, Any]:
    """Return the key and the value that `custom_field` of an action sets.

    Raises:
        Unprocessable: 422, no key.
        InvalidFields: 422, the field cannot have the value.
    """
    custom_field = params.get("custom_field", {})
    key = validate({"key": to_text}, custom_field).get("key")
    if not key:
        raise Unprocessable("Please provide a valid custom field key")
    sent = {"custom_values": {key: custom_field.get("value")}}
    values = validate({"custom_values": to_custom_values}, sent)["custom_values"]
    cleaned, errors = clean_values(values, declared_fields())
    if errors:
        raise InvalidFields(errors)
    [(key, value)] = cleaned.items()
    return key, value


def missing_id_warnings(field: str, kind: LabelKind, ids: list[int]) -> Warnings:
    """Return a warning if a field has ids that no label has."""
    missing = {label_id for _, label_id in missing_labels((kind, each) for each in ids)}
    return missing_label_warnings(field, kind, list(map(str, sorted(missing))))


def find_label_ids(
    kind: LabelKind, params: Params, warnings: Warnings
) -> tuple[list[int], list[int]]:
    """Return the ids of the labels that sync-segments attaches, and of those that it detaches.

    Names that no label has are added to `warnings`.

    Raises:
        InvalidFields: 422, find_by is not slug, title or id, or an id is invalid.
    """
    fields = ("attach", "detach")
    found: list[list[int]] = []
    match params.get("find_by") or "slug":
        case "id":
            for field in fields:
                ids: list[int] = validate({field: to_ids}, params).get(field, [])
                warnings += missing_id_warnings(field, kind, ids)
                found.append(ids)
        case "slug" | "title" as column:
            names = [name for field in fields for name in params.get(field, []) if name]
            ids_of = find_named(kind, names, (column,))
            for field in fields:
                label_ids, missing = resolve_labels(
                    kind, params.get(field, []), create=False, found=ids_of
                )
                warnings += missing_label_warnings(field, kind, missing)
                found.append(label_ids)
        case _:
            raise InvalidFields({"find_by": {"in": "The find_by must be slug, title or id."}})
    attached, detached = found
    return attached, detached
