"""Every write to contacts: the rules stand here, not in views or save()."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from django.db import IntegrityError, connection, transaction
from django.db.models import QuerySet, Value
from django.db.models.functions import Lower
from django.utils import timezone

from config.database import in_transaction
from crm.models import Status, Subscriber

Property = Literal["status", "contact_type", "avatar"]

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

    As in FluentCRM, empty fields change nothing, and a subscribed contact stays subscribed unless
    it is said to be unsubscribed, or by `force_status`. Returns the contact and whether it is new.
    Runs in a transaction of the caller's, and keeps the contact locked until its end. However
    many ask at once, they make one contact.
    """
    while (found := locked(email=fields["email"])) is None:
        # Somebody else may be faster; then it is there, or gone again already.
        with suppress(EmailTaken):
            return create(fields), True
    given = filled(fields)
    status = given.pop("status", None)
    stays = found.status == Status.SUBSCRIBED and status != Status.UNSUBSCRIBED
    if status and (force_status or not stays):
        given["status"] = status
    custom = given.pop("custom_values", {})
    update(found, given)
    set_custom_values(found, custom)
    return found, False


def filled(fields: Mapping[str, Any]) -> dict[str, Any]:
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


def locked(*, contact_id: int | None = None, email: str = "") -> Subscriber | None:
    """The contact with this id or e-mail, kept from other writers until the transaction ends.

    Tracking goes on meanwhile.
    """
    rows = _with_email(email) if contact_id is None else Subscriber.objects.filter(id=contact_id)
    return rows.select_for_update(of=("self",), no_key=True).first()


def _with_email(email: str) -> QuerySet[Subscriber]:
    # Not iexact: Django would compare UPPER(), which no index knows.
    contacts = Subscriber.objects.with_user().annotate(address=Lower("email"))
    return contacts.filter(address=Lower(Value(email)))


def set_property(contact_ids: Iterable[int], column: Property, value: str) -> None:
    """Set one column of several contacts, in id order; those that have it stay as they are."""

    def work() -> None:
        changing = (
            Subscriber.objects.filter(id__in=list(contact_ids))
            .exclude(**{column: value})
            .order_by("id")
            .select_for_update(no_key=True)
            .values_list("id", flat=True)
        )
        changes = {column: value, "updated_at": timezone.now()}
        Subscriber.objects.filter(id__in=list(changing)).update(**changes)

    in_transaction(work)


def register_deleter(deleter: Deleter) -> None:
    """Have `deleter(contact_ids)` called inside delete_contacts, before the contacts go."""
    _deleters.append(deleter)


def delete_contacts(contact_ids: Iterable[int]) -> int:
    """Delete contacts and all that belongs to them, in one transaction. Returns how many.

    The contacts are locked first, in id order: tracking, which takes a key share lock on its
    contact, waits and then finds nobody, so nothing is orphaned.
    """

    def work() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id FROM crm_subscriber WHERE id = ANY(%s::bigint[]) ORDER BY id FOR UPDATE",
                [list(contact_ids)],
            )
            found = [row[0] for row in cursor.fetchall()]
            for deleter in _deleters:
                deleter(found)
            for table in ("crm_subscriber_tags", "crm_subscriber_lists"):
                cursor.execute(
                    f"DELETE FROM {table} WHERE subscriber_id = ANY(%s::bigint[])",  # noqa: S608
                    [found],
                )
            cursor.execute("DELETE FROM crm_subscriber WHERE id = ANY(%s::bigint[])", [found])
        return len(found)

    return in_transaction(work)
