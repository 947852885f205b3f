"""Filters that are kept under a name: stored only if they are valid, and found by their slug."""

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
# How many segments one statement asks for: each may have fifty conditions.
SEGMENTS_PER_STATEMENT = 20


def create_segment(fields: Mapping[str, Any]) -> Segment:
    """Make a segment of title, slug and filters. Raises SlugTaken, and InvalidFields (422)."""
    checked = {**fields, "filters": clean_filters(fields["filters"])}
    try:
        with transaction.atomic():
            return Segment.objects.create(**checked)
    except IntegrityError as error:
        raise SlugTaken from error


def update_segment(segment_id: int, fields: Mapping[str, Any]) -> Segment | None:
    """Change fields of a segment; None if it is not there.

    Raises SlugTaken, and InvalidFields (422).
    """
    checked = dict(fields)
    if "filters" in fields:
        checked["filters"] = clean_filters(fields["filters"])
    rows = Segment.objects.filter(id=segment_id)
    try:
        with transaction.atomic():
            rows.update(**checked, updated_at=now())
    except IntegrityError as error:
        raise SlugTaken from error
    return rows.first()


def clean_filters(filters: Any) -> list[list[dict[str, Any]]]:
    """A filter without what it has no use for. Raises InvalidFields (422)."""
    kept = [[term.sent for term in group] for group in read_filters(filters, "filters")]
    if len(orjson.dumps(kept)) > MAX_FILTER_BYTES:
        raise InvalidFields({"filters": {"max": "The filters may not be greater than 64 KB."}})
    return kept


def find_segment(slug: str) -> Segment | None:
    """The segment with this slug, in any case."""
    found: Segment | None = with_slug(Segment.objects.all(), slug).first()
    return found


def delete_segment(segment_id: int) -> bool:
    """Delete a segment. Returns whether it was there."""
    deleted, _ = Segment.objects.filter(id=segment_id).delete()
    return bool(deleted)


def segments_of(contact: Subscriber) -> list[Segment]:
    """The segments that mean this contact, by title."""
    found = []
    segments = Segment.objects.all()
    for start in range(0, len(segments), SEGMENTS_PER_STATEMENT):
        some = segments[start : start + SEGMENTS_PER_STATEMENT]
        asked = Subscriber.objects.filter(id=contact.id).values_list(
            *(Exists(contact_if_matching(contact, segment.filters)) for segment in some)
        )
        for row in asked:
            found += [segment for segment, means in zip(some, row, strict=True) if means]
    return found
