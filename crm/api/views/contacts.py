"""FluentCRM's endpoints of contacts: the list, one contact, and the search for a form."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

from rest_framework.decorators import action
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import Forbidden, InvalidFields, ObjectNotFound, Unprocessable
from config.api.json_fields import json_text_or, to_fields
from config.api.pagination import PageTooLarge, check_size
from config.api.parsers import lower_names
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import (
    Validator,
    single_line,
    to_bigint,
    to_email,
    to_ids,
    to_strings,
    validate,
)
from config.api.warnings import Warnings, with_warnings
from config.database import in_transaction
from crm import contacts
from crm.api.changes import LABEL_CHANGES, LabelNames, change_labels, delete_named
from crm.api.custom_fields import serialize_field
from crm.api.fields import (
    LABEL_FIELDS,
    beside_warnings,
    contact_fields,
    to_contact_ids,
    to_label_names,
    with_values_of_slugs,
)
from crm.api.filter_backends import CONTACT_BACKENDS, LIST_FIELDS
from crm.api.merged import MergedContactMixin
from crm.api.pagination import ContactListPagination
from crm.api.rights import ADD, CHANGE, DELETE, READ, READ_SEGMENTS, require_change
from crm.api.schema import contacts as schema
from crm.api.schema.base import MESSAGE
from crm.api.serializers import (
    ContactChoiceSerializer,
    SegmentSerializer,
    SubscriberSerializer,
    serialize_contacts,
    serialize_written,
)
from crm.custom_fields import declared_fields, defined_fields
from crm.filters.describe import error_sentences, humanize_errors
from crm.labels import (
    LabelKind,
)
from crm.models import Segment, Status, Subscriber
from crm.permissions import Access, user_source_of
from crm.segments import segments_of
from crm.selectors import (
    CONTACT_COLUMNS,
    Contact,
    read_contact,
    read_contact_of_email,
    search_q,
)

EMAIL_TAKEN = {"unique": "Provided email already assigned to another subscriber."}
CONTACT_TOO_LARGE = {
    "max": "The contact has more than 8 MB. manage.py export_contact writes all of it."
}
SEGMENTS_TOO_LARGE = {
    "max": "The filters of the contact's segments have more than 8 MB. /segments has pages of them."
}
SEARCH_RESULTS = 20
MAX_SEARCH_RESULTS = 1000
RETRIEVE_FIELDS: dict[str, Validator] = {
    "get_by_email": lambda value: to_email(value) if value else "",
    "with": to_strings,
}
SEARCH_FIELDS: dict[str, Validator] = {
    "search": single_line(255),
    "limit": to_bigint,
    "values": to_contact_ids,
}
STATUS = CONTACT_COLUMNS.index("status")
UNSUBSCRIBED = (Status.UNSUBSCRIBED, Status.BOUNCED, Status.COMPLAINED)


class SubscriberViewSet(MergedContactMixin):
    """Contacts: `/subscribers`."""

    access: ClassVar[dict[str, Access]] = {
        "list": READ,
        "retrieve": READ,
        "search_contacts": READ,
        "create": ADD,
        "update": CHANGE,
        "destroy": DELETE,
        "destroy_several": DELETE,
        "segments": READ_SEGMENTS,
    }
    noun = "Subscriber"
    lookup_url_kwarg = "contact_id"
    lookup_value_regex = ID_REGEX
    queryset = Subscriber.objects.all()
    serializer_class = SubscriberSerializer
    pagination_class = ContactListPagination
    filter_backends = CONTACT_BACKENDS
    list_fields = LIST_FIELDS

    def list(self, request: Request) -> Response:
        """List contacts, the newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        custom = ("custom_fields",) if self.is_on("custom_fields") else ()
        return self.get_paginated_response(serialize_contacts(page, ("tags", "lists", *custom)))

    @schema.RETRIEVE_CONTACT
    def retrieve(self, request: Request, contact_id: str) -> Response:
        """Return a contact by its id, or by `get_by_email` with id 0."""
        params = validate(RETRIEVE_FIELDS, self.params)
        user_source = user_source_of(request)
        if self.url_id == 0 and params.get("get_by_email"):
            contact = read_contact_of_email(params["get_by_email"], user_source)
        else:
            contact = read_contact(self.url_id, user_source)
        if contact is None:
            # 422, where every other URL answers 404. See "show nobody" in
            # tests/conformance/subscribers.json.
            raise Unprocessable("Subscriber not found")
        wanted = params.get("with", [])
        include = ["tags", "lists"]
        include += ["custom_values"] if "subscriber.custom_values" in wanted else []
        include += ["stats"] if "stats" in wanted else []
        if contact[STATUS] in UNSUBSCRIBED:
            include += ["unsubscribe_reason", "unsubscribe_date"]
        body: dict[str, Any] = {"subscriber": serialize_contact(contact, include)}
        if "custom_fields" in wanted:
            body["custom_fields"] = [*map(serialize_field, defined_fields())]
        return Response(body)

    @schema.CREATE_CONTACT
    def create(self, request: Request) -> Response:
        """Create a contact, or with `__force_update` "yes" update the contact of the e-mail."""
        force = self.is_on("__force_update")
        warnings: Warnings = []
        ignored = () if force else ("created_at",)
        declared = cache(declared_fields)
        params = with_values_of_slugs(lower_names(self.params), declared)
        fields = contact_fields(params, warnings, ("email", "status"), ignored, declared)
        labels = validate(LABEL_FIELDS, params, warnings=warnings)
        contact, created, warnings = self._create(fields, labels, force, warnings)
        message = (
            "Successfully added the subscriber."
            if created
            else "contact has been successfully updated."
        )
        action_type = "created" if created else "updated"
        body = {"message": message, "contact": contact, "action_type": action_type}
        return Response(with_warnings(body, warnings))

    @schema.UPDATE_CONTACT
    def update(self, request: Request, contact_id: str) -> Response:
        """Change a contact's fields, and its tags and lists by id, title or slug.

        The fields stand in the body or in its `subscriber`, the tags and lists in either.
        """
        nested = validate({"subscriber": json_text_or(to_fields)}, self.params)
        sent = lower_names(self.params)
        params = lower_names(nested.get("subscriber") or sent)
        warnings = beside_warnings(sent, params)
        if params.get("email", "") is None:
            params = {name: value for name, value in params.items() if name != "email"}
        label_fields = dict.fromkeys(LABEL_CHANGES, to_label_names)
        labels = validate(label_fields, {**sent, **params}, warnings=warnings)
        required = ("email",) if "email" in params else ()
        fields = contact_fields(params, warnings, required, ("created_at", "last_activity"))
        custom_values = fields.pop("custom_values", {})
        contact, changed, warnings = self._update(fields, custom_values, labels, warnings)
        body = {
            "message": "Subscriber successfully updated",
            "contact": contact,
            "isDirty": changed,
            "values": custom_values or [],
        }
        return Response(with_warnings(body, warnings))

    @MESSAGE
    def destroy(self, request: Request, contact_id: str) -> Response:
        """Delete a contact and all its events."""
        if not delete_named(request, [self.url_id]):
            raise ObjectNotFound(self.noun)
        return Response({"message": "Selected Subscriber has been deleted successfully"})

    @schema.DESTROY_CONTACTS
    def destroy_several(self, request: Request) -> Response:
        """Delete contacts and all their events."""
        params = {"subscriber_ids": self.params.get("subscribers")}
        fields = validate({"subscriber_ids": to_ids}, params, required=("subscriber_ids",))
        delete_named(request, fields["subscriber_ids"])
        return Response({"message": "Selected Subscribers has been deleted"})

    @schema.SEARCH_CONTACTS
    @action(detail=False, url_path="search-contacts", pagination_class=None, filter_backends=())
    def search_contacts(self, request: Request) -> Response:
        """Return contacts for a choice in a form: those that match, and those of `values`."""
        params = validate(SEARCH_FIELDS, self.params)
        limit = min(params.get("limit") or SEARCH_RESULTS, MAX_SEARCH_RESULTS)
        choices = Subscriber.objects.only("id", "first_name", "last_name", "email")
        rows: list[Subscriber] = []
        if params.get("search"):
            matches = choices.filter(search_q(params["search"]))
            rows += matches.order_by("id")[:limit]
        if ids := params.get("values", [])[:MAX_SEARCH_RESULTS]:
            rows += choices.filter(id__in=ids).order_by("id")
        serialized = ContactChoiceSerializer(rows, many=True).data
        return Response({"contacts": {choice["id"]: choice for choice in serialized}})

    @schema.CONTACT_SEGMENTS
    @action(detail=True, pagination_class=None, filter_backends=())
    def segments(self, request: Request, contact_id: str) -> Response:
        """Return the segments that a contact is in, by title."""
        ids, left_out = segments_of(self.get_object(), request.user.has_perm)
        segments = Segment.objects.filter(id__in=ids)
        try:
            check_size(segments, "filters")
        except PageTooLarge:
            raise InvalidFields({"segments": SEGMENTS_TOO_LARGE}) from None
        body: dict[str, Any] = {"segments": SegmentSerializer(segments, many=True).data}
        if left_out:
            body["warnings"] = [left_out_warning(title, error) for title, error in left_out]
        return Response(body)

    @override
    def get_object(self) -> Subscriber:
        contact = super().get_object()
        assert isinstance(contact, Subscriber)
        return contact

    def _create(
        self, fields: dict[str, Any], labels: LabelNames, force: bool, warnings: Warnings
    ) -> tuple[dict[str, Any], bool, Warnings]:
        """Create or update a contact.

        Returns:
            The contact serialized, whether it is new, and all warnings.
        """
        user_source = user_source_of(self.request)

        @in_transaction
        def create() -> tuple[dict[str, Any], bool, Warnings]:
            # A list of each try, because a deadlock repeats this function.
            reported = [*warnings]
            if force:
                contact, created = contacts.create_or_update(
                    fields, warnings=reported, user_source=user_source
                )
            else:
                contact, created = contacts.create(fields, reported, user_source), True
            has_perm = self.request.user.has_perm
            require_change(created, has_perm)
            kinds = change_labels(contact, labels, reported, has_perm)
            return serialize_changed(contact, kinds), created, reported

        try:
            return create()
        except contacts.EmailTaken:
            raise InvalidFields({"email": EMAIL_TAKEN}) from None

    def _update(
        self,
        fields: dict[str, Any],
        custom_values: dict[str, Any],
        labels: LabelNames,
        warnings: Warnings,
    ) -> tuple[dict[str, Any], bool, Warnings]:
        """Update the contact of the URL.

        Returns:
            The contact serialized, whether a column changed, and all warnings.
        """

        @in_transaction
        def update() -> tuple[dict[str, Any], bool, Warnings]:
            reported = [*warnings]
            contact = contacts.get_for_update(
                contact_id=self.url_id, user_source=user_source_of(self.request)
            )
            if contact is None:
                raise ObjectNotFound(self.noun)
            changed = contacts.update(contact, fields, reported)
            contacts.set_custom_values(contact, custom_values)
            kinds = change_labels(contact, labels, reported, self.request.user.has_perm)
            return serialize_changed(contact, kinds), changed, reported

        try:
            return update()
        except contacts.EmailTaken:
            raise InvalidFields({"email": EMAIL_TAKEN}) from None


