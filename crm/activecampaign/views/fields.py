"""Custom fields: `/api/3/fields`, and contacts' values of them: `/api/3/fieldValues`."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import InvalidFields
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import (
    MAX_NAME_LENGTH,
    InvalidValue,
    Validator,
    long_text,
    nullable_line,
    to_text,
    validate,
)
from config.api.warnings import Warnings, with_warnings
from config.audit import of_ids, record
from crm.activecampaign import contacts, schema
from crm.activecampaign.fields import (
    to_keyed,
    to_object_id,
    to_stored,
    unknown_field,
    unwrap,
)
from crm.activecampaign.pagination import ACFieldPagination
from crm.activecampaign.serializers import (
    FIELD_TYPES,
    ACContactSerializer,
    ACFieldSerializer,
    field_options,
    field_value,
    split_value_id,
)
from crm.activecampaign.viewsets import ApiV3ViewSet, NoResult, unknown_filters
from crm.aliases import current_ids
from crm.api.rights import CHANGE, READ
from crm.custom_fields import (
    add_field,
    clean_values,
    declared_fields,
    delete_field,
    slug_of_label,
    update_field,
    values_of,
)
from crm.labels import SlugTaken
from crm.models import CustomField, FieldType, Scope
from crm.permissions import Access

TYPES = {name: kind for kind, name in FIELD_TYPES.items()} | {
    "hidden": FieldType.TEXT,
    "multiselect": FieldType.SELECT_MULTI,
}
# Of the parameters that search custom fields.
LOOKUPS = {"search": "label__icontains", "title": "label__iexact", "perstag": "slug__iexact"}
# The id of `field_value`.
VALUE_ID_REGEX = "[0-9]{1,28}"
DUPLICATE = {"duplicate": "Another field has this perstag."}


def to_field_type(value: Any) -> FieldType:
    """Convert ActiveCampaign's type of a field."""
    try:
        return TYPES[to_text(value).strip().lower()]
    except KeyError:
        raise InvalidValue("in", f"The {{field}} must be one of: {', '.join(TYPES)}.") from None


FIELD: dict[str, Validator] = {
    "title": nullable_line(MAX_NAME_LENGTH),
    "type": to_field_type,
    "perstag": long_text(MAX_NAME_LENGTH),
}


class ACFieldViewSet(ApiV3ViewSet):
    """The definitions of custom fields. Keys of contacts that no field declares have no id."""

    access: ClassVar[dict[str, Access]] = {
        "list": READ,
        "retrieve": READ,
        "create": Access(Scope.MANAGE, "crm.add_customfield"),
        "update": Access(Scope.MANAGE, "crm.change_customfield"),
        "destroy": Access(Scope.MANAGE, "crm.delete_customfield"),
    }
    lookup_url_kwarg = "field_id"
    lookup_value_regex = ID_REGEX
    queryset = CustomField.objects.all()
    serializer_class = ACFieldSerializer
    pagination_class = ACFieldPagination
    filter_backends = ()
    parameters = ("search", "filters")

    @schema.LIST_FIELDS
    def list(self, request: Request) -> Response:
        """List the custom fields, in their order."""
        page = self.paginate_queryset(self.search(self.get_queryset()))
        return self.get_paginated_response(
            [(ACFieldSerializer(field).data, field_options(field)) for field in page]
        )

    @schema.FIELD
    def retrieve(self, request: Request, field_id: str) -> Response:
        """Return a custom field."""
        return self.respond(self.get_object())

    @schema.CREATE_FIELD
    def create(self, request: Request) -> Response:
        """Create a custom field. Its slug is the perstag in lower case, or made from the title."""
        warnings: Warnings = []
        sent = validate(FIELD, unwrap(self.params, "field"), ("title", "type"), warnings)
        slug = (sent.get("perstag") or "").strip("%").lower()
        slug = slug or slug_of_label(sent["title"], declared_fields())
        field = CustomField(label=sent["title"], type=sent["type"], slug=slug)
        try:
            add_field(field)
        except SlugTaken:
            raise InvalidFields({"perstag": DUPLICATE}) from None
        record(request, "added", what="custom field", **of_ids([field.pk]))
        return self.respond(field, 201, warnings)

    @schema.UPDATE_FIELD
    def update(self, request: Request, field_id: str) -> Response:
        """Change title and type of a custom field. Its slug stays, and so do values of contacts."""
        field = self.get_object()
        warnings: Warnings = []
        stored = {"title": field.label, "type": FIELD_TYPES[FieldType(field.type)]}
        sent = validate(FIELD, {**stored, **unwrap(self.params, "field")}, stored, warnings)
        columns = {"label": sent["title"], "type": sent["type"]}
        if not update_field(field.pk, columns):
            raise NoResult("Field", field.pk)
        record(request, "changed", what="custom field", **of_ids([field.pk]))
        return self.respond(self.get_object(), 200, warnings)

    @schema.DESTROY
    def destroy(self, request: Request, field_id: str) -> Response:
        """Delete the definition of a custom field. Values of contacts stay."""
        field = self.get_object()
        delete_field(field.pk)
        record(request, "deleted", what="custom field", **of_ids([field.pk]))
        return Response({})

    def search(self, rows: QuerySet[CustomField]) -> QuerySet[CustomField]:
        """Return the fields whose title, or tag, the parameters match."""
        filters = validate({"filters": to_keyed}, self.params).get("filters", {})
        if unknown := filters.keys() - {"perstag", "title"}:
            raise unknown_filters(f"filters[{name}]" for name in sorted(unknown))
        texts = {"search": self.params.get("search"), **filters}
        sent = validate(dict.fromkeys(texts, nullable_line(MAX_NAME_LENGTH)), texts)
        return rows.filter(**{LOOKUPS[name]: text for name, text in sent.items() if text})

    def respond(
        self, field: CustomField, status: int = 200, warnings: Warnings | None = None
    ) -> Response:
        """Return the response with one custom field."""
        body = {
            "fieldOptions": field_options(field),
            "fieldRels": [],
            "field": ACFieldSerializer(field).data,
        }
        return Response(with_warnings(body, warnings or []), status=status)

    @override
    def get_object(self) -> CustomField:
        field: CustomField | None = self.get_queryset().filter(pk=self.url_id).first()
        if field is None:
            raise NoResult("Field", self.url_id)
        return field


