"""Write tags and lists, and attach them to contacts. Their names compare without regard to case.

A label is a tag or a list: what they have in common. `kind` is "tags" or "lists".
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain, count
from typing import Any, Literal, NamedTuple

from django.db import connection
from django.db.models import QuerySet, Value
from django.db.models.functions import Lower
from django.utils.crypto import get_random_string
from typing_extensions import override

from config.api.errors import Forbidden
from config.api.validation import MAX_NAME_LENGTH
from config.api.warnings import Warnings
from config.database import fetch_rows, in_transaction, insert_new
from crm.models import List, SluggedModel, Subscriber, Tag, updated_now

LabelKind = Literal["tags", "lists"]
TagOrList = Tag | List
# The kind of a label, and its id.
LabelKey = tuple[LabelKind, int]
LABEL_MODELS: dict[LabelKind, type[TagOrList]] = {"tags": Tag, "lists": List}
# What a name of a label may be.
NameKind = Literal["id", "title", "slug", "written slug"]
NAME_KINDS: tuple[NameKind, ...] = ("id", "title", "written slug")
# Any two numbers that are the same in every process.
WRITE_LOCKS = {"tags": 0x7A11_7A65, "lists": 0x7A11_1157}
MIN_NEW_TITLE_BYTES = 3
# A dash and the number that tells a slug from other labels' slugs.
MAX_SUFFIX_LENGTH = 10
RANDOM_SLUG_LENGTH = 11
SLUG_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
# Letters that are no letter with an accent, as WordPress's remove_accents writes them in ASCII.
TRANSLITERATIONS = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th"}
)

MAX_DESCRIPTION_LENGTH = 4096


class SlugTaken(Exception):
    """Another tag, list or segment has this slug, or the title that the slug is made from."""


def memberships(kind: LabelKind) -> tuple[QuerySet[Any], str]:
    """Return the rows that attach contacts to labels, and their column of the label's id."""
    rows: QuerySet[Any] = getattr(Subscriber, kind).through.objects.all()
    return rows, f"{kind[:-1]}_id"


@in_transaction
def create_label(kind: LabelKind, fields: Mapping[str, Any]) -> TagOrList:
    """Create a tag or list; without a slug, one is made from the title.

    Raises:
        SlugTaken: another one has the slug or, without a slug, the title.
    """
    lock_labels(kind)
    slug = fields.get("slug") or slug_of_title(kind, fields["title"])
    label = LABEL_MODELS[kind](**{**fields, "slug": slug})
    if not insert_new(label):
        raise SlugTaken
    return label


@in_transaction
def update_label(kind: LabelKind, label_id: int, fields: Mapping[str, Any]) -> int:
    """Update a tag or list; an empty slug is made from the title.

    Returns:
        1, or 0 if it does not exist.

    Raises:
        SlugTaken: another one has the slug or, with an empty slug, the title.
    """
    lock_labels(kind)
    slug = fields["slug"] or slug_of_title(kind, fields["title"], label_id)
    model = LABEL_MODELS[kind]
    if is_slug_taken(model, slug, label_id):
        raise SlugTaken
    changes = {**fields, "slug": slug, "updated_at": updated_now()}
    return model.objects.filter(id=label_id).update(**changes)


def is_slug_taken(model: type[SluggedModel], slug: str, own_id: int) -> bool:
    """Return whether another tag, list or segment of the model has a slug."""
    others = model._default_manager.exclude(pk=own_id).alias(low=Lower("slug"))
    return others.filter(low=Lower(Value(slug))).exists()


@in_transaction
def create_or_update_labels(
    kind: LabelKind, rows: Sequence[tuple[str, str]], may_rename: bool
) -> list[int]:
    """Create labels of (slug, title), where they do not exist.

    A slug identifies a label, which gets the title. An empty slug is made from the title, and then
    the title identifies.

    Returns:
        Their ids, in the order of `rows`.

    Raises:
        Forbidden: 403, a label would get another title, and the user may not change labels.
    """
    lock_labels(kind)
    return [
        rename_or_create(kind, slug, title, may_rename)
        if slug
        else find_or_create(kind, title, ("title",))
        for slug, title in rows
    ]


