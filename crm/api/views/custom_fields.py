"""FluentCRM's endpoints of custom fields."""

from typing import Any, ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.responses import Response
from config.api.validation import MAX_NAME_LENGTH, Validator, single_line, to_strings, validate
from config.api.viewsets import ApiViewSet
from config.api.warnings import Warnings, with_warnings
from config.audit import record
from crm.api.custom_fields import (
    FIELD_GROUPS,
    FIELD_TYPES,
    FIELDS,
    read_definitions,
    serialize_field,
)
from crm.api.schema import custom_fields as schema
from crm.custom_fields import declared_fields, defined_fields, rename_group, replace_fields
from crm.models import Scope
from crm.permissions import Access

WITH: dict[str, Validator] = {"with": to_strings}
GROUP_NAMES: dict[str, Validator] = {
    "old_name": single_line(MAX_NAME_LENGTH),
    "new_name": single_line(MAX_NAME_LENGTH),
}
VERBS = ("add", "change", "delete")


class CustomFieldViewSet(ApiViewSet):
    """Custom fields: `/custom-fields/contacts`."""

    access: ClassVar[dict[str, Access]] = {
        # With the permission of contacts, because keys of their custom values are listed too.
        "contacts": Access(Scope.READ, "crm.view_subscriber"),
        "replace": Access(Scope.MANAGE, *(f"crm.{verb}_customfield" for verb in VERBS)),
        "update_group_name": Access(Scope.MANAGE, "crm.change_customfield"),
    }
    pagination_class = None

    @schema.CUSTOM_FIELDS
    @action(detail=False)
    def contacts(self, request: Request) -> Response:
        """Return the custom fields, and other keys of contacts' custom values as text fields."""
        wanted = validate(WITH, self.params).get("with", [])
        body: dict[str, Any] = {"fields": [*map(serialize_field, defined_fields())]}
        if "field_types" in wanted:
            body["field_types"] = FIELD_TYPES
        if "field_groups" in wanted:
            body["field_groups"] = FIELD_GROUPS
        return Response(body)

    @schema.REPLACE_FIELDS
    @contacts.mapping.put
    def replace(self, request: Request) -> Response:
        """Replace all custom fields by those of the request. Values of contacts stay."""
        # The empty list deletes all, and a missing one is an error.
        required = () if self.params.get("fields") in ([], "[]") else FIELDS
        items = validate(FIELDS, self.params, required)["fields"]
        warnings: Warnings = []
        fields = read_definitions(items, warnings)
        replace_fields(fields)
        record(request, "changed", what="custom fields", number=len(fields))
        message = "Fields saved successfully!"
        body = {"fields": [*map(serialize_field, fields)], "message": message}
        return Response(with_warnings(body, warnings))

    @schema.RENAME_GROUP
    @action(detail=False, methods=["put"], url_path="contacts/update_group_name")
    def update_group_name(self, request: Request) -> Response:
        """Rename a group of custom fields."""
        names = validate(GROUP_NAMES, self.params, GROUP_NAMES)
        if rename_group(names["old_name"], names["new_name"]):
            record(request, "changed", what="custom fields")
        fields = [*map(serialize_field, declared_fields().values())]
        return Response({"fields": fields, "message": "Group name updated successfully!"})
