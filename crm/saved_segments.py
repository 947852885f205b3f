"""Filters that are kept under a name: stored only if they are valid, and found by their slug."""

from collections.abc import Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists
from django.utils.timezone import now

from crm.filters import contacts_matching, read_filters
from crm.models import SavedSegment, Subscriber
from crm.segments import SlugTaken


def create_saved_segment(fields: Mapping[str, Any]) -> SavedSegment:
    """Make a segment of title, slug and filters. Raises SlugTaken, and InvalidFields (422)."""
    read_filters(fields["filters"], "filters")
    try:
        with transaction.atomic():
            return SavedSegment.objects.create(**fields)
    except IntegrityError as error:
        raise SlugTaken from error


def update_saved_segment(segment_id: int, fields: Mapping[str, Any]) -> SavedSegment | None:
    """Change fields of a segment; None if it is not there.

    Raises SlugTaken, and InvalidFields (422).
    """
    if "filters" in fields:
        read_filters(fields["filters"], "filters")
    rows = SavedSegment.objects.filter(id=segment_id)
    try:
        with transaction.atomic():
            rows.update(**fields, updated_at=now())
    except IntegrityError as error:
        raise SlugTaken from error
    return rows.first()


def find_saved_segment(slug: str) -> SavedSegment | None:
    """The segment with this slug, in any case."""
    return SavedSegment.objects.filter(slug__iexact=slug).first()


def segments_of(contact: Subscriber) -> list[SavedSegment]:
    """The segments that mean this contact, by title; one statement besides reading them."""
    segments = list(SavedSegment.objects.all())
    if not segments:
        return []
    found = Subscriber.objects.filter(id=contact.id).values_list(
        *(Exists(contacts_matching(segment.filters).filter(id=contact.id)) for segment in segments)
    )
    [row] = found or [()]
    return [segment for segment, means in zip(segments, row, strict=False) if means]
