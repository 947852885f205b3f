"""Write segments, which are saved filters, read their filters, and find those of a contact."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, compress
from typing import Any

import orjson
from django.db import IntegrityError
from django.db.models import Exists
from django.utils.timezone import now

from config.api.errors import InvalidFields
from config.database import chunked, in_transaction
from crm.filters import (
    compile_filters,
    contact_if_matching,
    label_errors,
    labels_of,
    read_filters,
)
from crm.filters.types import ConditionGroup
from crm.labels import LabelKind, SlugTaken, missing_labels, with_slug
from crm.models import Segment, Subscriber

MAX_FILTER_BYTES = 64 * 1024
# Each segment may have fifty conditions.
SEGMENTS_PER_STATEMENT = 20


@in_transaction
def create_segment(fields: Mapping[str, Any]) -> Segment:
    """Create a segment of title, slug and filters.

    Raises:
        SlugTaken: another segment has the slug.
        InvalidFields: 422, the filter is invalid.
    """
    columns = {**fields, "filters": clean_filters(fields["filters"], lock_labels=True)}
    try:
        return Segment.objects.create(**columns)
    except IntegrityError as error:
        raise SlugTaken from error


@in_transaction
def update_segment(segment_id: int, fields: Mapping[str, Any]) -> Segment | None:
    """Update fields of a segment. Returns None if it does not exist.

    Raises:
        SlugTaken: another segment has the slug.
        InvalidFields: 422, the filter is invalid.
    """
    columns = dict(fields)
    if "filters" in fields:
        columns["filters"] = clean_filters(fields["filters"], lock_labels=True)
    rows = Segment.objects.filter(id=segment_id)
    try:
        rows.update(**columns, updated_at=now())
    except IntegrityError as error:
        raise SlugTaken from error
    return rows.first()


def clean_filters(filters: Any, lock_labels: bool = False) -> list[list[dict[str, Any]]]:
    """Return a filter as it is stored: without the fields that it ignores.

    Args:
        filters: the filter as sent.
        lock_labels: whether its labels stay until the transaction ends.

    Raises:
        InvalidFields: 422, the filter is invalid, or larger than 64 KB.
    """
    groups = read_filters(filters, "filters", lock_labels)
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


def read_segment(segment: Segment) -> list[ConditionGroup]:
    """Compile the filter of a segment.

    Raises:
        InvalidFields: 422, the filter is invalid, for example because its label was deleted.
    """
    [(_, groups)] = read_segments([segment])
    if isinstance(groups, InvalidFields):
        message = f'The filter of the segment "{segment.title}" is invalid.'
        raise InvalidFields({"segment": {"invalid": message}, **groups.detail})
    return groups


def read_segments(
    segments: Iterable[Segment],
) -> list[tuple[Segment, list[ConditionGroup] | InvalidFields]]:
    """Compile the filters of segments, whose labels are looked up together.

    Returns:
        Each segment with its groups, or with its error if the filter is invalid.
    """
    compiled = [(segment, _compile(segment)) for segment in segments]
    labels = (labels_of(groups) for _, groups in compiled if isinstance(groups, list))
    missing = missing_labels(set().union(*labels))
    return [
        (segment, InvalidFields(errors))
        if isinstance(groups, list)
        and (errors := label_errors(groups, missing, segment.deleted_labels))
        else (segment, groups)
        for segment, groups in compiled
    ]


def _compile(segment: Segment) -> list[ConditionGroup] | InvalidFields:
    try:
        return compile_filters(segment.filters, "segment")
    except InvalidFields as error:
        return error


def segments_by_title() -> Iterator[list[Segment]]:
    """Yield all segments by title, a few at a time, because each may have 64 KB."""
    for ids in chunked(list(Segment.objects.values_list("id", flat=True)), SEGMENTS_PER_STATEMENT):
        # In the model's order, which is that of the ids.
        yield list(Segment.objects.filter(id__in=ids))


def segments_using(kind: LabelKind, label_ids: Iterable[int]) -> list[Segment]:
    """Return the segments whose filter names one of these tags or lists, by title.

    They are without their filters, because there may be many.
    """
    labels = {(kind, label_id) for label_id in label_ids}
    ids = [
        segment.id
        for segment in chain.from_iterable(segments_by_title())
        if isinstance(groups := _compile(segment), list) and labels_of(groups) & labels
    ]
    return list(Segment.objects.filter(id__in=ids).defer("filters"))


def segments_of(contact: Subscriber) -> tuple[list[int], list[tuple[str, InvalidFields]]]:
    """Find the segments that a contact is in.

    Returns:
        The ids of the segments whose filters match the contact, and the titles and errors of those
        whose filters are invalid.
    """
    matching: list[int] = []
    invalid: list[tuple[str, InvalidFields]] = []
    for segments in segments_by_title():
        read = read_segments(segments)
        invalid += [(each.title, error) for each, error in read if isinstance(error, InvalidFields)]
        valid = {each.id: groups for each, groups in read if isinstance(groups, list)}
        if valid:
            rows = Subscriber.objects.filter(id=contact.id).values_list(
                *(Exists(contact_if_matching(contact, groups)) for groups in valid.values())
            )
            for row in rows:
                matching += compress(valid, row)
    return matching, invalid