def rename_or_create(kind: LabelKind, slug: str, title: str, may_rename: bool) -> int:
    """Return the id of the label with this slug, which gets the title.

    Raises:
        Forbidden: 403, the label has another title and `may_rename` is false.
    """
    label = find_by_slug(kind, slug)
    if label is None:
        return create_label(kind, {"slug": slug, "title": title}).id
    if label.title != title:
        if not may_rename:
            raise Forbidden(f'You may not rename the {kind[:-1]} "{label.title}".')
        update_label(kind, label.id, {"slug": label.slug, "title": title})
    return label.id


def find_or_create(kind: LabelKind, name: str, by: Sequence[NameKind]) -> int:
    """Return the id of the label with this name. The name of a new one is its title."""
    if found := find_labels(kind, [name], by):
        return found[name]
    return create_label(kind, {"slug": free_slug(kind, name), "title": name}).id


def lock_labels(kind: LabelKind) -> None:
    """Wait for other transactions that create or rename labels, until this one ends.

    Otherwise concurrent requests would create a title twice, and would deadlock if they created
    titles in opposite orders.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [WRITE_LOCKS[kind]])


def slug_of_title(kind: LabelKind, title: str, label_id: int = 0) -> str:
    """Return a free slug for a title that no other label has. The arguments are `free_slug`'s.

    Raises:
        SlugTaken: another label has the title.
    """
    if find_labels(kind, [title], by=("title",)).get(title, label_id) != label_id:
        raise SlugTaken
    return free_slug(kind, title, label_id)


def free_slug(kind: LabelKind, title: str, label_id: int = 0) -> str:
    """Return a slug for a title that no other label has: "vip", or "vip-2" if that is taken.

    Args:
        kind: tags or lists, which the caller has locked.
        title: the title.
        label_id: the label that gets the slug. 0 for a new one.
    """
    base = slugify(title)
    others = LABEL_MODELS[kind].objects.exclude(pk=label_id).annotate(low=Lower("slug"))
    similar = others.filter(low__startswith=base[: MAX_NAME_LENGTH - MAX_SUFFIX_LENGTH])
    taken = set(similar.values_list("low", flat=True))
    suffixes = chain([""], (f"-{number}" for number in count(2)))
    slugs = (base[: MAX_NAME_LENGTH - len(suffix)] + suffix for suffix in suffixes)
    return next(slug for slug in slugs if slug not in taken)


def find_by_slug(kind: LabelKind, slug: str) -> TagOrList | None:
    """Return the tag or list with this slug, or None."""
    label: TagOrList | None = with_slug(LABEL_MODELS[kind].objects.all(), slug).first()
    return label


def with_slug(rows: QuerySet[Any], slug: str) -> QuerySet[Any]:
    """Return the rows with this slug without regard to case: one at most."""
    # Not iexact, because it compares UPPER(), and the unique index has LOWER().
    matches: QuerySet[Any] = rows.annotate(low=Lower("slug")).filter(low=Lower(Value(slug)))
    return matches


MATCHES: dict[NameKind, str] = {
    # CASE keeps the cast from names that are no id.
    "id": "label.id = CASE WHEN sent.name ~ '^[0-9]{1,18}$' THEN sent.name::bigint END",
    # Both sides in SQL, because Python's lower() differs from PostgreSQL's.
    "title": "lower(normalize(label.title)) = lower(normalize(sent.name))",
    "slug": "lower(label.slug) = lower(sent.name)",
    # Where a name may be a title too, one word with capitals is a title: "VIP" is no name of the
    # label "VIP ✓", whose slug is "vip".
    "written slug": (
        "lower(label.slug) = lower(sent.name) "
        "AND (label.slug = sent.name OR strpos(translate(sent.name, '_', '-'), '-') > 0)"
    ),
}


def find_labels(
    kind: LabelKind,
    names: Iterable[str],
    by: Sequence[NameKind] = NAME_KINDS,
) -> dict[str, int]:
    """Return the ids of the labels that have these names.

    Titles compare without regard to case, and in any of Unicode's normal forms.

    Args:
        kind: tags or lists.
        names: ids in digits, titles or slugs.
        by: what a name may be. The first that finds a label decides. Of equal titles, the oldest
            label is found.

    Returns:
        The id of each name that a label has.
    """
    return find_labels_of_kinds({kind: names}, by)[kind]


def find_labels_of_kinds(
    names: Mapping[LabelKind, Iterable[str]], by: Sequence[NameKind] = NAME_KINDS
) -> dict[LabelKind, dict[str, int]]:
    """Return what `find_labels` returns for the names of each kind, by one statement."""
    sent: dict[str, list[str]] = {
        kind: texts for kind, each in names.items() if (texts := list(each))
    }
    found: dict[LabelKind, dict[str, int]] = {kind: {} for kind in names}
    if sent:
        for kind, name, label_id in fetch_rows(_find_statement(tuple(sent), tuple(by)), sent):
            found[kind][name] = label_id
    return found


@cache
def _find_statement(kinds: tuple[LabelKind, ...], by: tuple[NameKind, ...]) -> str:
    matches = " UNION ALL ".join(
        f"SELECT '{kind}' AS kind, sent.name, label.id, {rank} AS rank "  # noqa: S608
        f"FROM unnest(%({kind})s::text[]) sent(name) "
        f"JOIN {LABEL_MODELS[kind]._meta.db_table} label ON {MATCHES[name_kind]}"
        for kind in kinds
        for rank, name_kind in enumerate(by)
    )
    return (
        f"SELECT DISTINCT ON (kind, name) kind, name, id FROM ({matches}) found "  # noqa: S608
        "ORDER BY kind, name, rank, id"
    )


def missing_labels(labels: Iterable[LabelKey], lock: bool = False) -> set[LabelKey]:
    """Return those of the labels that do not exist.

    Args:
        labels: the labels.
        lock: whether the others are kept from being deleted until the transaction ends.
    """
    missing = set(labels)
    for kind, model in LABEL_MODELS.items():
        if ids := [label_id for each, label_id in missing if each == kind]:
            statement = (
                f"SELECT id FROM {model._meta.db_table} "  # noqa: S608
                f"WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id {'FOR KEY SHARE' if lock else ''}"
            )
            missing -= {(kind, label_id) for (label_id,) in fetch_rows(statement, {"ids": ids})}
    return missing


class LabelTitle(NamedTuple):
    """The title of a label in a request that says so, and which may be a number."""

    title: str

    @override
    def __str__(self) -> str:
        return self.title


# How a request names a label: by id, title or slug, or by what can only be the title.
LabelName = str | LabelTitle


class ResolvedLabels(NamedTuple):
    """The ids of labels that a request names, and the names that no label has."""

    ids: list[int]
    missing: list[str]


def resolve_label_ids(kind: LabelKind, names: Iterable[LabelName], create: bool) -> list[int]:
    """Return the ids that `resolve_labels` returns, without the names that no label has."""
    return resolve_labels(kind, names, create).ids


def resolve_labels(
    kind: LabelKind,
    names: Iterable[LabelName],
    create: bool,
    by: Sequence[NameKind] = NAME_KINDS,
    found: dict[LabelName, int] | None = None,
) -> ResolvedLabels:
    """Find labels that an API client names by id, title or slug.

    `["7", "VIP customer"]` is `[7, 12]` if the tag "VIP customer" has the id 12.

    Args:
        kind: tags or lists.
        names: the names. PHP's empty ones are ignored.
        create: whether a name that no label has creates one, as in FluentCRM. A text of digits
            creates none, because it is an id, and one of fewer than three bytes none either, as in
            FluentCRM (app/Services/Sanitize.php, sanitizeTagIds).
        by: what a name may be, as for `find_labels`.
        found: what `find_named` found a moment ago, also for other names. Those that are created
            are added. None looks the names up.
    """
    wanted = [name for name in dict.fromkeys(names) if name]
    if found is None:
        found = find_named(kind, wanted, by)
    missing = [name for name in wanted if name not in found]
    if create and (new := [name for name in missing if is_new_title(name)]):
        found |= create_missing(kind, new)
        missing = [name for name in missing if name not in found]
    ids = dict.fromkeys(found[name] for name in wanted if name in found)
    return ResolvedLabels(list(ids), list(map(str, missing)))


def find_named(
    kind: LabelKind, names: Sequence[LabelName], by: Sequence[NameKind]
) -> dict[LabelName, int]:
    """Return the ids of the labels that a request names, as `find_labels` does."""
    return find_named_of_kinds({kind: names}, by)[kind]


def find_named_of_kinds(
    names: Mapping[LabelKind, Iterable[LabelName]], by: Sequence[NameKind] = NAME_KINDS
) -> dict[LabelKind, dict[LabelName, int]]:
    """Return what `find_named` returns for the names of each kind, by one statement.

    Names that say that they are titles take another one.
    """
    found: dict[LabelKind, dict[LabelName, int]] = {kind: {} for kind in names}
    texts = {kind: [name for name in each if isinstance(name, str)] for kind, each in names.items()}
    for kind, ids in find_labels_of_kinds(texts, by).items():
        found[kind].update(ids)
    titles = {
        kind: [name.title for name in each if isinstance(name, LabelTitle)]
        for kind, each in names.items()
    }
    for kind, ids in find_labels_of_kinds(titles, ("title",)).items():
        found[kind].update({LabelTitle(title): label_id for title, label_id in ids.items()})
    return found


@in_transaction
def create_missing(kind: LabelKind, names: Sequence[LabelName]) -> dict[LabelName, int]:
    """Create labels for names that none had a moment ago. Returns their ids by name."""
    lock_labels(kind)
    return {
        name: find_or_create(
            kind, str(name), ("title", "written slug") if isinstance(name, str) else ("title",)
        )
        for name in names
    }


def missing_label_warnings(field: str, kind: LabelKind, missing: Sequence[str]) -> Warnings:
    """Return a warning if a field names labels that do not exist."""
    message = f"The {field} name no {kind}: {', '.join(missing)}."
    return [{"field": field, "rule": "exists", "message": message}] if missing else []


def is_new_title(name: LabelName) -> bool:
    """Return whether a name that no label has may become the title of a new one."""
    if isinstance(name, LabelTitle):
        return True
    is_id = name.isascii() and name.isdigit()
    return not is_id and len(name.encode()) >= MIN_NEW_TITLE_BYTES


def slugify(title: str) -> str:
    """Return a slug as FluentCRM makes it. A title in another script than Latin gets a random one.

    See FluentCRM's app/Services/Helper.php, slugify.
    """
    return latin_slug(title) or get_random_string(RANDOM_SLUG_LENGTH, SLUG_CHARACTERS)


def latin_slug(title: str) -> str:
    """Return a title as ASCII letters and digits with single dashes, or "" in another script.

    "Größe & Maß" is "grosse-mass". The slug may be longer than the title, and is cut at 192
    characters.
    """
    letters = unicodedata.normalize("NFKD", title.lower().translate(TRANSLITERATIONS))
    is_latin = all(not char.isalpha() or "LATIN" in unicodedata.name(char, "") for char in letters)
    plain = "".join(char for char in letters if not unicodedata.combining(char))
    dashed = re.sub(r"[-_]{2,}", "-", re.sub(r"[^a-z0-9_-]", "-", plain))
    return dashed.strip("-_")[:MAX_NAME_LENGTH].rstrip("-_") if is_latin else ""
