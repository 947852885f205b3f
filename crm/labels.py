"""Write tags and lists, and attach them to contacts. Their names compare without regard to case.

A label is a tag or a list: what they have in common. `kind` is "tags" or "lists".
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from django.db import IntegrityError, connection, transaction
from django.db.models import Q, QuerySet, Value
from django.db.models.functions import Lower
from django.utils.crypto import get_random_string
from django.utils.timezone import now

from config.api.validation import MAX_NAME_LENGTH, is_valid_id
from config.database import in_transaction
from crm.models import List, Subscriber, Tag

LabelKind = Literal["tags", "lists"]
TagOrList = Tag | List
LABEL_MODELS: dict[LabelKind, type[TagOrList]] = {"tags": Tag, "lists": List}
# Any two numbers that are the same in every process.
CREATION_LOCKS = {"tags": 0x7A11_7A65, "lists": 0x7A11_1157}
# In characters. FluentCRM ignores shorter names that are no label.
MIN_NEW_TITLE_LENGTH = 3
RANDOM_SLUG_LENGTH = 11
SLUG_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
# Letters that are no letter with an accent, as WordPress's remove_accents writes them in ASCII.
TRANSLITERATIONS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"}
)


class SlugTaken(Exception):
    """Another tag, list or segment has this slug."""


def memberships(kind: LabelKind) -> tuple[QuerySet[Any], str]:
    """Return the rows that attach contacts to labels, and their column of the label's id."""
    rows: QuerySet[Any] = getattr(Subscriber, kind).through.objects.all()
    return rows, f"{kind[:-1]}_id"


def create_label(kind: LabelKind, fields: dict[str, Any]) -> TagOrList:
    """Create a tag or list.

    Raises:
        SlugTaken: another one has the slug.
    """
    try:
        with transaction.atomic():
            return LABEL_MODELS[kind].objects.create(**fields)
    except IntegrityError as error:
        raise SlugTaken from error


def update_label(kind: LabelKind, label_id: int, fields: dict[str, Any]) -> int:
    """Update a tag or list. Returns 1, or 0 if it does not exist.

    Raises:
        SlugTaken: another one has the slug.
    """
    try:
        with transaction.atomic():
            rows = LABEL_MODELS[kind].objects.filter(id=label_id)
            return rows.update(**fields, updated_at=now())
    except IntegrityError as error:
        raise SlugTaken from error


@in_transaction
def create_or_update_labels(kind: LabelKind, rows: Sequence[tuple[str, str]]) -> list[int]:
    """Create labels of (slug, title); one whose slug exists gets the title.

    Returns:
        Their ids, in the order of `rows`.
    """
    ids: dict[str, int] = {}
    with connection.cursor() as cursor:
        # One request after the other, because in opposite orders they would deadlock.
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CREATION_LOCKS[kind]])
    for slug, title in dict(rows).items():
        label = find_by_slug(kind, slug)
        if label is None:
            try:
                label = create_label(kind, {"slug": slug, "title": title})
            except SlugTaken:
                label = find_by_slug(kind, slug)
                assert label is not None  # a concurrent request has committed it
        if label.title != title:
            update_label(kind, label.id, {"title": title})
        ids[slug] = label.id
    return [ids[slug] for slug, _ in rows]


@in_transaction
def delete_labels(kind: LabelKind, label_ids: Iterable[int]) -> int:
    """Delete labels, which detaches them from their contacts. Returns their number."""
    rows = LABEL_MODELS[kind].objects.filter(id__in=list(label_ids)).order_by("id")
    locked_ids = list(rows.select_for_update().values_list("id", flat=True))
    LABEL_MODELS[kind].objects.filter(id__in=locked_ids).delete()
    return len(locked_ids)


def attach(kind: LabelKind, contact_ids: Iterable[int], label_ids: Iterable[int]) -> int:
    """Attach labels to contacts, and ignore ids that do not exist.

    Returns:
        The number of new attachments.
    """
    rows, column = memberships(kind)
    with connection.cursor() as cursor:
        # Both sides are locked until the commit, so that neither is deleted in between.
        cursor.execute(
            f"INSERT INTO {rows.model._meta.db_table} (subscriber_id, {column}) "  # noqa: S608
            "SELECT s.id, label.id FROM crm_subscriber s "
            f"CROSS JOIN {LABEL_MODELS[kind]._meta.db_table} label "
            "WHERE s.id = ANY(%s::bigint[]) AND label.id = ANY(%s::bigint[]) "
            "ORDER BY s.id, label.id FOR KEY SHARE ON CONFLICT DO NOTHING",
            [list(contact_ids), list(label_ids)],
        )
        attached: int = cursor.rowcount
    return attached


