"""The form of a segment: its filter as JSON, which the page turns into a builder."""

import json
from typing import Any

import orjson
from django import forms
from django.core.exceptions import ValidationError
from typing_extensions import override

from config.api.errors import InvalidFields
from config.api.validation import MAX_NAME_LENGTH, single_line
from crm.filters.describe import error_sentences, humanize_errors
from crm.labels import slugify, with_slug
from crm.models import Segment
from crm.segments import clean_filters

NOT_JSON = {"filters": {"json": "The filters must be JSON: a list of lists of conditions."}}
FILTERS_HELP = (
    "A list of groups, of which one has to match. A group is a list of conditions, which all have "
    "to match. [] matches all contacts."
)


def filters_from_json(text: str | bytes) -> list[list[dict[str, Any]]]:
    """Parse a filter and return it as it is stored.

    Raises:
        InvalidFields: 422, not JSON or not a valid filter.
    """
    try:
        return clean_filters(orjson.loads(text))
    except orjson.JSONDecodeError:
        raise InvalidFields(NOT_JSON) from None


def filters_as_json(groups: Any) -> str:
    """Return a filter as JSON for reading, with one line for each condition."""
    if not groups or not all(groups):
        return json.dumps(groups, ensure_ascii=False)
    blocks = (
        ",\n".join(f"    {orjson.dumps(condition).decode()}" for condition in group)
        for group in groups
    )
    return "[\n" + ",\n".join(f"  [\n{block}\n  ]" for block in blocks) + "\n]"


class FiltersField(forms.Field):
    """A filter as JSON text."""

    # Without autocomplete, because a browser that goes back would restore an outdated text.
    widget = forms.Textarea(
        attrs={"rows": 8, "cols": 80, "spellcheck": "false", "autocomplete": "off"}
    )

    @override
    def prepare_value(self, value: Any) -> str:
        return value if isinstance(value, str) else filters_as_json(value)

    @override
    def to_python(self, value: Any) -> list[list[dict[str, Any]]]:
        try:
            return filters_from_json(value or "")
        except InvalidFields as error:
            sentences = error_sentences(humanize_errors(error.detail))
            raise ValidationError(list(sentences)) from None


class SegmentForm(forms.ModelForm):
    """Title, slug and filter, validated as the API validates them."""

    slug = forms.CharField(
        label="Slug",
        max_length=MAX_NAME_LENGTH,
        required=False,
        help_text="The name of the segment in URLs. If empty, it is made from the title.",
    )
    # Not required, because the empty list is a filter.
    filters = FiltersField(label="JSON", required=False, initial=[], help_text=FILTERS_HELP)

    class Meta:
        model = Segment
        fields = ("title", "slug", "filters")

    def clean_title(self) -> str:
        """Fold the whitespace of the title, as the API does."""
        title: str = single_line(MAX_NAME_LENGTH)(self.cleaned_data["title"])
        return title

    @override
    def clean(self) -> dict[str, Any]:
        super().clean()
        fields = self.cleaned_data
        name = fields.get("slug") or fields.get("title")
        if name and "slug" not in self.errors:
            fields["slug"] = slugify(name)
            others = Segment.objects.exclude(pk=self.instance.pk)
            if with_slug(others, fields["slug"]).exists():
                self.add_error("slug", "Another segment has this slug.")
        return fields
