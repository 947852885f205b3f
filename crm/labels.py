"""Every write to tags and lists, and who is on them. Their names compare without regard to case."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from django.db import IntegrityError, connection, transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Lower
from django.utils.crypto import get_random_string
from django.utils.timezone import now

from config.database import in_transaction
from crm.models import List, Tag

LabelKind = Literal["tags", "lists"]
TagOrList = Tag | List
LABEL_MODELS: dict[LabelKind, type[TagOrList]] = {"tags": Tag, "lists": List}
# The table of who is on them, its column, and their own table.
LABEL_TABLES = {
    "tags": ("crm_subscriber_tags", "tag_id", "crm_tag"),
    "lists": ("crm_subscriber_lists", "list_id", "crm_list"),
}
# Any two numbers, the same in every process.
CREATION_LOCKS = {"tags": 0x7A11_7A65, "lists": 0x7A11_1157}
MIN_NEW_TITLE_LENGTH = 3
RANDOM_SLUG_LENGTH = 11
MAX_SLUG_LENGTH = 192
SLUG_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
# Letters that are no letter with an accent, as WordPress writes them in ASCII.
TRANSLITERATIONS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"}
)


class SlugTaken(Exception):
    """Another tag, list or saved segment has this slug."""


def create_label(kind: LabelKind, fields: dict[str, Any]) -> TagOrList:
    """Make a tag or list. Raises SlugTaken."""
    try:
        with transaction.atomic():
            return LABEL_MODELS[kind].objects.create(**fields)
    except IntegrityError as error:
        raise SlugTaken from error


def update_label(kind: LabelKind, segment_id: int, fields: dict[str, Any]) -> int:
    """Change a tag or list. Returns how many there were to change: 1 or 0. Raises SlugTaken."""
    try:
        with transaction.atomic():
            rows = LABEL_MODELS[kind].objects.filter(id=segment_id)
            return rows.update(**fields, updated_at=now())
    except IntegrityError as error:
        raise SlugTaken from error


@in_transaction
def create_or_update_labels(kind: LabelKind, rows: Sequence[tuple[str, str]]) -> list[int]:
    """Make tags or lists of (slug, title); one whose slug is there gets the title.

    Returns their ids in the order given; all or none are made.
    """
    ids: dict[str, int] = {}
    with connection.cursor() as cursor:
        # One after the other: in opposite orders they would wait for each other in a circle.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CREATION_LOCKS[kind]])
    for slug, title in dict(rows).items():
        found = find_by_slug(kind, slug)
        if found is None:
            try:
                found = create_label(kind, {"slug": slug, "title": title})
            except SlugTaken:
                found = find_by_slug(kind, slug)
                assert found is not None  # whoever was faster has committed
        if found.title != title:
            update_label(kind, found.id, {"title": title})
        ids[slug] = found.id
    return [ids[slug] for slug, _ in rows]


@in_transaction
def delete_labels(kind: LabelKind, segment_ids: Iterable[int]) -> int:
    """Delete tags or lists, which takes them off their contacts. Returns how many."""
    rows = LABEL_MODELS[kind].objects.filter(id__in=list(segment_ids)).order_by("id")
    found = list(rows.select_for_update().values_list("id", flat=True))
    LABEL_MODELS[kind].objects.filter(id__in=found).delete()
    return len(found)


def attach(kind: LabelKind, contact_ids: Iterable[int], segment_ids: Iterable[int]) -> int:
    """Put contacts on tags or lists; ids that name nothing are passed over.

    Returns how often a contact came on one that it was not on.
    """
    table, column, segments = LABEL_TABLES[kind]
    with connection.cursor() as cursor:
        # Both sides are held until commit, so that neither is deleted in between.
        cursor.execute(
            f"INSERT INTO {table} (subscriber_id, {column}) "  # noqa: S608
            f"SELECT s.id, g.id FROM crm_subscriber s CROSS JOIN {segments} g "
            "WHERE s.id = ANY(%s::bigint[]) AND g.id = ANY(%s::bigint[]) "
            "ORDER BY s.id, g.id FOR KEY SHARE ON CONFLICT DO NOTHING",
            [list(contact_ids), list(segment_ids)],
        )
        added: int = cursor.rowcount
    return added


def detach(kind: LabelKind, contact_ids: Iterable[int], segment_ids: Iterable[int]) -> int:
    """Take contacts off tags or lists. Returns how often a contact was on one."""
    table, column, _ = LABEL_TABLES[kind]
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {table} "  # noqa: S608
            f"WHERE subscriber_id = ANY(%s::bigint[]) AND {column} = ANY(%s::bigint[])",
            [list(contact_ids), list(segment_ids)],
        )
        removed: int = cursor.rowcount
    return removed


def find_by_slug(kind: LabelKind, slug: str) -> TagOrList | None:
    """The tag or list with this slug, or None."""
    found: TagOrList | None = with_slug(LABEL_MODELS[kind].objects.all(), slug).first()
    return found


def with_slug(rows: QuerySet[Any], slug: str) -> QuerySet[Any]:
    """The rows that have this slug, however it is spelled: one at the most."""
    # Not iexact: it compares UPPER(), and finds other slugs than the unique index on LOWER() has.
    found: QuerySet[Any] = rows.annotate(low=Lower("slug")).filter(low=Lower(Value(slug)))
    return found


def label_ids_by(kind: LabelKind, column: str, names: Iterable[str]) -> list[int]:
    """The ids of the tags or lists whose `column`, slug or title, has one of these names."""
    rows = LABEL_MODELS[kind].objects.annotate(name=Lower(column))
    found = rows.filter(name__in=[name.lower() for name in names])
    return list(found.order_by("id").values_list("id", flat=True))


def resolve_label_ids(kind: LabelKind, names: Iterable[str], create: bool) -> list[int]:
    """The ids of tags or lists that a program names by id, title or slug.

    With `create`, a title of three characters or more that nobody has becomes a new one, as in
    FluentCRM.
    """
    ids: list[int] = []
    wanted: dict[str, str] = {}
    for name in names:
        if name.isascii() and name.isdigit():
            ids += [int(name)] if len(name) < 19 else []
        elif len(name) >= MIN_NEW_TITLE_LENGTH:
            wanted.setdefault(name.lower(), name)
    if not wanted:
        return ids
    rows = LABEL_MODELS[kind].objects.annotate(low_title=Lower("title"), low_slug=Lower("slug"))
    for row in rows.filter(Q(low_title__in=wanted) | Q(low_slug__in=wanted)).order_by("id"):
        ids.append(row.id)
        wanted.pop(row.title.lower(), None)
        wanted.pop(row.slug.lower(), None)
    if create and wanted:
        ids += create_or_update_labels(kind, [(slugify(name), name) for name in wanted.values()])
    return ids


def slugify(title: str) -> str:
    """A slug as FluentCRM makes it: ASCII letters and digits with single dashes.

    It may be longer than the title (ß is ss) and is cut as any text; a title in another script
    than Latin gets a random one.
    """
    letters = unicodedata.normalize("NFKD", title.lower().translate(TRANSLITERATIONS))
    latin = all(not char.isalpha() or "LATIN" in unicodedata.name(char, "") for char in letters)
    plain = "".join(char for char in letters if not unicodedata.combining(char))
    dashed = re.sub(r"[-_]{2,}", "-", re.sub(r"[^a-z0-9_-]", "-", plain))
    slug = dashed.strip("-_")[:MAX_SLUG_LENGTH].rstrip("-_")
    return slug if slug and latin else get_random_string(RANDOM_SLUG_LENGTH, SLUG_CHARACTERS)
