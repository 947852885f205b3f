"""Serialize contacts, tags, lists and segments as FluentCRM shows them.

The recorded shapes are in tests/conformance/subscribers.json.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from rest_framework import serializers
from typing_extensions import override

from config.api.serializers import FluentBooleanField, FluentDateTimeField, RowSerializer
from crm.labels import LabelKind
from crm.models import Status, Subscriber
from crm.selectors import custom_values_of, labels_of


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
    """A contact from `Subscriber.objects.with_user()`.

    `serialize_contacts` adds the fields that are not required.
    """

    id = serializers.IntegerField()
    user_id = serializers.CharField(allow_null=True)
    hash = serializers.CharField()
    contact_owner = serializers.CharField(allow_null=True)
    company_id = serializers.CharField(allow_null=True)
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
    latitude = serializers.CharField(allow_null=True)
    longitude = serializers.CharField(allow_null=True)
    total_points = serializers.CharField()
    life_time_value = serializers.CharField()
    status = serializers.ChoiceField(choices=Status.choices)
    contact_type = serializers.CharField()
    date_of_birth = serializers.CharField(allow_null=True)
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


# Serialized contacts by id.
Rows = dict[int, dict[str, Any]]

LABEL_SERIALIZERS: dict[LabelKind, type[LabelSerializer]] = {
    "tags": TagSerializer,
    "lists": ContactListSerializer,
}
# FluentCRM has them from its own e-mails. Tallybook sends none, so they are there and empty,
# because clients read them.
EMPTY = {
    "stats": {"emails": 0, "opens": 0, "clicks": 0},
    "unsubscribe_reason": "",
    "unsubscribe_date": "",
}


def serialize_contacts(
    contacts: Sequence[Subscriber], include: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Serialize contacts, with the optional fields of SubscriberSerializer that `include` names.

    Raises:
        PageTooLarge: 422, their tags, lists or custom values have more than 8 MB.
    """
    serialize = SubscriberSerializer().to_representation
    rows = {contact.id: serialize(contact) for contact in contacts}
    for name in include if rows else ():
        match name:
            case "tags" | "lists":
                _add_labels(rows, name)
            case "custom_values":
                _add_custom_values(rows, name, empty={})
            case "custom_fields":
                # As PHP encodes an empty array.
                _add_custom_values(rows, name, empty=[])
            case _:
                for row in rows.values():
                    row[name] = EMPTY[name]
    return list(rows.values())


def _add_labels(rows: Rows, kind: LabelKind) -> None:
    for row in rows.values():
        row[kind] = []
    serialize = LABEL_SERIALIZERS[kind]().to_representation
    for label in labels_of(kind, list(rows)):
        item = serialize(label)
        for contact_id in label.contacts:
            rows[contact_id][kind].append(item)


def _add_custom_values(rows: Rows, name: str, empty: Any) -> None:
    texts = custom_values_of(list(rows))
    for contact_id, row in rows.items():
        text = texts.get(contact_id, "{}")
        # PostgreSQL writes 1e20 as a whole number, and orjson reads it as 1e20. Written again at
        # once, because parsed values take twenty times the memory of their text.
        values = orjson.loads(text)
        row[name] = orjson.Fragment(orjson.dumps(values)) if values else empty


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
            "within_days": serializers.JSONField(required=False),
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
