"""Filters that are kept under a name: stored only if they are valid, and found by their slug."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.db import IntegrityError, transaction
from django.db.models import Exists
from django.utils.timezone import now

from config.api.errors import InvalidFields
from crm.filters import if_matching, read_filters
from crm.labels import SlugTaken, with_slug
from crm.models import SavedSegment, Subscriber

LARGEST_FILTER = 64 * 1024
# How many segments one statement asks for: each may have fifty conditions.
AT_ONCE = 20


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
    kept = [[term.sent for term in group] for group in read_filters(filters, "filters")]
    if len(orjson.dumps(kept)) > LARGEST_FILTER:
        raise InvalidFields({"filters": {"max": "The filters may not be greater than 64 KB."}})
    return kept


def find_saved_segment(slug: str) -> SavedSegment | None:
    """The segment with this slug, in any case."""
    found: SavedSegment | None = with_slug(SavedSegment.objects.all(), slug).first()
    return found


def delete_saved_segment(segment_id: int) -> bool:
    """Delete a segment. Returns whether it was there."""
    deleted, _ = SavedSegment.objects.filter(id=segment_id).delete()
    return bool(deleted)


def segments_of(contact: Subscriber) -> list[SavedSegment]:
    """The segments that mean this contact, by title."""
    found = []
    segments = SavedSegment.objects.all()
    for start in range(0, len(segments), AT_ONCE):
        some = segments[start : start + AT_ONCE]
        asked = Subscriber.objects.filter(id=contact.id).values_list(
            *(Exists(if_matching(contact, segment.filters)) for segment in some)
        )
        for row in asked:
            found += [segment for segment, means in zip(some, row, strict=True) if means]
    return found
