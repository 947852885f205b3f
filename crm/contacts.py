"""Every write to contacts: the rules stand here, not in views or save()."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Lower
from django.utils import timezone

from config.database import fetch_one, in_transaction
from crm.models import Status, Subscriber

BulkColumn = Literal["status", "contact_type", "avatar"]

# Numbers of rows by what they are called: contacts, events.
Counts = dict[str, int]
Counting = Callable[[Sequence[int]], Counts]
_related_counters: list[tuple[Counting, Counting]] = []


class EmailTaken(Exception):
    """Another contact has this e-mail."""


def create(fields: Mapping[str, Any]) -> Subscriber:
    """Make a contact; empty fields keep the column's default. Raises EmailTaken."""
    try:
        with transaction.atomic():
            return Subscriber.objects.create(**non_empty(fields))
    except IntegrityError as error:
        raise EmailTaken from error


def create_or_update(
    fields: Mapping[str, Any], force_status: bool = False
) -> tuple[Subscriber, bool]:
    """Make the contact of `fields["email"]`, or update the one that is there.

    As in FluentCRM, empty fields change nothing, and a subscribed contact stays subscribed unless
    it is said to be unsubscribed, or by `force_status`. Returns the contact and whether it is new.
    Runs in a transaction of the caller's, and keeps the contact locked until its end. However
    many ask at once, they make one contact.
    """
    while (found := get_for_update(email=fields["email"])) is None:
        # Somebody else may be faster; then it is there, or gone again already.
        with suppress(EmailTaken):
            return create(fields), True
    given = non_empty(fields)
    status = given.pop("status", None)
    stays = found.status == Status.SUBSCRIBED and status != Status.UNSUBSCRIBED
    if status and (force_status or not stays):
        given["status"] = status
    custom = given.pop("custom_values", {})
    update(found, given)
    set_custom_values(found, custom)
    return found, False


def non_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not empty."""
    return {name: value for name, value in fields.items() if value not in (None, "", 0, {})}


def update(contact: Subscriber, fields: Mapping[str, Any]) -> bool:
    """Set fields of a contact from `locked`. Returns whether any column changed.

    Raises EmailTaken.
    """
    changed = {name: value for name, value in fields.items() if getattr(contact, name) != value}
    if not changed:
        return False
    try:
        with transaction.atomic():
            rows = Subscriber.objects.filter(pk=contact.pk)
            rows.update(**changed, updated_at=timezone.now())
    except IntegrityError as error:
        raise EmailTaken from error
    for name, value in changed.items():
        setattr(contact, name, value)
    return True


def set_custom_values(contact: Subscriber, values: Mapping[str, Any]) -> None:
    """Lay values over a contact's custom values; an empty string removes one, as in FluentCRM."""
    laid = {
        name: value for name, value in {**contact.custom_values, **values}.items() if value != ""
    }
    update(contact, {"custom_values": laid})


def find_by_email(email: str) -> Subscriber | None:
    """The contact with this e-mail, however it is spelled in capitals and small letters."""
    return _with_email(email).first()


def get_for_update(*, contact_id: int | None = None, email: str = "") -> Subscriber | None:
    """The contact with this id or e-mail, kept from other writers until the transaction ends.

    Tracking goes on meanwhile.
    """
    rows = _with_email(email) if contact_id is None else Subscriber.objects.filter(id=contact_id)
    return rows.select_for_update(of=("self",), no_key=True).first()


def _with_email(email: str) -> QuerySet[Subscriber]:
    # Not iexact: Django would compare UPPER(), which no index knows.
    contacts = Subscriber.objects.with_user().annotate(address=Lower("email"))
    return contacts.filter(address=Lower(Value(email)))


@in_transaction
def set_column(contact_ids: Iterable[int], column: BulkColumn, value: str) -> None:
    """Set one column of several contacts, in id order; those that have it stay as they are."""
    changing = (
        Subscriber.objects.filter(id__in=list(contact_ids))
        .exclude(**{column: value})
        .order_by("id")
        .select_for_update(no_key=True)
        .values_list("id", flat=True)
    )
    changes = {column: value, "updated_at": timezone.now()}
    Subscriber.objects.filter(id__in=list(changing)).update(**changes)


def register_deleter(delete: Counting, count: Counting) -> None:
    """Have `delete(contact_ids)` called inside delete_contacts, before the contacts go.

    It returns how many rows it deleted, by what they are called; `count(contact_ids)`, how many it
    would delete.
    """
    _related_counters.append((delete, count))


COUNT_CONTACTS = """
SELECT (SELECT count(*) FROM crm_subscriber WHERE id = ANY(%(contacts)s::bigint[])),
       (SELECT count(*) FROM crm_subscriber_tags
        WHERE subscriber_id = ANY(%(contacts)s::bigint[])),
       (SELECT count(*) FROM crm_subscriber_lists
        WHERE subscriber_id = ANY(%(contacts)s::bigint[]))
"""


def count_contacts(contact_ids: Sequence[int]) -> Counts:
    """What delete_contacts would delete now, and return."""
    row = fetch_one(COUNT_CONTACTS, {"contacts": list(contact_ids)})
    counts: Counts = dict(zip(("contacts", "tags", "lists"), row, strict=True))
    for _, count in _related_counters:
        counts |= count(contact_ids)
    return counts


@in_transaction
def delete_contacts(contact_ids: Iterable[int]) -> Counts:
    """Delete contacts and all that belongs to them, in one transaction.

    Returns how many rows went: contacts, tags and lists that contacts were on, and what deleters
    say. The contacts are locked first, in id order: tracking, which takes a key share lock on its
    contact, waits and then finds nobody, so nothing is orphaned.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM crm_subscriber WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE",
            [list(contact_ids)],
        )
        found = [row[0] for row in cursor.fetchall()]
        counts: Counts = {"contacts": 0, "tags": 0, "lists": 0}
        for delete, _ in _related_counters:
            counts |= delete(found)
        for name in ("tags", "lists"):
            cursor.execute(
                f"DELETE FROM crm_subscriber_{name} "  # noqa: S608
                "WHERE subscriber_id = ANY(%s::bigint[])",
                [found],
            )
            counts[name] = cursor.rowcount
        cursor.execute("DELETE FROM crm_subscriber WHERE id = ANY(%s::bigint[])", [found])
        counts["contacts"] = cursor.rowcount
    return counts
