"""FluentCRM's endpoints of tags and lists, which differ in words more than in behaviour."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

from rest_framework.decorators import action
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import ApiError, InvalidFields, Unprocessable
from config.api.json_fields import json_text_or
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import (
    MAX_NAME_LENGTH,
    Validator,
    is_empty,
    long_text,
    nullable_line,
    single_line,
    to_bool,
    to_ids,
    to_list,
    validate,
)
from config.api.viewsets import ApiViewSet
from config.api.warnings import Warnings, with_warnings
from config.audit import of_ids, record
from config.database import fetch_rows
from crm import labels
from crm.api.filter_backends import LABEL_BACKENDS, LABEL_LIST_FIELDS
from crm.api.pagination import ContactListsPagination, TagPagination
from crm.api.schema import labels as schema
from crm.api.serializers import (
    ContactListSerializer,
    CountedContactListSerializer,
    CountedTagSerializer,
    TagSerializer,
)
from crm.label_deletion import LabelsInUse, delete_labels
from crm.models import List, Scope, Tag
from crm.permissions import Access

FIELDS: dict[str, Validator] = {
    "title": nullable_line(MAX_NAME_LENGTH),
    "slug": single_line(MAX_NAME_LENGTH),
    "description": long_text(labels.MAX_DESCRIPTION_LENGTH),
}
# Contacts that are not subscribed are few, and have an index. OFFSET 0 keeps the order, in which
# PostgreSQL merges that index with the one of attachments.
COUNTS = """
SELECT {column}, count(*), count(*) - count(other_id)
FROM (SELECT {column}, other.id AS other_id
      FROM {attachments} LEFT JOIN crm_subscriber other
          ON other.id = subscriber_id AND other.status <> 'subscribed'
      WHERE {column} = ANY(%(labels)s::bigint[])
      ORDER BY subscriber_id OFFSET 0) attached
