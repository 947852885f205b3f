"""FluentCRM's calls about tags and lists, which differ in words more than in deeds."""

from collections import defaultdict
from typing import Any, ClassVar

from django.db.models import Count, Q
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.errors import InvalidFields, ObjectNotFound, Unprocessable
from config.api.pagination import page_of
from config.api.parsers import Params, request_params
from config.api.validation import (
    Validator,
    clamp_id,
    is_empty,
    multi_line,
    single_line,
    to_list,
    validate,
)
from crm import labels
from crm.api import schema
from crm.api.serializers import segment_data
from crm.models import List, Scope, Status, Tag
from crm.permissions import Access
from crm.selectors import filter_labels

FIELDS: dict[str, Validator] = {
    "title": single_line(192),
    "slug": single_line(192),
    "description": multi_line,
}
SLUG_TAKEN = {"unique": "The slug attribute is already taken and must be unique."}


class LabelViewSet(ViewSet):
    """What `/tags` and `/lists` do alike."""

    kind: ClassVar[labels.LabelKind]
    noun: ClassVar[str]
    saved_several: ClassVar[str]
    needed: ClassVar[tuple[str, ...]]

    @schema.SEGMENT_STORE
    def store(self, request: Request) -> Response:
        """Make one; without a slug, from its title."""
        given = request_params(request)
        named = given if not is_empty(given.get("slug")) else {**given, "slug": given.get("title")}
        fields = validate(FIELDS, named, self.needed)
        fields["slug"] = self.new_slug(fields, given)
        fields.setdefault("description", "")
        try:
            made = labels.create_label(self.kind, fields)
        except labels.SlugTaken:
            raise InvalidFields({"slug": SLUG_TAKEN}) from None
        shown = segment_data(made)
        shown.pop("is_public", None)
        message = f"Successfully saved the {self.noun}."
        return Response({"lists": shown, "item": shown, "message": message})

    @schema.SEGMENT_UPDATE
    def update(self, request: Request, segment_id: str) -> Response:
        """Change title, slug and description; with id 0 and `update_by` "slug", of that slug."""
        given = request_params(request)
        if clamp_id(segment_id) == 0 and given.get("update_by") == "slug":
            segment = self._find_by_slug(given)
        else:
            segment = self.find(segment_id)
        fields = validate(FIELDS, given, required=("title",))
        fields["slug"] = fields.get("slug") or self.kept_slug(segment, fields["title"])
        fields.setdefault("description", "")
        try:
            changed = labels.update_label(self.kind, segment.id, fields)
        except labels.SlugTaken:
            raise Unprocessable(f"Provided slug already exist in another {self.noun}") from None
        return Response({"lists": changed, "message": f"Successfully saved the {self.noun}."})

    @schema.SEGMENT_STORE_BULK
    def store_bulk(self, request: Request) -> Response:
        """Make several; one whose slug is there gets the new title."""
        asked = validate({self.kind: to_list, "items": to_list}, request_params(request))
        rows = []
        for item in asked.get(self.kind) or asked.get("items", []):
            if not isinstance(item, dict) or is_empty(item.get("title")):
                continue
            fields = validate({"title": single_line(192), "slug": single_line(192)}, item)
            rows.append((labels.slugify(fields.get("slug") or fields["title"]), fields["title"]))
        ids = labels.create_or_update_labels(self.kind, rows)
        return Response({"message": self.saved_several, "ids": ids})

    @schema.SEGMENT_DELETE
    def destroy(self, request: Request, segment_id: str) -> Response:  # noqa: ARG002
        """Delete one, which takes it off its contacts."""
        labels.delete_labels(self.kind, [self.find(segment_id).id])
        return Response({"message": f"Successfully removed the {self.noun}."})

    def find(self, segment_id: str) -> Tag | List:
        """The tag or list of a path. Raises NotFoundHere (404)."""
        found = labels.LABEL_MODELS[self.kind].objects.filter(id=clamp_id(segment_id)).first()
        if found is None:
            raise ObjectNotFound(self.noun.capitalize())
        return found

    def new_slug(self, fields: Params, given: Params) -> str:
        """The slug of a new one."""
        raise NotImplementedError

    def kept_slug(self, segment: Tag | List, title: str) -> str:
        """The slug after a change that names none."""
        raise NotImplementedError

    def counts(self, shown: list[Tag | List], **conditions: Any) -> dict[int, int]:
        """How many contacts each has, by id."""
        rows = labels.LABEL_MODELS[self.kind].objects.filter(id__in=[one.id for one in shown])
        counted = rows.annotate(number=Count("subscribers", filter=Q(**conditions)))
        # One deleted since it was listed has none.
        return defaultdict(int, counted.order_by().values_list("id", "number"))

    def all_of_them(self) -> list[dict[str, str]]:
        """Every one, for a choice in a form."""
        rows = labels.LABEL_MODELS[self.kind].objects.order_by("id")
        return [{"id": str(one.id), "title": one.title, "slug": one.slug} for one in rows]

    def _find_by_slug(self, given: Params) -> Tag | List:
        slug = validate({"slug": single_line(192)}, given, required=("slug",))["slug"]
        found = labels.find_by_slug(self.kind, slug)
        if found is None:
            raise Unprocessable(f"{self.noun.capitalize()} could not be found")
        return found


