"""Serialize contacts, tags, lists and segments as FluentCRM shows them.

The recorded shapes are in tests/conformance/subscribers.json.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import orjson
from rest_framework import serializers
from typing_extensions import override

from config.api.serializers import FluentBooleanField, FluentDateTimeField, RowSerializer, StrField
from crm.emails import email_md5
from crm.labels import LabelKind
from crm.models import Status, Subscriber, SubscriberNote, full_name, gravatar
from crm.selectors import (
    CONTACT_COLUMNS,
    Contact,
    custom_values_of,
    labels_of,
    labels_of_contact,
)


class LabelSerializer(RowSerializer):
    """The common fields of a tag and a list."""

    id = serializers.IntegerField()
    title = serializers.CharField()
    slug = serializers.CharField()
    description = serializers.CharField(allow_null=True)


class TagSerializer(LabelSerializer):
    """A tag."""

    created_at = FluentDateTimeField()
    updated_at = FluentDateTimeField()


class ContactListSerializer(LabelSerializer):
    """A list of contacts."""

    is_public = FluentBooleanField()
    created_at = FluentDateTimeField()
    updated_at = FluentDateTimeField()


class CountedTagSerializer(TagSerializer):
    """A tag, and on request the number of contacts that have it and are subscribed."""

    subscribersCount = serializers.IntegerField(required=False)


class CountedContactListSerializer(ContactListSerializer):
    """A list, and on request the numbers of all and of subscribed contacts on it."""

    totalCount = serializers.IntegerField(required=False)
    subscribersCount = serializers.IntegerField(required=False)


class LabelChoiceSerializer(RowSerializer):
    """A tag or list as a choice in a form."""

    id = serializers.CharField()
    title = serializers.CharField()
    slug = serializers.CharField()


class ContactChoiceSerializer(RowSerializer):
    """A contact as a choice in a form."""

    first_name = serializers.CharField(allow_null=True)
    last_name = serializers.CharField(allow_null=True)
    full_name = serializers.CharField()
    email = serializers.CharField()
    id = serializers.CharField()


class ContactReferenceSerializer(RowSerializer):
    """A contact in the response to a batch."""

    id = serializers.IntegerField()
    email = serializers.CharField()
    status = serializers.ChoiceField(choices=Status.choices)


class SubscriberSerializer(RowSerializer):
    """A contact, as crm/selectors.py reads it.

    `serialize_contacts` adds the fields that are not required.
    """

    id = serializers.IntegerField()
    user_id = serializers.CharField(allow_null=True)
    hash = serializers.CharField()
    contact_owner = StrField(allow_null=True)
    company_id = StrField(allow_null=True)
    email = serializers.CharField()
    prefix = serializers.CharField(allow_null=True)
    first_name = serializers.CharField(allow_null=True)
    last_name = serializers.CharField(allow_null=True)
    timezone = serializers.CharField(allow_null=True)
    address_line_1 = serializers.CharField(allow_null=True)
    address_line_2 = serializers.CharField(allow_null=True)
    postal_code = serializers.CharField(allow_null=True)
    city = serializers.CharField(allow_null=True)
    state = serializers.CharField(allow_null=True)
    country = serializers.CharField(allow_null=True)
    ip = serializers.CharField(allow_null=True)
    phone = serializers.CharField(allow_null=True)
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]  # FluentCRM's name
    avatar = serializers.CharField(allow_null=True)
    latitude = StrField(allow_null=True)
    longitude = StrField(allow_null=True)
    total_points = StrField()
    life_time_value = StrField()
    status = serializers.ChoiceField(choices=Status.choices)
    contact_type = serializers.CharField()
    date_of_birth = StrField(allow_null=True)
    created_at = FluentDateTimeField()
    last_activity = FluentDateTimeField(allow_null=True)
    updated_at = FluentDateTimeField()
    full_name = serializers.CharField()
    photo = serializers.CharField()
    tags = TagSerializer(many=True, required=False)
    lists = ContactListSerializer(many=True, required=False)
    custom_values = serializers.DictField(required=False)
    custom_fields = serializers.JSONField(required=False)
    stats = serializers.DictField(required=False)
    unsubscribe_reason = serializers.CharField(required=False)
    unsubscribe_date = serializers.CharField(required=False)

    @override
    @classmethod
    def of_values(cls, values: Sequence[Any]) -> dict[str, Any]:
        row = super().of_values(values)
        email, avatar = row["email"], row["avatar"]
        row["hash"] = email_md5(email)
        row["full_name"] = full_name(row["first_name"], row["last_name"])
        row["photo"] = avatar or gravatar(email, row["full_name"])
        return row


LABEL_SERIALIZERS: dict[LabelKind, type[LabelSerializer]] = {
    "tags": TagSerializer,
    "lists": ContactListSerializer,
}
# The fields that SubscriberSerializer computes.
COMPUTED = ("hash", "full_name", "photo")
# Where a row of a contact has the ids of its labels.
LABEL_IDS: dict[LabelKind, int] = {"tags": -2, "lists": -1}
# FluentCRM has them from its own e-mails. Tallybook sends none, so they are there and empty,
# because clients read them.
EMPTY = {
    "stats": {"emails": 0, "opens": 0, "clicks": 0},
    "unsubscribe_reason": "",
    "unsubscribe_date": "",
}


def serialize_written(contact: Subscriber, kinds: Collection[LabelKind]) -> dict[str, Any]:
    """Serialize a contact that this transaction has written, with its labels of these kinds.

    It is not read again, because it is locked and has the values that were stored.

    Raises:
        PageTooLarge: 422, its tags or lists have more than 8 MB.
    """
    row = SubscriberSerializer.of_values(
        [None if name in COMPUTED else getattr(contact, name, None) for name in CONTACT_COLUMNS]
    )
    found = labels_of_contact(contact.pk, kinds)
    for kind in LABEL_SERIALIZERS:
        if kind in found:
            row[kind] = [*map(LABEL_SERIALIZERS[kind].of_values, found[kind].values())]
    return row


def serialize_contacts(
    contacts: Sequence[Contact], include: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Serialize contacts, with the optional fields of SubscriberSerializer that `include` names.

    Raises:
        PageTooLarge: 422, their tags, lists or custom values have more than 8 MB.
    """
    rows = [SubscriberSerializer.of_values(contact) for contact in contacts]
    if kinds := [kind for kind in LABEL_SERIALIZERS if kind in include]:
        _add_labels(rows, contacts, kinds)
    for name in include:
        match name:
            case "tags" | "lists":
                pass
            case "custom_values":
                _add_custom_values(rows, name, empty={})
            case "custom_fields":
                # As PHP encodes an empty array.
                _add_custom_values(rows, name, empty=[])
            case _:
                for row in rows:
                    row[name] = EMPTY[name]
    return rows


