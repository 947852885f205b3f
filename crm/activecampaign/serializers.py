"""Serialize contacts, labels and custom fields as ActiveCampaign shows them.

See the pages of its API reference, version 3, "Create or update contact", "Retrieve a contact",
"List all tags", "Retrieve all lists", "List all custom fields". Ids are texts. What Tallybook has
no data for is there and empty.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.utils.timezone import get_default_timezone
from rest_framework import serializers
from typing_extensions import override

from config.api.serializers import RowSerializer, StrField
from config.api.validation import clamp_id
from crm.activecampaign.fields import PIPES
from crm.custom_fields import text_of_value
from crm.models import LIST_TYPES, CustomField, FieldType, Status, Subscriber

API = "/api/3"
# ActiveCampaign's status of a contact on a list, by the contact's status. 0 is unconfirmed.
LIST_STATUSES = {
    Status.SUBSCRIBED: "1",
    Status.TRANSACTIONAL: "1",
    Status.PENDING: "0",
    Status.BOUNCED: "3",
}
OPTED_OUT = "2"
# ActiveCampaign's types of fields: "Create a custom field".
FIELD_TYPES = {
    FieldType.TEXT: "text",
    FieldType.TEXTAREA: "textarea",
    FieldType.NUMBER: "number",
    FieldType.SELECT_ONE: "dropdown",
    FieldType.SELECT_MULTI: "listbox",
    FieldType.RADIO: "radio",
    FieldType.CHECKBOX: "checkbox",
    FieldType.DATE: "date",
    FieldType.DATE_TIME: "datetime",
}
# A value of a field has no row of its own. Its id is the contact's, and the field's in nine digits.
FIELD_ID_DIGITS = 9


class IsoDateTimeField(serializers.CharField):
    """A datetime as ActiveCampaign shows it: `2018-09-28T13:50:41-05:00`."""

    @override
    def to_representation(self, value: Any) -> str:
        return format_iso(value)


def format_iso(value: datetime) -> str:
    """Return a datetime in TIME_ZONE as ISO 8601, to the second."""
    return value.astimezone(get_default_timezone()).isoformat(timespec="seconds")


class ACSerializer(RowSerializer):
    """A row with what ActiveCampaign shows beside the fields: `constants`, and no null texts.

    A field that is not required is a constant, or set by `to_representation`.
    """

    constants: ClassVar[Mapping[str, Any]] = {}
    # What is null in Tallybook and "" in ActiveCampaign.
    texts: ClassVar[tuple[str, ...]] = ()

    @override
    def to_representation(self, instance: Any) -> dict[str, Any]:
        row = {**super().to_representation(instance), **self.constants}
        for name in self.texts:
            row[name] = row[name] or ""
        return row


def text() -> serializers.CharField:
    """Return the description of a text that is no column."""
    return serializers.CharField(required=False, allow_null=True)


def links() -> serializers.DictField:
    """Return the description of the URLs of what belongs to a row."""
    return serializers.DictField(child=serializers.CharField(), required=False)


class ACContactSerializer(ACSerializer):
    """A contact."""

    id = StrField()
    email = serializers.CharField()
    phone = serializers.CharField()
    firstName = serializers.CharField(source="first_name")
    lastName = serializers.CharField(source="last_name")
    ip = serializers.CharField()
    hash = serializers.CharField()
    cdate = IsoDateTimeField(source="created_at")
    udate = IsoDateTimeField(source="updated_at")
    bounced_hard = text()
    bounced_soft = text()
    orgid = text()
    orgname = text()
    organization = text()
    deleted = text()
    anonymized = text()
    links = links()

    constants: ClassVar[Mapping[str, Any]] = {
        **dict.fromkeys(("orgid", "bounced_soft", "deleted", "anonymized"), "0"),
        "orgname": "",
        "organization": None,
    }
    texts = ("phone", "firstName", "lastName", "ip")

    @override
    def to_representation(self, instance: Subscriber) -> dict[str, Any]:
        row = super().to_representation(instance)
        row["bounced_hard"] = "1" if instance.status == Status.BOUNCED else "0"
        row["links"] = {
            name: f"{root()}/contacts/{instance.pk}/{name}"
            for name in ("contactLists", "contactTags", "fieldValues", "trackingLogs")
        }
        return row


def root() -> str:
    """Return the path of the API, below TALLYBOOK_URL_PREFIX."""
    return f"{settings.FORCE_SCRIPT_NAME or ''}{API}"


class ACTagSerializer(ACSerializer):
    """A tag."""

    id = StrField()
    tag = serializers.CharField(source="title")
    description = serializers.CharField()
    cdate = IsoDateTimeField(source="created_at")
    udate = IsoDateTimeField(source="updated_at")
    tagType = text()
    links = links()

    constants: ClassVar[Mapping[str, Any]] = {"tagType": "contact", "links": {}}
    texts = ("description",)


class ACContactListSerializer(ACSerializer):
    """A list."""

    id = StrField()
    name = serializers.CharField(source="title")
    stringid = serializers.CharField(source="slug")
    cdate = IsoDateTimeField(source="created_at")
    udate = IsoDateTimeField(source="updated_at")
    userid = text()
    user = text()
    sender_url = text()
    sender_reminder = text()
    links = links()

    constants: ClassVar[Mapping[str, Any]] = {
        "userid": "0",
        "user": None,
        "sender_url": "",
        "sender_reminder": "",
        "links": {},
    }


class ACMembershipSerializer(ACSerializer):
    """A label of a contact: a row of the table that attaches them."""

    id = StrField()
    contact = StrField(source="subscriber_id")
    cdate = text()
    links = links()

    constants: ClassVar[Mapping[str, Any]] = {"cdate": None, "links": {}}


class ACContactTagSerializer(ACMembershipSerializer):
    """A tag of a contact."""

    tag = StrField(source="tag_id")


class ACListMembershipSerializer(ACMembershipSerializer):
    """A list of a contact, with the contact's status. `instance.subscriber` is the contact."""

    list = StrField(source="list_id")
    status = text()
    first_name = text()
    last_name = text()
    sdate = text()
    udate = text()
    sourceid = text()

    constants: ClassVar[Mapping[str, Any]] = {
        **ACMembershipSerializer.constants,
        **{"sdate": None, "udate": None, "sourceid": "0"},
    }

    @override
    def to_representation(self, instance: Any) -> dict[str, Any]:
        contact: Subscriber = instance.subscriber
        return {
            **super().to_representation(instance),
            "status": list_status(contact),
            "first_name": contact.first_name or "",
            "last_name": contact.last_name or "",
        }


