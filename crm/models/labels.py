"""Tags and lists, and segments, which are saved filters."""

from typing import Any, ClassVar, Self, TypeVar

import orjson
from django.db import models
from django.db.models import Value
from django.db.models.functions import Greatest, Lower
from django.utils.timezone import now
from typing_extensions import override


def updated_now() -> Greatest:
    """Return now for the column updated_at, or its value if that is later: clocks go back."""
    return Greatest("updated_at", Value(now()))


class SluggedModel(models.Model):
    """A title, and a slug that is unique without regard to case."""

    title = models.CharField(max_length=192)
    slug = models.CharField(max_length=192)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        abstract = True
        ordering = (Lower("title"), "id")
        constraints = (
            models.UniqueConstraint(
                Lower("slug"),
                name="%(app_label)s_%(class)s_slug",
                violation_error_message="Another one has this slug.",
            ),
        )

    def __str__(self) -> str:
        return self.title


LabelRow = TypeVar("LabelRow", bound="Label")


class LabelManager(models.Manager[LabelRow]):
    """Tags or lists without their descriptions, which are read where they are shown."""

    @override
    def get_queryset(self) -> models.QuerySet[LabelRow]:
        return super().get_queryset().defer("description")


class Label(SluggedModel):
    """The common columns of tags and lists. crm/labels.py writes them."""

    description = models.TextField(null=True, blank=True)

    objects: ClassVar[LabelManager[Self]] = LabelManager()

    class Meta(SluggedModel.Meta):
        abstract = True


class Tag(Label):
    """A tag that contacts have."""


class List(Label):
    """A list that contacts are on."""

    is_public = models.BooleanField(default=False)


class JSONTextField(models.TextField):  # type: ignore[type-arg]  # takes none at run time
    """JSON in a text column, because jsonb writes 1e20 as a whole number that cannot be read back.

    Forms give it the parsed value.
    """

    def from_db_value(self, value: str, *_: object) -> Any:
        """Parse the stored text."""
        return orjson.loads(value)

    @override
    def to_python(self, value: Any) -> Any:
        return value

    @override
    def get_prep_value(self, value: Any) -> str:
        return orjson.dumps(value).decode()


class Segment(SluggedModel):
    """A saved filter: FluentCRM's dynamic segment. Written by crm/segments.py."""

    # As read_filters (crm/filters) accepts it.
    filters = JSONTextField(default=list)
    # The titles of deleted labels, for errors: {"tags": {"7": "Do not contact"}}.
    deleted_labels = models.JSONField(default=dict, db_default={}, editable=False)
