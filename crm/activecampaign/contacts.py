"""Write contacts for ActiveCampaign's endpoints, by the rules of crm/contacts.py.

ActiveCampaign has a status for each list, and Tallybook one for the contact. Status 2 on a list
unsubscribes the contact. Status 1 puts the contact on the list and changes no status, so that a
contact who opted out, has not confirmed, or was erased stays so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from config.api.errors import Forbidden, InvalidFields
from config.api.warnings import Warnings
from config.database import in_transaction
from crm import contacts
from crm.activecampaign.fields import UNSUBSCRIBED
from crm.activecampaign.viewsets import NoResult
from crm.api.rights import require_change
from crm.attachments import change_labels_of
from crm.filters.types import HasPerm
from crm.labels import (
    LABEL_MODELS,
    LabelKind,
    LabelTitle,
    resolve_labels,
)
from crm.models import OPT_OUTS, List, Status, Subscriber

DUPLICATE = {"duplicate": "Email address already exists in the system"}
# What ActiveCampaign calls a contact, a tag and a list in its errors.
CONTACT = "Subscriber"
NOUNS: dict[LabelKind, str] = {"tags": "Tag", "lists": "List"}


class Written(NamedTuple):
    """A contact that was written, whether it is new, and what was not written as sent."""

    contact: Subscriber
    is_new: bool
    warnings: Warnings


class Labels(NamedTuple):
    """What a contact gets beside its fields."""

    # The status on each list, by its id.
    lists: Mapping[int, int]
    # Titles. Tags that do not exist are created.
    tags: Sequence[LabelTitle]


NO_LABELS = Labels({}, ())


def create(
    fields: Mapping[str, Any],
    warnings: Warnings,
    has_perm: HasPerm,
    labels: Labels = NO_LABELS,
) -> Written:
    """Create a contact, subscribed as each one of the API without a status.

    Args:
        fields: the columns.
        warnings: of the validation.
        has_perm: of the user.
        labels: the lists and the tags of the contact.

    Raises:
        InvalidFields: 422, also for an e-mail that another contact has.
        Forbidden: 403, a tag does not exist, and the user may create none.
    """

    def write(reported: Warnings) -> tuple[Subscriber, bool]:
        return contacts.create(fields, reported), True

    return _write(write, warnings, has_perm, labels)


def create_or_update(
    fields: Mapping[str, Any],
    warnings: Warnings,
    has_perm: HasPerm,
    labels: Labels = NO_LABELS,
) -> Written:
    """Create the contact of an e-mail, or update it. Empty fields change nothing.

    Arguments and errors are those of `create`, and also:

    Raises:
        Forbidden: 403, the contact exists, and the user may not change contacts.
    """

    def write(reported: Warnings) -> tuple[Subscriber, bool]:
        contact, is_new = contacts.create_or_update(fields, warnings=reported)
        require_change(is_new, has_perm)
        return contact, is_new

    return _write(write, warnings, has_perm, labels)


def update(
    contact_id: int,
    fields: Mapping[str, Any],
    warnings: Warnings,
    has_perm: HasPerm,
    labels: Labels = NO_LABELS,
) -> Written:
    """Update the fields of a contact that are sent.

    Arguments and errors are those of `create`, and also:

    Raises:
        NoResult: 404, the contact does not exist.
    """

    def write(reported: Warnings) -> tuple[Subscriber, bool]:
        contact = lock(contact_id)
        columns = dict(fields)
        custom_values = columns.pop("custom_values", {})
        contacts.update(contact, columns, reported)
        contacts.set_custom_values(contact, custom_values)
        return contact, False

    return _write(write, warnings, has_perm, labels)


def _write(
    write: Callable[[Warnings], tuple[Subscriber, bool]],
    warnings: Warnings,
    has_perm: HasPerm,
    labels: Labels,
) -> Written:
    @in_transaction
    def write_all() -> Written:
        # A list of each try, because a deadlock repeats this function.
        reported = [*warnings]
        contact, is_new = write(reported)
        set_list_statuses(contact, labels.lists, reported)
        add_tags(contact, labels.tags, has_perm)
        return Written(contact, is_new, reported)

    try:
        return write_all()
    except contacts.EmailTaken:
        raise InvalidFields({"email": DUPLICATE}) from None


def set_list_statuses(contact: Subscriber, lists: Mapping[int, int], warnings: Warnings) -> None:
    """Put a locked contact on lists, and unsubscribe the contact if one of the statuses says so.

    Raises:
        InvalidFields: 422, a list does not exist, or the contact would be on too many.
    """
    if not lists:
        return
    found = set(List.objects.filter(id__in=lists).values_list("id", flat=True))
    if missing := sorted(set(lists) - found):
        message = f"List ID {missing[0]} does not exist."
        raise InvalidFields({"list": {"exists": message}})
    if UNSUBSCRIBED in lists.values():
        # An opt-out for another reason stays, because it says more. It is written again, so that
        # no undo removes it.
        is_out = contact.status in OPT_OUTS
        contacts.update(contact, {"status": contact.status if is_out else Status.UNSUBSCRIBED})
    elif contact.status not in (Status.SUBSCRIBED, Status.TRANSACTIONAL):
        message = f"The contact stays {contact.status}, because a list changes no status."
        warnings.append({"field": "status", "rule": "keep_opt_outs", "message": message})
    change_labels_of(contact.pk, {"lists": list(lists)}, {})


def add_tags(contact: Subscriber, tags: Sequence[LabelTitle], has_perm: HasPerm) -> None:
    """Attach tags to a locked contact by their titles, and create those that do not exist.

    Raises:
        Forbidden: 403, a tag does not exist, and the user may create none.
        InvalidFields: 422, the contact would have too many tags.
    """
    if not tags:
        return
    ids, missing = resolve_labels("tags", tags, create=has_perm("crm.add_tag"))
    if missing:
        raise Forbidden(f"You may not create tags: {', '.join(missing)}.")
    change_labels_of(contact.pk, {"tags": ids}, {})


def lock(contact_id: int) -> Subscriber:
    """Return a contact, locked until the transaction ends.

    Raises:
        NoResult: 404, the contact does not exist.
    """
    contact = contacts.get_for_update(contact_id=contact_id)
    if contact is None:
        raise NoResult(CONTACT, contact_id)
    return contact


@in_transaction
def attach(kind: LabelKind, contact_id: int, label_id: int) -> tuple[int, bool]:
    """Attach a label to a contact. Returns the contact's id, and whether the label is new to it.

    Raises:
        NoResult: 404, the contact or the label does not exist.
        InvalidFields: 422, the contact would have too many labels.
    """
    contact = lock(contact_id)
    if not LABEL_MODELS[kind].objects.filter(pk=label_id).exists():
        raise NoResult(NOUNS[kind], label_id)
    has_label = getattr(contact, kind).filter(pk=label_id).exists()
    change_labels_of(contact.pk, {kind: [label_id]}, {})
    return contact.pk, not has_label


@in_transaction
def detach(contact_id: int, tag_id: int) -> None:
    """Detach a tag from a contact. One that it has not, or no contact, changes nothing."""
    if contact := contacts.get_for_update(contact_id=contact_id):
        change_labels_of(contact.pk, {}, {"tags": [tag_id]})


@in_transaction
def set_list_status(contact_id: int, list_id: int, status: int) -> Written:
    """Set the status of a contact on a list.

    Raises:
        NoResult: 404, the contact or the list does not exist.
        InvalidFields: 422, the contact would be on too many lists.
    """
    contact = lock(contact_id)
    if not List.objects.filter(pk=list_id).exists():
        raise NoResult(NOUNS["lists"], list_id)
    warnings: Warnings = []
    set_list_statuses(contact, {list_id: status}, warnings)
    return Written(contact, False, warnings)


@in_transaction
def set_field_value(contact_id: int, slug: str, value: Any) -> Subscriber:
    """Set a custom value of a contact, which is clean. "" removes it.

    Raises:
        NoResult: 404, the contact does not exist.
        InvalidFields: 422, the values become too large.
    """
    contact = lock(contact_id)
    contacts.set_custom_values(contact, {slug: value})
    return contact
