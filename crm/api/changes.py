"""Change contacts as a request names them: their labels by name, and deletion with its record."""

from collections.abc import Mapping, Sequence

from django.http import HttpRequest
from rest_framework.request import Request

from config.api.errors import Forbidden, Unprocessable
from config.api.warnings import Warnings
from config.audit import of_ids, record
from config.database import in_transaction
from crm.aliases import Name, find_holders
from crm.attachments import change_labels_of
from crm.contacts import delete_contacts
from crm.filters.types import HasPerm
from crm.labels import (
    NAME_KINDS,
    LabelKind,
    LabelName,
    find_named,
    find_named_of_kinds,
    is_new_title,
    missing_label_warnings,
    resolve_labels,
)
from crm.models import Job, Subscriber

# Field of an update -> the kind of label, and whether its labels are attached or detached.
LABEL_CHANGES: dict[str, tuple[LabelKind, bool]] = {
    "tags": ("tags", True),
    "lists": ("lists", True),
    "attach_tags": ("tags", True),
    "attach_lists": ("lists", True),
    "detach_tags": ("tags", False),
    "detach_lists": ("lists", False),
}
# Names, slugs or ids of labels, by the field of a request.
LabelNames = Mapping[str, Sequence[LabelName]]


MERGED = "Contact {} was merged into contact {}, so nothing was deleted. Delete contact {}."


def record_change(request: HttpRequest, what: str, job: Job) -> None:
    """Record a change of several contacts in the audit log.

    Args:
        request: the request of an API client or of an admin user.
        what: tags, lists, or a column of contacts.
        job: the record of the change.
    """
    record(request, "changed", what=f"{what} of contacts", number=job.done, job=job.pk)


@in_transaction
def delete_named(request: Request, contact_ids: Sequence[int]) -> int:
    """Delete the contacts that a request names, and record it. Returns how many there were.

    Raises:
        Unprocessable: 422, an id is that of a contact that was merged into another one. A program
            that merges may delete what is left over, and would delete both.
    """
    number = delete_contacts(contact_ids)["contacts"]
    if number < len({*contact_ids}):
        names: list[Name] = [("contact", str(contact_id)) for contact_id in contact_ids]
        for (_, merged), survivor in find_holders(names).items():
            raise Unprocessable(MERGED.format(merged, survivor, survivor), "merged")
    if number:
        record(request, "deleted", what="contact", **of_ids(contact_ids) | {"number": number})
    return number


def change_labels(
    contact: Subscriber, labels: LabelNames, warnings: Warnings, has_perm: HasPerm
) -> set[LabelKind]:
    """Attach and detach the labels that a request names, and report names that no label has.

    Returns:
        The kinds that it names.

    Raises:
        Forbidden: 403, a name would become a new label, and the user may create none.
        InvalidFields: 422, the contact would have too many labels.
    """
    attached: dict[LabelKind, set[int]] = {}
    detached: dict[LabelKind, set[int]] = {}
    names_of: dict[LabelKind, list[LabelName]] = {}
    for field, (kind, _) in LABEL_CHANGES.items():
        names_of.setdefault(kind, []).extend(labels.get(field, ()))
    found = find_named_of_kinds(names_of)
    for field, (kind, is_attached) in LABEL_CHANGES.items():
        if names := labels.get(field):
            may_create = has_perm(f"crm.add_{kind[:-1]}")
            number = len(found[kind])
            label_ids, missing = resolve_labels(
                kind, names, create=is_attached and may_create, found=found[kind]
            )
            if len(found[kind]) > number:
                # Another field may name the new labels otherwise.
                found[kind] |= find_named(kind, names_of[kind], NAME_KINDS)
            if is_attached and not may_create and any(map(is_new_title, missing)):
                raise Forbidden(f"You may not create {kind}: {', '.join(missing)}.")
            changes = attached if is_attached else detached
            changes.setdefault(kind, set()).update(label_ids)
            warnings += missing_label_warnings(field, kind, missing)
    change_labels_of(contact.id, attached, detached)
    return attached.keys() | detached.keys()
