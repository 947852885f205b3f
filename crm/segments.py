"""Write segments, which are saved filters, and find the segments of a contact."""

from collections.abc import Mapping
from typing import Any

import orjson
from django.db import IntegrityError, transaction
from django.db.models import Exists
from django.utils.timezone import now

from config.api.errors import InvalidFields
from crm.filters import contact_if_matching, read_filters
from crm.labels import SlugTaken, with_slug
from crm.models import Segment, Subscriber

MAX_FILTER_BYTES = 64 * 1024
# Each segment may have fifty conditions.
SEGMENTS_PER_STATEMENT = 20


def create_segment(fields: Mapping[str, Any]) -> Segment:
    """Create a segment of title, slug and filters.

    Raises:
        SlugTaken: another segment has the slug.
        InvalidFields: 422, the filter is invalid.
    """
    columns = {**fields, "filters": clean_filters(fields["filters"])}
    try:
        with transaction.atomic():
            return Segment.objects.create(**columns)
    except IntegrityError as error:
        raise SlugTaken from error


def update_segment(segment_id: int, fields: Mapping[str, Any]) -> Segment | None:
    """Update fields of a segment. Returns None if it does not exist.

    Raises:
        SlugTaken: another segment has the slug.
        InvalidFields: 422, the filter is invalid.
    """
    columns = dict(fields)
    if "filters" in fields:
        columns["filters"] = clean_filters(fields["filters"])
    rows = Segment.objects.filter(id=segment_id)
    try:
        with transaction.atomic():
            rows.update(**columns, updated_at=now())
    except IntegrityError as error:
        raise SlugTaken from error
    return rows.first()


def clean_filters(filters: Any) -> list[list[dict[str, Any]]]:
    """Return a filter as it is stored: without the fields that it ignores.

    Raises:
        InvalidFields: 422, the filter is invalid, or larger than 64 KB.
    """
    groups = read_filters(filters, "filters")
    cleaned = [[condition.item for condition in group] for group in groups]
    if len(orjson.dumps(cleaned)) > MAX_FILTER_BYTES:
        raise InvalidFields({"filters": {"max": "The filters may not be greater than 64 KB."}})
    return cleaned


def find_segment(slug: str) -> Segment | None:
    """Return the segment with this slug without regard to case."""
    segment: Segment | None = with_slug(Segment.objects.all(), slug).first()
    return segment


def delete_segment(segment_id: int) -> bool:
    """Delete a segment. Returns whether it existed."""
    deleted, _ = Segment.objects.filter(id=segment_id).delete()
    return bool(deleted)


def segments_of(contact: Subscriber) -> list[Segment]:
    """Return the segments whose filters match a contact, by title."""
    matching = []
    segments = Segment.objects.all()
    for start in range(0, len(segments), SEGMENTS_PER_STATEMENT):
        batch = segments[start : start + SEGMENTS_PER_STATEMENT]
        rows = Subscriber.objects.filter(id=contact.id).values_list(
            *(Exists(contact_if_matching(contact, segment.filters)) for segment in batch)
        )
        for row in rows:
            matching += [segment for segment, is_match in zip(batch, row, strict=True) if is_match]
    return matching