class TagViewSet(LabelViewSet):
    """`/tags`."""

    kind = "tags"
    noun = "tag"
    saved_several = "Successfully saved the tags."
    needed = ("title",)
    access: ClassVar[dict[str, Access]] = {
        "index": Access(Scope.READ, "crm.view_tag"),
        "show": Access(Scope.READ, "crm.view_tag"),
        "store": Access(Scope.MANAGE, "crm.add_tag"),
        "store_bulk": Access(Scope.MANAGE, "crm.add_tag"),
        "update": Access(Scope.MANAGE, "crm.change_tag"),
        "destroy": Access(Scope.MANAGE, "crm.delete_tag"),
    }

    @schema.TAG_LIST
    def index(self, request: Request) -> Response:
        """A page of tags, the newest first, with how many subscribed contacts each has."""
        asked = request_params(request)
        found = filter_labels(Tag, asked)

        def rows(start: int, stop: int) -> list[dict[str, Any]]:
            tags: list[Tag | List] = list(found[start:stop])
            if asked.get("exclude_counts"):
                return [segment_data(tag) for tag in tags]
            subscribed = self.counts(tags, subscribers__status=Status.SUBSCRIBED)
            return [{**segment_data(tag), "subscribersCount": subscribed[tag.id]} for tag in tags]

        everything = {"all_tags": self.all_of_them()} if asked.get("all_tags") else {}
        return Response({"tags": page_of(request, found.count(), rows), **everything})

    @schema.TAG_SHOW
    def show(self, request: Request, segment_id: str) -> Response:  # noqa: ARG002
        """One tag."""
        return Response({"tag": segment_data(self.find(segment_id))})

    def new_slug(self, fields: Params, given: Params) -> str:
        """As sent; else from the title."""
        return labels.slugify(fields["slug"]) if is_empty(given.get("slug")) else fields["slug"]

    def kept_slug(self, segment: Tag | List, title: str) -> str:  # noqa: ARG002
        """From the new title, as FluentCRM does."""
        return labels.slugify(title)


class ListViewSet(LabelViewSet):
    """`/lists`."""

    kind = "lists"
    noun = "list"
    saved_several = "Provided Lists have been successfully created"
    needed = ("title", "slug")
    access: ClassVar[dict[str, Access]] = {
        "index": Access(Scope.READ, "crm.view_list"),
        "show": Access(Scope.READ, "crm.view_list"),
        "store": Access(Scope.MANAGE, "crm.add_list"),
        "store_bulk": Access(Scope.MANAGE, "crm.add_list"),
        "update": Access(Scope.MANAGE, "crm.change_list"),
        "destroy": Access(Scope.MANAGE, "crm.delete_list"),
    }

    @schema.LIST_LIST
    def index(self, request: Request) -> Response:
        """A page of lists, the newest first, with how many contacts each has."""
        asked = request_params(request)
        found = filter_labels(List, asked)

        def rows(start: int, stop: int) -> list[dict[str, Any]]:
            lists: list[Tag | List] = list(found[start:stop])
            if asked.get("exclude_counts"):
                return [segment_data(one) for one in lists]
            everybody = self.counts(lists)
            subscribed = self.counts(lists, subscribers__status=Status.SUBSCRIBED)
            return [
                {
                    **segment_data(one),
                    "totalCount": everybody[one.id],
                    "subscribersCount": subscribed[one.id],
                }
                for one in lists
            ]

        page = page_of(request, found.count(), rows)
        everything = {"all_lists": self.all_of_them()} if asked.get("all_lists") else {}
        return Response(
            {"lists": page["data"], "pagination": {"total": page["total"]}, **everything}
        )

    @schema.LIST_SHOW
    def show(self, request: Request, segment_id: str) -> Response:  # noqa: ARG002
        """One list, without an envelope."""
        return Response(segment_data(self.find(segment_id)))

    def new_slug(self, fields: Params, given: Params) -> str:  # noqa: ARG002
        """From what was sent as the slug, or from the title."""
        return labels.slugify(fields["slug"])

    def kept_slug(self, segment: Tag | List, title: str) -> str:  # noqa: ARG002
        """As it was, as FluentCRM does."""
        return segment.slug


class CustomFieldViewSet(ViewSet):
    """`/custom-fields/contacts`."""

    access: ClassVar[dict[str, Access]] = {"index": Access(Scope.READ, "crm.view_subscriber")}

    @schema.CUSTOM_FIELDS
    def index(self, request: Request) -> Response:  # noqa: ARG002
        """No custom field is declared: `custom_values` takes any."""
        return Response({"fields": []})