def serialize_contact(contact: Contact, include: Collection[str]) -> dict[str, Any]:
    """Serialize a contact as `serialize_contacts` does.

    Raises:
        InvalidFields: 422, the contact has more than 8 MB, as it may from before it was limited.
    """
    with contact_too_large():
        [serialized] = serialize_contacts([contact], include)
    return serialized


def serialize_changed(contact: Subscriber, kinds: Collection[LabelKind]) -> dict[str, Any]:
    """Serialize a contact as `serialize_written` does.

    Raises:
        InvalidFields: 422, the contact has more than 8 MB.
    """
    with contact_too_large():
        return serialize_written(contact, kinds)


@contextmanager
def contact_too_large() -> Iterator[None]:
    """Raise the error of a contact that is too large in place of that of a page."""
    try:
        yield
    except PageTooLarge:
        raise InvalidFields({"contact": CONTACT_TOO_LARGE}) from None


def left_out_warning(title: str, error: InvalidFields | Forbidden) -> dict[str, str]:
    """Return the warning about a segment that is left out: why its filter was not applied."""
    if isinstance(error, Forbidden):
        rule, reasons = "forbidden", str(error)
    else:
        rule, reasons = "invalid", " ".join(error_sentences(humanize_errors(error.detail)))
    message = f'The segment "{title}" is left out. {reasons}'
    return {"field": "segments", "rule": rule, "message": message}