GROUP BY {column}
"""
SLUG_TAKEN = {"unique": "The slug attribute is already taken and must be unique."}


class ContactCounts(NamedTuple):
    """The number of contacts that have a label, and how many of them are subscribed."""

    total: int
    subscribed: int


class LabelViewSet(ApiViewSet):
    """The common actions of `/tags` and `/lists`."""

    kind: ClassVar[labels.LabelKind]
    bulk_message: ClassVar[str]
    required_fields: ClassVar[tuple[str, ...]]
    access: ClassVar[dict[str, Access]]
    lookup_url_kwarg = "label_id"
    lookup_value_regex = ID_REGEX
    filter_backends = LABEL_BACKENDS
    list_fields = LABEL_LIST_FIELDS

    def list(self, request: Request) -> Response:
        """List labels, the newest first, with their numbers of contacts."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
        include = () if self.is_on("exclude_counts") else self.add_counts(page)
        serializer = self.get_serializer(page, many=True, include=include)
        return self.get_paginated_response(serializer.data)

    @schema.CREATE_LABEL
    def create(self, request: Request) -> Response:
        """Create a label; without a slug, one is made from the title."""
        params = self.params
        is_sent = not is_empty(params.get("slug"))
        if not is_sent:
            params = {**params, "slug": params.get("title")}
        warnings: Warnings = []
        fields = validate(FIELDS, params, self.required_fields, warnings)
        fields["slug"] = self.sent_slug(fields["slug"]) if is_sent else ""
        fields.setdefault("description", "")
        try:
            label = labels.create_label(self.kind, fields)
        except labels.SlugTaken:
            raise InvalidFields({"slug": SLUG_TAKEN}) from None
        item = TagSerializer(label).data
        message = f"Successfully saved the {self.noun.lower()}."
        return Response(with_warnings({"lists": item, "item": item, "message": message}, warnings))

    @schema.UPDATE_LABEL
    def update(self, request: Request, label_id: str) -> Response:
        """Change a label; with id 0 and `update_by` "slug", the one that has the slug."""
        if self.url_id == 0 and self.params.get("update_by") == "slug":
            label = self._get_by_slug()
        else:
            label = self.get_object()
        warnings: Warnings = []
        fields = validate(FIELDS, self.params, ("title",), warnings)
        fields["slug"] = fields.get("slug") or self.kept_slug(label)
        fields.setdefault("description", "")
        try:
            changed = labels.update_label(self.kind, label.id, fields)
        except labels.SlugTaken:
            noun = self.noun.lower()
            raise Unprocessable(f"Provided slug already exist in another {noun}") from None
        message = f"Successfully saved the {self.noun.lower()}."
        return Response(with_warnings({"lists": changed, "message": message}, warnings))

    @schema.BULK_CREATE_LABELS
    @action(detail=False, methods=["post"])
    def bulk(self, request: Request) -> Response:
        """Create several labels; one whose slug is sent and exists gets the new title.

        Items without a title are not stored, as in FluentCRM. `errors` names them.
        """
        to_items = json_text_or(to_list)
        params = validate({self.kind: to_items, "items": to_items}, self.params)
        warnings: Warnings = []
        rows = []
        errors = []
        for index, item in enumerate(params.get(self.kind) or params.get("items", [])):
            try:
                rows.append(read_item(item, warnings))
            except InvalidFields as error:
                errors.append({"index": index, "errors": error.detail})
        may_rename = request.user.has_perms(self.access["update"].permissions)
        ids = labels.create_or_update_labels(self.kind, rows, may_rename)
        body = {"message": self.bulk_message, "ids": ids} | ({"errors": errors} if errors else {})
        return Response(with_warnings(body, warnings))

    @schema.DESTROY_LABEL
    def destroy(self, request: Request, label_id: str) -> Response:
        """Delete a label, which detaches it from its contacts, unless a segment uses the label.

        With `force`, a label that segments use is deleted as well.
        """
        force = validate({"force": to_bool}, self.params).get("force", False)
        warnings = self._delete([self.get_object()], force)
        body = {"message": f"Successfully removed the {self.noun.lower()}."}
        return Response(with_warnings(body, warnings))

    @schema.DESTROY_LABELS
    @action(detail=False, methods=["post"], url_path="do-bulk-action")
    def do_bulk_action(self, request: Request) -> Response:
        """Delete several labels, all or none, as `destroy` deletes one. Unknown ids are ignored.

        FluentCRM does so whatever `action_name` says. Here another action is rejected. See
        FluentCRM's app/Http/Controllers/TagsController.php, handleBulkAction.
        """
        field = f"{self.noun.lower()}Ids"
        fields = {"action_name": single_line(64), field: to_ids, "force": to_bool}
        params = validate(fields, self.params, required=(field,))
        action_name = params.get("action_name", "")
        if action_name and not action_name.startswith(("delete", "remove")):
            raise Unprocessable("Selected Action is not valid")
        found = self.get_queryset().filter(pk__in=params[field])
        warnings = self._delete(found, params.get("force", False))
        body = {"message": f"Selected {self.noun}s has been removed permanently"}
        return Response(with_warnings(body, warnings))

    def _delete(self, deleted: Iterable[labels.TagOrList], force: bool) -> Warnings:
        """Delete labels, and record it. Returns a warning for each segment that used one.

        Raises:
            ApiError: 422, segments use them, and `force` is false.
        """
        noun, titles = self.noun.lower(), {label.pk: label.title for label in deleted}
        named = ", ".join(f'"{title}"' for title in titles.values())
        try:
            broken = delete_labels(self.kind, titles, force)
        except LabelsInUse as error:
            segments = ", ".join(f'"{segment.title}"' for segment in error.segments)
            plural = "" if len(titles) == 1 else "s"
            message = (
                f"Segments use the {noun}{plural} {named}: {segments}. Change them first, or send "
                "force=1. Then reading their contacts is 422 until they are changed."
            )
            raise ApiError({"message": message, "error_code": "label_in_use"}, 422) from None
        if titles:
            record(self.request, "deleted", what=noun, **of_ids(titles))
        message = 'The segment "{}" used the {}. Reading its contacts is 422 until it is changed.'
        return [
            {"field": "force", "rule": "segments", "message": message.format(segment.title, noun)}
            for segment in broken
        ]

    @override
    def get_object(self) -> labels.TagOrList:
        label = super().get_object()
        assert isinstance(label, labels.TagOrList)
        return label

    def sent_slug(self, slug: str) -> str:
        """Return the slug of a new label for the one that is sent, or "" if it has no Latin."""
        raise NotImplementedError

    def kept_slug(self, label: labels.TagOrList) -> str:
        """Return the slug after an update that names none, or "" to make one from the title."""
        raise NotImplementedError

    def add_counts(self, page: Sequence[Any]) -> tuple[str, ...]:
        """Set the numbers of contacts on the labels of a page. Returns the attributes."""
        raise NotImplementedError

    def _get_by_slug(self) -> labels.TagOrList:
        slug = validate({"slug": FIELDS["slug"]}, self.params, required=("slug",))["slug"]
        label = labels.find_by_slug(self.kind, slug)
        if label is None:
            raise Unprocessable(f"{self.noun} could not be found")
        return label


