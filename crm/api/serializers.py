"""Contacts, tags and lists on the wire: which fields are read, and how each is shown."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from config.api.json_fields import to_json_object
from config.api.validation import (
    Validator,
    nullable_line,
    single_line,
    to_coordinate,
    to_date,
    to_datetime,
    to_email,
    to_rounded_bigint,
    to_url,
)
from crm.models import List, Segment, Status, Subscriber, Tag

TEXT_FIELDS = {
    "prefix": 192,
    "first_name": 192,
    "last_name": 192,
    "timezone": 192,
    "address_line_1": 192,
    "address_line_2": 192,
    "postal_code": 192,
    "city": 192,
    "state": 192,
    "country": 192,
    "ip": 40,
    "phone": 50,
    "source": 50,
    "avatar": 192,
}
# What a program may set; what is not named here is passed over, as FluentCRM does.
CONTACT_FIELDS: dict[str, Validator] = {
    "email": to_email,
    "status": single_line(50),
    "contact_type": single_line(50),
    "date_of_birth": to_date,
    "latitude": to_coordinate,
    "longitude": to_coordinate,
    "total_points": to_rounded_bigint,
    "life_time_value": to_rounded_bigint,
    "last_activity": to_datetime,
    "custom_values": to_json_object,
    **{field: nullable_line(longest) for field, longest in TEXT_FIELDS.items()},
    "avatar": to_url(TEXT_FIELDS["avatar"]),
}
FULL_NAME: dict[str, Validator] = {"full_name": single_line(385)}


def format_datetime(moment: datetime | None) -> str | None:
    """A time as FluentCRM shows it: `YYYY-MM-DD HH:MM:SS` in TIME_ZONE."""
    return None if moment is None else timezone.localtime(moment).isoformat(" ")[:19]


class TagSerializer(serializers.Serializer[Tag]):
    """The shape of a tag."""

    id = serializers.IntegerField()
    title = serializers.CharField()
    slug = serializers.CharField()
    description = serializers.CharField(allow_null=True)
    created_at = serializers.CharField()
    updated_at = serializers.CharField()


class ListSerializer(TagSerializer):
    """The shape of a list."""

    is_public = serializers.ChoiceField(choices=["0", "1"])


class SubscriberSerializer(serializers.Serializer[Subscriber]):
    """The shape of a contact; tags, lists and custom values only where they are asked for."""

    id = serializers.IntegerField()
    user_id = serializers.CharField(allow_null=True)
    hash = serializers.CharField()
    contact_owner = serializers.CharField(allow_null=True)
    company_id = serializers.CharField(allow_null=True)
    prefix = serializers.CharField(allow_null=True)
    first_name = serializers.CharField(allow_null=True)
    last_name = serializers.CharField(allow_null=True)
    email = serializers.CharField()
    timezone = serializers.CharField(allow_null=True)
    address_line_1 = serializers.CharField(allow_null=True)
    address_line_2 = serializers.CharField(allow_null=True)
    postal_code = serializers.CharField(allow_null=True)
    city = serializers.CharField(allow_null=True)
    state = serializers.CharField(allow_null=True)
    country = serializers.CharField(allow_null=True)
    ip = serializers.CharField(allow_null=True)
    latitude = serializers.CharField(allow_null=True)
    longitude = serializers.CharField(allow_null=True)
    total_points = serializers.CharField()
    life_time_value = serializers.CharField()
    phone = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=Status.choices)
    contact_type = serializers.CharField()
    source = serializers.CharField(allow_null=True)  # type: ignore[assignment]  # FluentCRM's name
    avatar = serializers.CharField(allow_null=True)
    date_of_birth = serializers.CharField(allow_null=True)
    created_at = serializers.CharField()
    last_activity = serializers.CharField(allow_null=True)
    updated_at = serializers.CharField()
    full_name = serializers.CharField()
    photo = serializers.CharField()
    tags = TagSerializer(many=True, required=False)
    lists = ListSerializer(many=True, required=False)
    custom_values = serializers.DictField(required=False)
    custom_fields = serializers.JSONField(required=False)
    stats = serializers.DictField(required=False)
    unsubscribe_reason = serializers.CharField(required=False)
    unsubscribe_date = serializers.CharField(required=False)


def contact_data(contact: Subscriber) -> dict[str, Any]:
    """The contact without tags and lists; it comes from `with_user()`."""
    user_id = getattr(contact, "user_id", None)
    return {
        "id": contact.id,
        "user_id": None if user_id is None else str(user_id),
        "hash": contact.hash,
        "contact_owner": _text_or_null(contact.contact_owner),
        "company_id": _text_or_null(contact.company_id),
        "email": contact.email,
        **{field: getattr(contact, field) for field in TEXT_FIELDS},
        "latitude": _text_or_null(contact.latitude),
        "longitude": _text_or_null(contact.longitude),
        "total_points": str(contact.total_points),
        "life_time_value": str(contact.life_time_value),
        "status": contact.status,
        "contact_type": contact.contact_type,
        "date_of_birth": _text_or_null(contact.date_of_birth),
        "created_at": format_datetime(contact.created_at),
        "last_activity": format_datetime(contact.last_activity),
        "updated_at": format_datetime(contact.updated_at),
        "full_name": contact.full_name,
        "photo": contact.photo,
    }


def segment_data(segment: Tag | List) -> dict[str, Any]:
    """A tag or list as FluentCRM shows it."""
    public = {"is_public": "1" if segment.is_public else "0"} if isinstance(segment, List) else {}
    return {
        "id": segment.id,
        "title": segment.title,
        "slug": segment.slug,
        "description": segment.description,
        **public,
        "created_at": format_datetime(segment.created_at),
        "updated_at": format_datetime(segment.updated_at),
    }


class ConditionSerializer(serializers.Serializer[Any]):
    """The shape of a filter's condition."""

    # As a class attribute, `source` would hide the serializer's own.
    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """What it has."""
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


class SegmentSerializer(serializers.Serializer[Segment]):
    """The shape of a saved segment."""

    id = serializers.IntegerField()
    title = serializers.CharField()
    slug = serializers.CharField()
    filters = serializers.ListField(child=ConditionSerializer(many=True))
    created_at = serializers.CharField()
    updated_at = serializers.CharField()


def saved_segment_data(segment: Segment) -> dict[str, Any]:
    """A saved segment on the wire."""
    return {
        "id": segment.id,
        "title": segment.title,
        "slug": segment.slug,
        "filters": segment.filters,
        "created_at": format_datetime(segment.created_at),
        "updated_at": format_datetime(segment.updated_at),
    }


def segments_data(contact: Subscriber) -> dict[str, list[dict[str, Any]]]:
    """The contact's tags and lists, by title."""
    return {
        "tags": [segment_data(tag) for tag in contact.tags.all()],
        "lists": [segment_data(segment) for segment in contact.lists.all()],
    }


def split_full_name(fields: Mapping[str, Any], full_name: str | None) -> dict[str, Any]:
    """FluentCRM's reading of `full_name`, where no other name is given: the first word is first."""
    if not full_name or fields.get("first_name") or fields.get("last_name"):
        return dict(fields)
    first, _, last = full_name.partition(" ")
    return {**fields, "first_name": first[:192], "last_name": last[:192]}


def _text_or_null(value: object) -> str | None:
    return None if value is None else str(value)