def _add_labels(
    rows: Iterable[dict[str, Any]], contacts: Sequence[Contact], kinds: Sequence[LabelKind]
) -> None:
    for kind, labels in labels_of(contacts, kinds).items():
        serialize = LABEL_SERIALIZERS[kind].of_values
        items = {label_id: serialize(label) for label_id, label in labels.items()}
        positions = {label_id: position for position, label_id in enumerate(items)}
        column = LABEL_IDS[kind]
        for row, contact in zip(rows, contacts, strict=True):
            # Without a label that has just been deleted.
            ids = sorted(filter(positions.__contains__, contact[column]), key=positions.__getitem__)
            row[kind] = [items[label_id] for label_id in ids]


def _add_custom_values(rows: Sequence[dict[str, Any]], name: str, empty: Any) -> None:
    texts = custom_values_of([row["id"] for row in rows])
    for row in rows:
        text = texts.get(row["id"], "{}")
        # PostgreSQL writes 1e20 as a whole number, and orjson reads it as 1e20. Written again at
        # once, because parsed values take twenty times the memory of their text.
        values = orjson.loads(text)
        row[name] = orjson.Fragment(orjson.dumps(values)) if values else empty


class AddedNoteSerializer(RowSerializer):
    """A note in the response that adds it.

    FluentCRM returns what was sent, with numbers: app/Http/Controllers/SubscriberController.php,
    addNote.
    """

    title = serializers.CharField()
    description = serializers.CharField()
    type = serializers.CharField()
    created_at = FluentDateTimeField()
    subscriber_id = serializers.IntegerField()
    updated_at = FluentDateTimeField()
    created_by = serializers.IntegerField(source="created_by_id")
    id = serializers.IntegerField()


class StoredNoteSerializer(RowSerializer):
    """A note as FluentCRM reads its table (database/migrations/SubscriberNotes.php).

    Three columns have the value that FluentCRM gives to each new note.
    """

    id = serializers.IntegerField()
    subscriber_id = StrField()
    parent_id = serializers.CharField(allow_null=True)
    created_by = StrField()
    status = serializers.CharField()
    type = serializers.CharField()
    is_private = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    created_at = FluentDateTimeField()
    updated_at = FluentDateTimeField()

    @override
    def to_representation(self, instance: SubscriberNote) -> dict[str, Any]:
        return self.of_values(
            (
                *(instance.pk, instance.subscriber_id, None, instance.created_by_id or 0, "open"),
                *(instance.type, "1", instance.title, instance.description),
                *(instance.created_at, instance.updated_at),
            )
        )


class NoteSerializer(StoredNoteSerializer):
    """A note in a list, with its author: app/Models/SubscriberNote.php, createdBy."""

    added_by = serializers.JSONField(
        required=False,
        help_text="`ID`, `first_name`, `last_name` and `display_name` of the user who added the "
        "note. false if the user was deleted.",
    )

    @override
    def to_representation(self, instance: SubscriberNote) -> dict[str, Any]:
        row = super().to_representation(instance)
        user = instance.created_by
        row["added_by"] = user is not None and {
            "ID": user.pk,
            "first_name": user.first_name,
            "last_name": user.last_name,
            "display_name": user.get_full_name() or user.get_username(),
        }
        return row


class ConditionSerializer(serializers.Serializer[Any]):
    """A condition of a filter, as FluentCRM's advanced filters have it."""

    # As a class attribute, `source` would hide the serializer's own.
    @override
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        return {
            "source": serializers.ListField(
                child=serializers.CharField(), min_length=2, max_length=2
            ),
            "operator": serializers.CharField(),
            "value": serializers.JSONField(required=False),
            "extra_value": serializers.JSONField(required=False),
            "path": serializers.JSONField(required=False),
            "same": serializers.JSONField(required=False),
            "within_days": serializers.JSONField(required=False),
            "within_hours": serializers.JSONField(required=False),
        }


class FilterField(serializers.ListField):
    """A filter: groups of conditions, stored as the JSON that is sent."""

    child = ConditionSerializer(many=True)

    @override
    def to_representation(self, value: Any) -> Any:
        return value


class SegmentSerializer(RowSerializer):
    """A segment: a saved filter."""

    id = serializers.IntegerField()
    title = serializers.CharField()
    slug = serializers.CharField()
    filters = FilterField()
    created_at = FluentDateTimeField()
    updated_at = FluentDateTimeField()