class ACFieldValueViewSet(ApiV3ViewSet):
    """Contacts' values of custom fields."""

    access: ClassVar[dict[str, Access]] = {
        "retrieve": READ,
        "create": CHANGE,
        "update": CHANGE,
        "destroy": CHANGE,
    }
    lookup_url_kwarg = "value_id"
    lookup_value_regex = VALUE_ID_REGEX
    pagination_class = None
    filter_backends = ()

    @schema.FIELD_VALUE
    def retrieve(self, request: Request, value_id: str) -> Response:
        """Return a contact's value of a custom field."""
        contact_id, field = self._named()
        values = values_of(contact_id, {field.slug: field})
        if field.slug not in values:
            raise self._no_value()
        return Response({"fieldValue": field_value(contact_id, field, values[field.slug])})

    @schema.SET_FIELD_VALUE
    def create(self, request: Request) -> Response:
        """Set a contact's value of a custom field. An empty one removes the value."""
        names = ("contact", "field")
        sent = unwrap(self.params, "fieldValue")
        ids = validate(dict.fromkeys(names, to_object_id), sent, names)
        field = CustomField.objects.filter(pk=ids["field"]).first()
        if field is None:
            raise unknown_field(ids["field"])
        return self._set(ids["contact"], field, sent.get("value"), 201)

    @schema.SET_FIELD_VALUE
    def update(self, request: Request, value_id: str) -> Response:
        """Set the value by its id. An empty one removes the value."""
        contact_id, field = self._named()
        return self._set(contact_id, field, unwrap(self.params, "fieldValue").get("value"), 200)

    @schema.DESTROY
    def destroy(self, request: Request, value_id: str) -> Response:
        """Remove a contact's value of a custom field."""
        contact_id, field = self._named()
        contacts.set_field_value(contact_id, field.slug, "")
        return Response({})

    def _set(self, contact_id: int, field: CustomField, value: Any, status: int) -> Response:
        fields = {field.slug: field}
        cleaned, errors = clean_values({field.slug: to_stored(field, value)}, fields)
        if errors:
            raise InvalidFields(errors)
        contact = contacts.set_field_value(contact_id, field.slug, cleaned[field.slug])
        body = {
            "contacts": [ACContactSerializer(contact).data],
            "fieldValue": field_value(contact.pk, field, cleaned[field.slug]),
        }
        return Response(body, status=status)

    def _named(self) -> tuple[int, CustomField]:
        """Return the id of the contact and the custom field that the URL names."""
        sent_id, field_id = split_value_id(self.kwargs["value_id"])
        [contact_id] = current_ids([sent_id])
        field = CustomField.objects.filter(pk=field_id).first()
        if field is None or not contact_id:
            raise self._no_value()
        return contact_id, field

    def _no_value(self) -> NoResult:
        return NoResult("FieldValue", int(self.kwargs["value_id"]))
