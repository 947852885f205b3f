"""Every write to contacts, tags and lists: the rules stand here, not in views or save()."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from django.db import IntegrityError, connection, transaction
from django.db.models import Value
from django.db.models.functions import Lower
from django.utils import timezone
from django.utils.crypto import get_random_string

from crm.models import List, Status, Subscriber, Tag

SegmentType = Literal["tags", "lists"]
Property = Literal["status", "contact_type", "avatar"]
SEGMENTS: dict[SegmentType, type[Tag | List]] = {"tags": Tag, "lists": List}
# A contact in one of these is not brought back by a program that knows nothing of it.
STRICT_STATUSES = {Status.SUBSCRIBED, Status.BOUNCED, Status.COMPLAINED, Status.SPAMMED}
SHORTEST_NEW_SEGMENT = 3

Deleter = Callable[[Sequence[int]], None]
_deleters: list[Deleter] = []


class EmailTaken(Exception):
    """Another contact has this e-mail."""


def create(fields: Mapping[str, Any]) -> Subscriber:
    """Make a contact; empty fields keep the column's default. Raises EmailTaken."""
    try:
        with transaction.atomic():
            return Subscriber.objects.create(**filled(fields))
    except IntegrityError as error:
        raise EmailTaken from error


def create_or_update(
    fields: Mapping[str, Any], force_status: bool = False
) -> tuple[Subscriber, bool]:
    """Make the contact of `fields["email"]`, or update the one that is there.

    As in FluentCRM, empty fields change nothing, and the status of a contact that is there
    changes only where it may: `force_status`, or to unsubscribed, or from pending and the like.
    Returns the contact and whether it is new. Two callers at once make one contact.
    """
    found = find_by_email(fields["email"])
    if found is None:
        try:
            return create(fields), True
        except EmailTaken:
            found = find_by_email(fields["email"])
            if found is None:
                raise
    given = filled(fields)
    status = given.pop("status", None)
    if status and (
        force_status or status == Status.UNSUBSCRIBED or found.status not in STRICT_STATUSES
    ):
        given["status"] = status
    custom = given.pop("custom_values", {})
    update(found, given)
    set_custom_values(found, custom)
    return found, False


def filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not empty."""
    return {name: value for name, value in fields.items() if value not in (None, "", 0, {})}


def update(contact: Subscriber, fields: Mapping[str, Any]) -> bool:
    """Set fields of a contact. Returns whether any column changed. Raises EmailTaken."""
    changed = [name for name, value in fields.items() if getattr(contact, name) != value]
    if not changed:
        return False
    for name in changed:
        setattr(contact, name, fields[name])
    contact.updated_at = timezone.now()
    try:
        with transaction.atomic():
            contact.save(update_fields=[*changed, "updated_at"])
    except IntegrityError as error:
        raise EmailTaken from error
    return True


def set_custom_values(contact: Subscriber, values: Mapping[str, Any]) -> None:
    """Lay values over a contact's custom values; an empty string removes one, as in FluentCRM."""
    laid = {
        name: value for name, value in {**contact.custom_values, **values}.items() if value != ""
    }
    update(contact, {"custom_values": laid})


def find_by_email(email: str) -> Subscriber | None:
    """The contact with this e-mail, however it is spelled in capitals and small letters."""
    # Not iexact: Django would compare UPPER(), which no index knows.
    contacts = Subscriber.objects.with_user().annotate(address=Lower("email"))
    return contacts.filter(address=Lower(Value(email))).first()


def set_property(contact_ids: Iterable[int], column: Property, value: str) -> None:
    """Set one column of several contacts, in id order; those that have it stay as they are."""
    with transaction.atomic():
        changing = (
            Subscriber.objects.filter(id__in=list(contact_ids))
            .exclude(**{column: value})
            .order_by("id")
            .select_for_update(no_key=True)
            .values_list("id", flat=True)
        )
        Subscriber.objects.filter(id__in=list(changing)).update(
            **{column: value, "updated_at": timezone.now()}
        )


def register_deleter(deleter: Deleter) -> None:
    """Have `deleter(contact_ids)` called inside delete_contacts, before the contacts go."""
    _deleters.append(deleter)


