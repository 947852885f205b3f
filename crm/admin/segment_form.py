"""The form of a saved segment: its filter as JSON, which the page makes a builder of."""

import json
from typing import Any

import orjson
from django import forms
from django.core.exceptions import ValidationError

from config.api.errors import InvalidFields
from config.api.validation import single_line
from crm.filters.describe import error_sentences, humanize_errors
from crm.labels import slugify, with_slug
from crm.models import Segment
from crm.segments import clean_filters

NOT_JSON = {"filters": {"json": "The filters must be JSON: a list of lists of conditions."}}
FILTERS_HELP = (
    "A list of groups, of which one has to hold; a group is a list of conditions, which all have "
    "to. [] means all contacts."
)


def filters_from_json(text: str | bytes) -> list[list[dict[str, Any]]]:
    """A filter that can be stored, from its JSON. Raises InvalidFields (422)."""
    try:
        return clean_filters(orjson.loads(text))
    except orjson.JSONDecodeError:
        raise InvalidFields(NOT_JSON) from None


def filters_as_json(groups: Any) -> str:
    """A filter as JSON for people: a line for each condition."""
    if not groups or not all(groups):
        return json.dumps(groups, ensure_ascii=False)
    shown = (
        ",\n".join(f"    {orjson.dumps(condition).decode()}" for condition in group)
        for group in groups
    )
    return "[\n" + ",\n".join(f"  [\n{group}\n  ]" for group in shown) + "\n]"


class FiltersField(forms.Field):
    """A filter as JSON text."""

    # A browser that goes back would restore the text, and not what the builder made of it.
    widget = forms.Textarea(
        attrs={"rows": 8, "cols": 80, "spellcheck": "false", "autocomplete": "off"}
    )

    def prepare_value(self, value: Any) -> str:
        """The JSON of what is stored; what somebody typed stays as it is."""
        return value if isinstance(value, str) else filters_as_json(value)

    def to_python(self, value: Any) -> list[list[dict[str, Any]]]:
        """The filter. Raises ValidationError with each mistake."""
        try:
            return filters_from_json(value or "")
        except InvalidFields as wrong:
            raise ValidationError(list(error_sentences(humanize_errors(wrong.detail)))) from None


class SegmentForm(forms.ModelForm):
    """Title, slug and filter, checked as the API checks them."""

    slug = forms.CharField(
        label="Slug",
        max_length=192,
        required=False,
        help_text="Its name in addresses; left empty, it is made from the title.",
    )
    # Not required: the empty list is a filter.
    filters = FiltersField(label="JSON", required=False, initial=[], help_text=FILTERS_HELP)

    class Meta:
        model = Segment
        fields = ("title", "slug", "filters")

    def clean_title(self) -> str:
        """The title with its white space folded."""
        folded: str = single_line(192)(self.cleaned_data["title"])
        return folded

    def clean(self) -> dict[str, Any]:
        """Make the slug. Raises ValidationError."""
        super().clean()
        fields = self.cleaned_data
        named = fields.get("slug") or fields.get("title")
        if named and "slug" not in self.errors:
            fields["slug"] = slugify(named)
            others = Segment.objects.exclude(pk=self.instance.pk)
            if with_slug(others, fields["slug"]).exists():
                self.add_error("slug", "Another segment has this slug.")
        return fields