def count_contacts(kind: labels.LabelKind, label_ids: Sequence[int]) -> dict[int, ContactCounts]:
    """Return the numbers of contacts by label id."""
    rows, column = labels.memberships(kind)
    statement = COUNTS.format(column=column, attachments=rows.model._meta.db_table)
    counted = fetch_rows(statement, {"labels": list(label_ids)})
    counts = {label_id: ContactCounts(*numbers) for label_id, *numbers in counted}
    return defaultdict(lambda: ContactCounts(0, 0), counts)


def read_item(item: Any, warnings: Warnings) -> tuple[str, str]:
    """Return the slug, or "" if none is sent, and the title of a label.

    Raises:
        InvalidFields: a field is invalid, or the item is not an object.
    """
    if not isinstance(item, dict):
        raise InvalidFields({"item": {"object": "The item must be an object."}})
    columns = {name: FIELDS[name] for name in ("title", "slug")}
    fields = validate(columns, item, ("title",), warnings)
    return labels.latin_slug(fields.get("slug", "")), fields["title"]


class TagViewSet(LabelViewSet):
    """Tags: `/tags`."""

    access: ClassVar[dict[str, Access]] = {
        "list": Access(Scope.READ, "crm.view_tag"),
        "retrieve": Access(Scope.READ, "crm.view_tag"),
        "create": Access(Scope.MANAGE, "crm.add_tag"),
        "bulk": Access(Scope.MANAGE, "crm.add_tag"),
        "update": Access(Scope.MANAGE, "crm.change_tag"),
        "destroy": Access(Scope.MANAGE, "crm.delete_tag"),
        "do_bulk_action": Access(Scope.MANAGE, "crm.delete_tag"),
    }
    kind = "tags"
    noun = "Tag"
    bulk_message = "Successfully saved the tags."
    required_fields = ("title",)
    queryset = Tag.objects.defer(None)
    serializer_class = CountedTagSerializer
    pagination_class = TagPagination

    @schema.RETRIEVE_TAG
    def retrieve(self, request: Request, label_id: str) -> Response:
        """Return a tag."""
        return Response({"tag": TagSerializer(self.get_object()).data})

    @override
    def sent_slug(self, slug: str) -> str:
        return slug

    @override
    def kept_slug(self, label: labels.TagOrList) -> str:
        return ""

    @override
    def add_counts(self, page: Sequence[Any]) -> tuple[str, ...]:
        counts = count_contacts(self.kind, [label.id for label in page])
        for tag in page:
            tag.subscribersCount = counts[tag.id].subscribed
        return ("subscribersCount",)


class ContactListViewSet(LabelViewSet):
    """Lists: `/lists`."""

    access: ClassVar[dict[str, Access]] = {
        "list": Access(Scope.READ, "crm.view_list"),
        "retrieve": Access(Scope.READ, "crm.view_list"),
        "create": Access(Scope.MANAGE, "crm.add_list"),
        "bulk": Access(Scope.MANAGE, "crm.add_list"),
        "update": Access(Scope.MANAGE, "crm.change_list"),
        "destroy": Access(Scope.MANAGE, "crm.delete_list"),
        "do_bulk_action": Access(Scope.MANAGE, "crm.delete_list"),
    }
    kind = "lists"
    noun = "List"
    bulk_message = "Provided Lists have been successfully created"
    required_fields = ("title", "slug")
    queryset = List.objects.defer(None)
    serializer_class = CountedContactListSerializer
    pagination_class = ContactListsPagination

    @schema.RETRIEVE_LIST
    def retrieve(self, request: Request, label_id: str) -> Response:
        """Return a list, without an envelope."""
        return Response(ContactListSerializer(self.get_object()).data)

    @override
    def sent_slug(self, slug: str) -> str:
        return labels.latin_slug(slug)

    @override
    def kept_slug(self, label: labels.TagOrList) -> str:
        return label.slug

    @override
    def add_counts(self, page: Sequence[Any]) -> tuple[str, ...]:
        counts = count_contacts(self.kind, [label.id for label in page])
        for contact_list in page:
            contact_list.totalCount, contact_list.subscribersCount = counts[contact_list.id]
        return ("totalCount", "subscribersCount")
