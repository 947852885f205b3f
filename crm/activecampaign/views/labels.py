"""Tags and lists: `/api/3/tags`, `/api/3/lists`, and what attaches them to contacts."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import QuerySet
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import InvalidFields
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import MAX_NAME_LENGTH, Validator, long_text, nullable_line, validate
from config.api.warnings import Warnings, with_warnings
from config.audit import of_ids, record
from crm import labels
from crm.activecampaign import contacts, schema
from crm.activecampaign.fields import to_keyed, to_list_status, to_object_id, unwrap
from crm.activecampaign.pagination import ACListPagination, ACTagPagination
from crm.activecampaign.serializers import (
    ACContactListSerializer,
    ACContactSerializer,
    ACContactTagSerializer,
    ACListMembershipSerializer,
    ACTagSerializer,
)
from crm.activecampaign.viewsets import ApiV3ViewSet, NoResult, unknown_filters
from crm.api.rights import CHANGE
from crm.label_deletion import LabelsInUse, delete_labels
from crm.models import List, Scope, Subscriber, Tag
from crm.permissions import Access

IN_USE = "Segments use it. Change them first: {}."


def label_access(name: str) -> dict[str, Access]:
    """Return what the actions of a label need."""
    return {
        "list": Access(Scope.READ, f"crm.view_{name}"),
        "retrieve": Access(Scope.READ, f"crm.view_{name}"),
        "create": Access(Scope.MANAGE, f"crm.add_{name}"),
        "update": Access(Scope.MANAGE, f"crm.change_{name}"),
        "destroy": Access(Scope.MANAGE, f"crm.delete_{name}"),
    }


class LabelViewSet(ApiV3ViewSet):
    """The common actions of tags and lists."""

    kind: ClassVar[labels.LabelKind]
    # What ActiveCampaign calls the title, and a filter by it.
    title: ClassVar[str]
    access: ClassVar[dict[str, Access]]
    lookup_url_kwarg = "label_id"
    lookup_value_regex = ID_REGEX
    filter_backends = ()
    parameters = ("search", "filters")

    def list(self, request: Request) -> Response:
        """List labels, the oldest first."""
        page = self.paginate_queryset(self.search(self.get_queryset().order_by("id")))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def retrieve(self, request: Request, label_id: str) -> Response:
        """Return a label."""
        return self.respond(self.get_object())

    def create(self, request: Request) -> Response:
        """Create a label. A title that exists is 201 too, with the label that has it."""
        warnings: Warnings = []
        fields = self.read_fields(warnings)
        try:
            label: Any = labels.create_label(self.kind, {"slug": "", **fields})
        except labels.SlugTaken:
            label = self.get_queryset().filter(pk=self.find(fields["title"])).first()
            if label is None:  # deleted meanwhile
                raise self.duplicate() from None
        return self.respond(label, 201, warnings)

    def update(self, request: Request, label_id: str) -> Response:
        """Change a label. Its slug stays."""
        label = self.get_object()
        warnings: Warnings = []
        fields = self.read_fields(warnings, {self.title: label.title})
        if self.find(fields["title"]) not in (label.pk, None):
            raise self.duplicate()
        labels.update_label(self.kind, label.pk, {"slug": label.slug, **fields})
        return self.respond(self.get_object(), 200, warnings)

    def destroy(self, request: Request, label_id: str) -> Response:
        """Delete a label, which detaches it from its contacts, unless a segment uses it."""
        label = self.get_object()
        try:
            delete_labels(self.kind, [label.pk])
        except LabelsInUse as error:
            titles = ", ".join(segment.title for segment in error.segments)
            raise InvalidFields({self.title: {"in_use": IN_USE.format(titles)}}) from None
        record(request, "deleted", what=self.kind[:-1], **of_ids([label.pk]))
        return Response({})

    def search(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return the labels whose titles the parameters match."""
        filters = validate({"filters": to_keyed}, self.params).get("filters", {})
        if unknown := filters.keys() - {self.title}:
            raise unknown_filters(f"filters[{name}]" for name in sorted(unknown))
        to_title = nullable_line(MAX_NAME_LENGTH)
        texts = {"search": self.params.get("search"), self.title: filters.get(self.title)}
        sent = validate(dict.fromkeys(texts, to_title), texts)
        if sent["search"]:
            rows = rows.filter(title__icontains=sent["search"])
        if sent[self.title]:
            rows = rows.filter(title__iexact=sent[self.title])
        return rows

    def duplicate(self) -> InvalidFields:
        """Return the error of a title that another label has."""
        message = f"Another one has this {self.title}."
        return InvalidFields({self.title: {"duplicate": message}})

    def find(self, title: str) -> int | None:
        """Return the id of the label with a title, or None."""
        return labels.find_labels(self.kind, [title], by=("title",)).get(title)

    def read_fields(
        self, warnings: Warnings, stored: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the columns of the object that the request wraps, above those that are stored."""
        validators: dict[str, Validator] = {
            self.title: nullable_line(MAX_NAME_LENGTH),
            "description": long_text(labels.MAX_DESCRIPTION_LENGTH),
        }
        sent = {**(stored or {}), **unwrap(self.params, self.kind[:-1])}
        fields = validate(validators, sent, (self.title,), warnings)
        return {"title": fields.pop(self.title), **fields}

    def respond(self, label: Any, status: int = 200, warnings: Warnings | None = None) -> Response:
        """Return the response with one label."""
        body = {self.kind[:-1]: self.get_serializer(label).data}
        return Response(with_warnings(body, warnings or []), status=status)

    @override
    def get_object(self) -> Any:
        label = self.get_queryset().filter(pk=self.url_id).first()
        if label is None:
            raise NoResult(contacts.NOUNS[self.kind], self.url_id)
        return label


@schema.TAGS
class ACTagViewSet(LabelViewSet):
    """Tags: `/api/3/tags`."""

    kind = "tags"
    title = "tag"
    access = label_access("tag")
    queryset = Tag.objects.defer(None)
    serializer_class = ACTagSerializer
    pagination_class = ACTagPagination


@schema.LISTS
class ACContactListViewSet(LabelViewSet):
    """Lists: `/api/3/lists`."""

    kind = "lists"
    title = "name"
    access = label_access("list")
    queryset = List.objects.defer(None)
    serializer_class = ACContactListSerializer
    pagination_class = ACListPagination


class ACContactTagViewSet(ApiV3ViewSet):
    """Tags of contacts: `/api/3/contactTags`."""

    access: ClassVar[dict[str, Access]] = {"create": CHANGE, "destroy": CHANGE}
    lookup_url_kwarg = "membership_id"
    lookup_value_regex = ID_REGEX
    pagination_class = None
    filter_backends = ()

    @schema.ADD_TAG
    def create(self, request: Request) -> Response:
        """Attach a tag to a contact: 201, or 200 if the contact has it."""
        names = ("contact", "tag")
        sent = unwrap(self.params, "contactTag")
        ids = validate(dict.fromkeys(names, to_object_id), sent, names)
        contact_id, is_new = contacts.attach("tags", ids["contact"], ids["tag"])
        rows = Subscriber.tags.through.objects
        row = rows.filter(subscriber=contact_id, tag=ids["tag"]).first()
        if row is None:  # detached meanwhile
            raise NoResult(contacts.NOUNS["tags"], ids["tag"])
        body = {"contactTag": ACContactTagSerializer(row).data}
        return Response(body, status=201 if is_new else 200)

    @schema.DESTROY
    def destroy(self, request: Request, membership_id: str) -> Response:
        """Detach a tag from a contact, by the id of `contactTags`."""
        row = Subscriber.tags.through.objects.filter(pk=self.url_id).first()
        if row is None:
            raise NoResult("ContactTag", self.url_id)
        contacts.detach(row.subscriber_id, row.tag_id)
        return Response({})


class ACContactListStatusViewSet(ApiV3ViewSet):
    """The status of contacts on lists: `/api/3/contactLists`."""

    access: ClassVar[dict[str, Access]] = {"create": CHANGE}
    pagination_class = None
    filter_backends = ()

    @schema.SET_LIST_STATUS
    def create(self, request: Request) -> Response:
        """Put a contact on a list (status 1), or unsubscribe the contact (status 2)."""
        names = ("contact", "list", "status")
        validators = {**dict.fromkeys(names, to_object_id), "status": to_list_status}
        sent = validate(validators, unwrap(self.params, "contactList"), names)
        contact, _, warnings = contacts.set_list_status(
            sent["contact"], sent["list"], sent["status"]
        )
        rows = Subscriber.lists.through.objects
        row = rows.filter(subscriber=contact, list=sent["list"]).first()
        if row is None:  # detached meanwhile
            raise NoResult(contacts.NOUNS["lists"], sent["list"])
        row.subscriber = contact
        body = {
            "contacts": [ACContactSerializer(contact).data],
            "contactList": ACListMembershipSerializer(row).data,
        }
        return Response(with_warnings(body, warnings))