def list_status(contact: Subscriber) -> str:
    """Return ActiveCampaign's status of a contact on each of its lists."""
    return LIST_STATUSES.get(Status(contact.status), OPTED_OUT)


class ACFieldSerializer(ACSerializer):
    """A custom field."""

    id = StrField()
    title = serializers.CharField(source="label")
    ordernum = StrField(source="position")
    type = text()
    perstag = text()
    options = serializers.ListField(child=serializers.CharField(), required=False)
    descript = text()
    isrequired = text()
    defval = text()
    visible = text()
    relations = serializers.ListField(child=serializers.CharField(), required=False)
    links = links()

    constants: ClassVar[Mapping[str, Any]] = {
        **{"descript": "", "isrequired": "0", "defval": "", "visible": "1"},
        **{"relations": [], "links": {}},
    }

    @override
    def to_representation(self, instance: CustomField) -> dict[str, Any]:
        return {
            **super().to_representation(instance),
            "type": FIELD_TYPES[FieldType(instance.type)],
            "perstag": instance.slug.upper(),
            "options": [option["id"] for option in field_options(instance)],
        }


class ACFieldOptionSerializer(serializers.Serializer[Any]):
    """The description of an option of a custom field, which `field_options` returns."""

    id = serializers.CharField()
    field = serializers.CharField()
    orderid = serializers.CharField()
    value = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]  # ActiveCampaign's name


def field_options(field: CustomField) -> list[dict[str, str]]:
    """Return the options of a custom field, with ids that are made from the field's."""
    return [
        {
            "id": f"{field.pk}{number:05}",
            "field": str(field.pk),
            "orderid": str(number),
            "value": option,
            "label": option,
        }
        for number, option in enumerate(field.options, 1)
    ]


class ACFieldValueSerializer(serializers.Serializer[Any]):
    """The description of a contact's value of a custom field, which `field_value` returns."""

    id = serializers.CharField()
    contact = serializers.CharField()
    field = serializers.CharField()
    value = serializers.CharField()
    owner = serializers.CharField()
    cdate = serializers.CharField(allow_null=True)
    udate = serializers.CharField(allow_null=True)
    links = links()


def field_value(contact_id: int, field: CustomField, value: Any) -> dict[str, Any]:
    """Return a contact's value of a custom field."""
    return {
        "id": f"{contact_id}{field.pk:0{FIELD_ID_DIGITS}}",
        "contact": str(contact_id),
        "field": str(field.pk),
        "value": to_wire(field, value),
        "owner": str(contact_id),
        **{"cdate": None, "udate": None, "links": {}},
    }


def split_value_id(value_id: str) -> tuple[int, int]:
    """Return the ids of contact and field of `field_value`'s id. 0 is no id."""
    contact, field = value_id[:-FIELD_ID_DIGITS], value_id[-FIELD_ID_DIGITS:]
    return clamp_id(contact or "0"), int(field)


def to_wire(field: CustomField, value: Any) -> str:
    """Return a custom value as text. Choices of a list are `||red||blue||`."""
    if field.type in LIST_TYPES and isinstance(value, list):
        return PIPES + "".join(f"{text_of_value(item)}{PIPES}" for item in value) if value else ""
    return text_of_value(value)