def detach(kind: LabelKind, contact_ids: Iterable[int], label_ids: Iterable[int]) -> int:
    """Detach labels from contacts. Returns the number of attachments that there were."""
    rows, column = memberships(kind)
    with connection.cursor() as cursor:
        cursor.execute(
            f"DELETE FROM {rows.model._meta.db_table} "  # noqa: S608
            f"WHERE subscriber_id = ANY(%s::bigint[]) AND {column} = ANY(%s::bigint[])",
            [list(contact_ids), list(label_ids)],
        )
        detached: int = cursor.rowcount
    return detached


def find_by_slug(kind: LabelKind, slug: str) -> TagOrList | None:
    """Return the tag or list with this slug, or None."""
    label: TagOrList | None = with_slug(LABEL_MODELS[kind].objects.all(), slug).first()
    return label


def with_slug(rows: QuerySet[Any], slug: str) -> QuerySet[Any]:
    """Return the rows with this slug without regard to case: one at most."""
    # Not iexact, because it compares UPPER(), and the unique index has LOWER().
    matches: QuerySet[Any] = rows.annotate(low=Lower("slug")).filter(low=Lower(Value(slug)))
    return matches


def label_ids_by(kind: LabelKind, column: str, names: Iterable[str]) -> list[int]:
    """Return the ids of the labels whose `column`, slug or title, is one of these names."""
    rows = LABEL_MODELS[kind].objects.annotate(name=Lower(column))
    matches = rows.filter(name__in=[name.lower() for name in names])
    return list(matches.order_by("id").values_list("id", flat=True))


def resolve_label_ids(kind: LabelKind, names: Iterable[str], create: bool) -> list[int]:
    """Return the ids of labels that an API client names by id, title or slug.

    `["7", "VIP customer"]` is `[7, 12]` if the tag "VIP customer" has the id 12.

    Args:
        kind: tags or lists.
        names: digits are ids, which are not looked up. Other names of fewer than three characters
            are ignored.
        create: whether a name that no label has creates one, as in FluentCRM.
    """
    ids: list[int] = []
    missing: dict[str, str] = {}
    for name in names:
        if name.isascii() and name.isdigit():
            ids += [int(name)] if is_valid_id(name) else []
        elif len(name) >= MIN_NEW_TITLE_LENGTH:
            missing.setdefault(name.lower(), name)
    if not missing:
        return ids
    rows = LABEL_MODELS[kind].objects.annotate(low_title=Lower("title"), low_slug=Lower("slug"))
    for row in rows.filter(Q(low_title__in=missing) | Q(low_slug__in=missing)).order_by("id"):
        ids.append(row.id)
        missing.pop(row.title.lower(), None)
        missing.pop(row.slug.lower(), None)
    if create and missing:
        new_rows = [(slugify(name), name) for name in missing.values()]
        ids += create_or_update_labels(kind, new_rows)
    return ids


def slugify(title: str) -> str:
    """Return a slug as FluentCRM makes it: ASCII letters and digits with single dashes.

    "Größe & Maß" is "grosse-mass". The slug may be longer than the title, and is cut at 192
    characters. A title in another script than Latin gets a random slug.
    """
    letters = unicodedata.normalize("NFKD", title.lower().translate(TRANSLITERATIONS))
    is_latin = all(not char.isalpha() or "LATIN" in unicodedata.name(char, "") for char in letters)
    plain = "".join(char for char in letters if not unicodedata.combining(char))
    dashed = re.sub(r"[-_]{2,}", "-", re.sub(r"[^a-z0-9_-]", "-", plain))
    slug = dashed.strip("-_")[:MAX_NAME_LENGTH].rstrip("-_")
    return slug if slug and is_latin else get_random_string(RANDOM_SLUG_LENGTH, SLUG_CHARACTERS)