def delete_contacts(contact_ids: Iterable[int]) -> int:
    """Delete contacts and all that belongs to them, in one transaction. Returns how many.

    The contacts are locked first, in id order: tracking, which takes a key share lock on its
    contact, waits and then finds nobody, so nothing is orphaned.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM crm_subscriber WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE",
            [list(contact_ids)],
        )
        found = [row[0] for row in cursor.fetchall()]
        for deleter in _deleters:
            deleter(found)
        for table in ("crm_subscriber_tags", "crm_subscriber_lists"):
            cursor.execute(f"DELETE FROM {table} WHERE subscriber_id = ANY(%s::bigint[])", [found])  # noqa: S608
        cursor.execute("DELETE FROM crm_subscriber WHERE id = ANY(%s::bigint[])", [found])
    return len(found)


def attach(kind: SegmentType, contact_ids: Sequence[int], segment_ids: Iterable[int]) -> None:
    """Put contacts on tags or lists; ids that name nothing are passed over."""
    through = getattr(Subscriber, kind).through
    column = SEGMENTS[kind].__name__.lower() + "_id"
    with transaction.atomic():
        # Held until commit, so that neither side is deleted in between.
        contacts = _locked(Subscriber, contact_ids)
        segments = _locked(SEGMENTS[kind], segment_ids)
        through.objects.bulk_create(
            [
                through(subscriber_id=contact, **{column: segment})
                for contact in contacts
                for segment in segments
            ],
            ignore_conflicts=True,
        )


def detach(kind: SegmentType, contact_ids: Sequence[int], segment_ids: Iterable[int]) -> None:
    """Take contacts off tags or lists."""
    through = getattr(Subscriber, kind).through
    column = SEGMENTS[kind].__name__.lower() + "_id__in"
    through.objects.filter(
        subscriber_id__in=list(contact_ids), **{column: list(segment_ids)}
    ).delete()


def delete_segments(kind: SegmentType, segment_ids: Iterable[int]) -> int:
    """Delete tags or lists, which takes them off their contacts. Returns how many."""
    with transaction.atomic():
        rows = SEGMENTS[kind].objects.filter(id__in=list(segment_ids)).order_by("id")
        found = list(rows.select_for_update().values_list("id", flat=True))
        SEGMENTS[kind].objects.filter(id__in=found).delete()
    return len(found)


def _locked(model: type[Subscriber | Tag | List], ids: Iterable[int]) -> list[int]:
    rows = model.objects.filter(id__in=list(ids)).order_by("id")
    return list(rows.select_for_update(no_key=True).values_list("id", flat=True))


def segment_ids(kind: SegmentType, names: Iterable[str], create: bool) -> list[int]:
    """The ids of tags or lists that a program names by id, title or slug.

    With `create`, a title of three characters or more that nobody has becomes a new one, as in
    FluentCRM.
    """
    model = SEGMENTS[kind]
    found: list[int] = []
    for name in names:
        if name.isascii() and name.isdigit():
            if len(name) < 19:
                found.append(int(name))
            continue
        if len(name) < SHORTEST_NEW_SEGMENT:
            continue
        segment = (
            model.objects.filter(title=name).first() or model.objects.filter(slug=name).first()
        )
        if segment is None and create:
            segment, _ = model.objects.get_or_create(slug=slugify(name), defaults={"title": name})
        if segment is not None:
            found.append(segment.id)
    return found


def slugify(title: str) -> str:
    """A slug as FluentCRM makes it: ASCII letters and digits with single dashes.

    A title in another script than Latin gets a random one.
    """
    letters = unicodedata.normalize("NFKD", title)
    latin = all(not char.isalpha() or "LATIN" in unicodedata.name(char, "") for char in letters)
    plain = "".join(char for char in letters if not unicodedata.combining(char)).lower()
    slug = re.sub(r"[-_]{2,}", "-", re.sub(r"[^a-z0-9_-]", "-", plain)).strip("-_")
    return slug if slug and latin else get_random_string(11, "abcdefghijklmnopqrstuvwxyz0123456789")
