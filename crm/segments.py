"""Write segments, which are saved filters, read their filters, and find those of a contact."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain, compress
from typing import Any

import orjson
from django.db import IntegrityError
from django.db.models import Exists

from config.api.errors import FieldErrors, Forbidden, InvalidFields
from config.database import chunked, in_transaction, insert_new
from crm.emails import without_email
from crm.filters import (
    FilterTable,
    compile_filters,
    label_errors,
    labels_of,
    read_filters,
    require_permissions,
    those_matching,
)
from crm.filters.types import ConditionGroup, HasPerm
from crm.labels import LabelKind, SlugTaken, is_slug_taken, missing_labels, with_slug
from crm.models import Segment, Subscriber, updated_now

MAX_FILTER_BYTES = 64 * 1024
USER_ID_OF_A_SOURCE = (
    "A stored filter is about the user_id without a source, and your application password has a "
    "source."
)
# Each segment may have fifty conditions.
SEGMENTS_PER_STATEMENT = 20


@in_transaction
def create_segment(fields: Mapping[str, Any], user_source: str = "") -> Segment:
    """Create a segment of title, slug and filters.

    Args:
        fields: the columns.
        user_source: the source of the user_ids of who creates it.

    Raises:
        SlugTaken: another segment has the slug.
        InvalidFields: 422, the filter is invalid.
    """
    columns = {**fields, "filters": clean_filters(fields["filters"], True, user_source)}
    segment = Segment(**columns)
    if not insert_new(segment):
        raise SlugTaken
    return segment


@in_transaction
def update_segment(
    segment_id: int, fields: Mapping[str, Any], user_source: str = ""
) -> Segment | None:
    """Update fields of a segment, as `create_segment`. Returns None if it does not exist.

    Raises:
        SlugTaken: another segment has the slug.
        InvalidFields: 422, the filter is invalid.
    """
    columns = dict(fields)
    if "filters" in fields:
        columns["filters"] = clean_filters(fields["filters"], True, user_source)
    rows = Segment.objects.filter(id=segment_id)
    if "slug" in columns and is_slug_taken(Segment, columns["slug"], segment_id):
        raise SlugTaken
    try:
        rows.update(**columns, updated_at=updated_now())
    except IntegrityError as error:  # created at the same time
        raise SlugTaken from error
    return rows.first()


def clean_filters(
    filters: Any, lock_labels: bool = False, user_source: str = ""
) -> list[list[dict[str, Any]]]:
    """Return a filter as it is stored: without the fields that it ignores.

    Args:
        filters: the filter as sent.
        lock_labels: whether its labels stay until the transaction ends.
        user_source: the source of the user_ids of who sends it.

    Raises:
        InvalidFields: 422, the filter is invalid, larger than 64 KB, or about the user_ids of a
            source. It would be about others for everyone else who reads the segment.
    """
    groups = read_filters(filters, "filters", lock_labels)
    if user_source and (errors := user_id_errors(groups)):
        raise InvalidFields(errors)
    cleaned = [[condition.item for condition in group] for group in groups]
    if len(orjson.dumps(cleaned)) > MAX_FILTER_BYTES:
        raise InvalidFields({"filters": {"max": "The filters may not be greater than 64 KB."}})
    return cleaned


def user_id_errors(groups: Iterable[ConditionGroup]) -> FieldErrors:
    """Return an error for each condition on the user_id, whose source a stored filter has not."""
    return {
        f"{condition.path}.source": {"user_source": USER_ID_OF_A_SOURCE}
        for condition in chain.from_iterable(groups)
        if condition.item["source"] == ["subscriber", "user_id"]
    }


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
    table = FilterTable()
    compiled = [(segment, _compile(segment, table)) for segment in segments]
    labels = (labels_of(groups) for _, groups in compiled if isinstance(groups, list))
    missing = missing_labels(set().union(*labels))
    return [
        (segment, InvalidFields(errors))
        if isinstance(groups, list)
        and (errors := label_errors(groups, missing, segment.deleted_labels))
        else (segment, groups)
        for segment, groups in compiled
    ]


def broken_segments(segments: Iterable[Segment]) -> list[Segment]:
    """Return those of the segments whose filter is invalid, for example by a deleted label."""
    return [each for each, groups in read_segments(segments) if isinstance(groups, InvalidFields)]


def _compile(segment: Segment, table: FilterTable) -> list[ConditionGroup] | InvalidFields:
    try:
        return compile_filters(segment.filters, "segment", table)
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
    table = FilterTable()
    ids = [
        segment.id
        for segment in chain.from_iterable(segments_by_title())
        if isinstance(groups := _compile(segment, table), list) and labels_of(groups) & labels
    ]
    return list(Segment.objects.filter(id__in=ids).defer("filters"))


def segments_with_fields(slugs: Collection[str]) -> list[Segment]:
    """Return the segments that have a condition on one of these custom fields, by title."""
    sources = [["custom_fields", slug] for slug in slugs]
    ids = [
        segment.id
        for segment in chain.from_iterable(segments_by_title())
        if any(item.get("source") in sources for group in segment.filters for item in group)
    ]
    return list(Segment.objects.filter(id__in=ids).defer("filters"))


LeftOut = list[tuple[str, InvalidFields | Forbidden]]


def segments_of(contact: Subscriber, has_perm: HasPerm) -> tuple[list[int], LeftOut]:
    """Find the segments that a contact is in.

    Returns:
        The ids of the segments whose filters match the contact, and the titles of those that are
        left out with the error: the filter is invalid, or asks for what the user may not see.
    """
    matching: list[int] = []
    left_out: LeftOut = []
    for segments in segments_by_title():
        valid: dict[int, list[ConditionGroup]] = {}
        for segment, groups in read_segments(segments):
            try:
                if isinstance(groups, InvalidFields):
                    raise groups
                require_permissions(groups, has_perm)
                valid[segment.id] = groups
            except (InvalidFields, Forbidden) as error:
                left_out.append((segment.title, error))
        if valid:
            rows = Subscriber.objects.filter(id=contact.id).values_list(
                *(Exists(those_matching([contact.id], groups)) for groups in valid.values())
            )
            for row in rows:
                matching += compress(valid, row)
    return matching, left_out


def replace_email(email: str, replacement: str) -> int:
    """Replace the e-mail of an erased contact in the filters of all segments.

    They match the same contacts as before, because no contact has the e-mail any more. The caller
    has a transaction open.

    Returns:
        The number of segments that were changed.
    """
    segments = Segment.objects.all()
    ids = [
        segment.pk
        for segment in segments
        if without_email(segment.filters, email, replacement) != segment.filters
    ]
    for segment in segments.filter(pk__in=ids).order_by("pk").select_for_update():
        filters = without_email(segment.filters, email, replacement)
        columns = {"filters": filters, "updated_at": updated_now()}
        segments.filter(pk=segment.pk).update(**columns)
    return len(ids)
