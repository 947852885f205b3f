"""Filters that are kept under a name: stored only if they are valid, and found by their slug."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.db import IntegrityError, transaction
from django.db.models import Exists
from django.utils.timezone import now

from config.errors import InvalidFields
from config.fields import Wrong
from config.json_fields import check_json, stored_size
from crm.filters import ITEM_FIELDS, if_matching, read_filters
from crm.models import SavedSegment, Subscriber
from crm.segments import SlugTaken

LARGEST_FILTER = 64 * 1024


def create_saved_segment(fields: Mapping[str, Any]) -> SavedSegment:
    """Make a segment of title, slug and filters. Raises SlugTaken, and InvalidFields (422)."""
    checked = {**fields, "filters": storable(fields["filters"])}
    try:
        with transaction.atomic():
            return SavedSegment.objects.create(**checked)
    except IntegrityError as error:
        raise SlugTaken from error


def update_saved_segment(segment_id: int, fields: Mapping[str, Any]) -> SavedSegment | None:
    """Change fields of a segment; None if it is not there.

    Raises SlugTaken, and InvalidFields (422).
    """
    checked = dict(fields)
    if "filters" in fields:
        checked["filters"] = storable(fields["filters"])
    rows = SavedSegment.objects.filter(id=segment_id)
    try:
        with transaction.atomic():
            rows.update(**checked, updated_at=now())
    except IntegrityError as error:
        raise SlugTaken from error
    return rows.first()


def storable(filters: Any) -> list[list[dict[str, Any]]]:
    """A filter without what it has no use for. Raises InvalidFields (422)."""
    read_filters(filters, "filters")
    kept = [
        [{name: item[name] for name in ITEM_FIELDS if name in item} for item in group]
        for group in filters
    ]
    try:
        check_json(kept)
        if stored_size(kept, orjson.dumps(kept)) > LARGEST_FILTER:
            raise Wrong("max", "The {field} may not be greater than 64 KB.")
    except Wrong as wrong:
        raise InvalidFields({"filters": {wrong.rule: wrong.text.format(field="filters")}}) from None
    return kept


def find_saved_segment(slug: str) -> SavedSegment | None:
    """The segment with this slug, in any case."""
    return SavedSegment.objects.filter(slug__iexact=slug).first()


def segments_of(contact: Subscriber) -> list[SavedSegment]:
    """The segments that mean this contact, by title; one statement besides reading them."""
    segments = list(SavedSegment.objects.all())
    if not segments:
        return []
    found = Subscriber.objects.filter(id=contact.id).values_list(
        *(Exists(if_matching(contact, segment.filters)) for segment in segments)
    )
    [row] = found or [()]
    return [segment for segment, means in zip(segments, row, strict=False) if means]
