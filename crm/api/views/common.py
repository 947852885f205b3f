"""What the contact calls share: access, and reading a contact out of a request."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request

from config.api.pagination import page_of, requested_page
from config.api.validation import Validator, clamp_id, to_datetime, to_strings, validate
from crm.api.serializers import (
    CONTACT_FIELDS,
    FULL_NAME,
    contact_data,
    segments_data,
    split_full_name,
)
from crm.labels import LABEL_MODELS, LabelKind, attach, resolve_label_ids
from crm.models import Scope, Status, Subscriber
from crm.permissions import Access
from crm.selectors import page_ids_and_total

READ = Access(Scope.READ, "crm.view_subscriber")
ADD = Access(Scope.MANAGE, "crm.add_subscriber")
CHANGE = Access(Scope.MANAGE, "crm.change_subscriber")
DELETE = Access(Scope.MANAGE, "crm.delete_subscriber")

EMAIL_TAKEN = {"unique": "Provided email already assigned to another subscriber."}
LABEL_FIELDS: dict[str, Validator] = {"tags": to_strings, "lists": to_strings}
IMPORTED: dict[str, Validator] = {"created_at": to_datetime}
LabelKinds = set[LabelKind]


def contact_fields(
    given: Mapping[str, Any], required: Iterable[str] = (), imported: bool = False
) -> dict[str, Any]:
    """The contact's columns in a request. Raises InvalidFields (422).

    A status that FluentCRM does not know is passed over, as it does. With `imported`, the time
    of creation is taken as well.
    """
    readers = {**CONTACT_FIELDS, **FULL_NAME, **(IMPORTED if imported else {})}
    read = validate(readers, given, required)
    fields = split_full_name(read, read.pop("full_name", None))
    if fields.get("status") not in Status.values:
        fields.pop("status", None)
    for column in ("contact_type", "created_at"):
        if not fields.get(column):
            fields.pop(column, None)
    return fields


def attach_named(contact: Subscriber, given: Mapping[str, Any]) -> LabelKinds:
    """Put a contact on the `tags` and `lists` a request names. Returns which kinds it named."""
    attached: LabelKinds = set()
    for kind in LABEL_MODELS:
        if named := given.get(kind):
            attach(kind, [contact.id], resolve_label_ids(kind, named, create=True))
            attached.add(kind)
    return attached


def find_contact(contact_id: str) -> Subscriber | None:
    """The contact with this id in digits, with its `user_id`."""
    return Subscriber.objects.with_user().filter(id=clamp_id(contact_id)).first()


def contact_payload(contact: Subscriber, kinds: Iterable[LabelKind] = ()) -> dict[str, Any]:
    """A contact as FluentCRM shows it, fresh from the database, with these of its segments.

    Call it in the transaction that changed the contact: afterwards it may be gone.
    """
    fresh = Subscriber.objects.with_user().get(id=contact.id)
    segments = segments_data(fresh) if kinds else {}
    return {**contact_data(fresh), **{kind: segments[kind] for kind in kinds}}


def contact_page(
    request: Request, contacts: QuerySet[Subscriber], custom_fields: bool = False
) -> dict[str, Any]:
    """A page of contacts with their tags and lists, in FluentCRM's envelope.

    A filter is run once, for the page and the total; all contacts are counted by themselves,
    because a page of all of them needs no look at the rest.
    """
    places: dict[int, int] | None = None
    if contacts.query.where:
        ids, total = page_ids_and_total(contacts, *requested_page(request))
        places = {contact_id: place for place, contact_id in enumerate(ids)}
    else:
        total = contacts.count()

    def rows(start: int, stop: int) -> Iterable[dict[str, Any]]:
        if places is None:
            chosen = contacts[start:stop]
        else:
            chosen = Subscriber.objects.with_user().filter(id__in=places)
        page = list(chosen.prefetch_related("tags", "lists"))
        if places is not None:
            page.sort(key=lambda contact: places[contact.id])
        for contact in page:
            custom = {"custom_fields": contact.custom_values or []} if custom_fields else {}
            yield {**contact_data(contact), **segments_data(contact), **custom}

    return page_of(request, total, rows)
