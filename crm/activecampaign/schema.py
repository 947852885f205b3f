"""Describe ActiveCampaign's requests and responses, version 3, in OpenAPI."""

from typing import Any

from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers

from config.api.schema import WARNINGS, describe, envelope, parameter
from crm.activecampaign.serializers import (
    FIELD_TYPES,
    ACContactListSerializer,
    ACContactSerializer,
    ACContactTagSerializer,
    ACFieldOptionSerializer,
    ACFieldSerializer,
    ACFieldValueSerializer,
    ACListMembershipSerializer,
    ACTagSerializer,
)


def nothing() -> serializers.ListField:
    """Return the description of a list that is empty, because Tallybook has no such rows."""
    return serializers.ListField(child=serializers.DictField())


def text(required: bool = False) -> serializers.CharField:
    """Return the description of a text."""
    return serializers.CharField(required=required)


def one_of(*choices: str, required: bool = True) -> serializers.RegexField:
    """Return the description of one of these texts, which needs no component of its own."""
    return serializers.RegexField(f"^({'|'.join(choices)})$", required=required)


def object_id() -> serializers.CharField:
    """Return the description of an id."""
    return serializers.CharField()


def contact_request(name: str, *, is_new: bool) -> Any:
    """Return the description of the body of a write of a contact."""
    fields = envelope(
        f"{name}Fields",
        email=serializers.EmailField(required=is_new),
        firstName=text(),
        lastName=text(),
        phone=text(),
        fieldValues=serializers.ListField(
            child=envelope(f"{name}Value", field=object_id(), value=text()), required=False
        ),
    )
    return envelope(name, contact=fields)


WRITTEN_CONTACT = envelope(
    "WrittenACContact",
    fieldValues=ACFieldValueSerializer(many=True),
    contact=ACContactSerializer(),
    **WARNINGS,
)
CREATE_CONTACT = describe(
    WRITTEN_CONTACT, contact_request("NewACContact", is_new=True), created=True
)
SYNC_CONTACT = describe(
    WRITTEN_CONTACT, contact_request("SyncedACContact", is_new=True), created=True
)
UPDATE_CONTACT = describe(WRITTEN_CONTACT, contact_request("ChangedACContact", is_new=False))
RETRIEVE_CONTACT = describe(
    envelope(
        "RetrievedACContact",
        contactAutomations=nothing(),
        deals=nothing(),
        geoAddresses=nothing(),
        geoIps=nothing(),
        contactLists=ACListMembershipSerializer(many=True),
        fieldValues=ACFieldValueSerializer(many=True),
        contact=ACContactSerializer(),
    )
)
DESTROY = describe(envelope("DeletedACObject"))
CONTACT_TAGS = describe(envelope("ACContactTags", contactTags=ACContactTagSerializer(many=True)))
CONTACT_LISTS = describe(
    envelope("ACContactLists", contactLists=ACListMembershipSerializer(many=True))
)
FIELD_VALUES = describe(envelope("ACFieldValues", fieldValues=ACFieldValueSerializer(many=True)))
CONTACT_AUTOMATIONS = describe(envelope("ACContactAutomations", contactAutomations=nothing()))

SEARCH = parameter("search", "Part of the title.")


def describe_labels(kind: str, title: str, serializer: Any) -> Any:
    """Describe the actions of tags or lists.

    Args:
        kind: tag or list.
        title: what ActiveCampaign calls the title.
        serializer: of the label.
    """
    name = kind.title()
    response = envelope(f"ACStored{name}", **{kind: serializer()}, **WARNINGS)
    fields = envelope(f"AC{name}Fields", **{title: text(required=True)}, description=text())
    request = envelope(f"ACNew{name}", **{kind: fields})
    return extend_schema_view(
        list=describe(serializer(many=True), parameters=[SEARCH]),
        retrieve=describe(response),
        create=describe(response, request, created=True),
        update=describe(response, request),
        destroy=DESTROY,
    )


TAGS = describe_labels("tag", "tag", ACTagSerializer)
LISTS = describe_labels("list", "name", ACContactListSerializer)
ADD_TAG = describe(
    envelope("ACAddedTag", contactTag=ACContactTagSerializer()),
    envelope(
        "ACNewContactTag",
        contactTag=envelope("ACContactTagIds", contact=object_id(), tag=object_id()),
    ),
    created=True,
)
SET_LIST_STATUS = describe(
    envelope(
        "ACSetListStatus",
        contacts=ACContactSerializer(many=True),
        contactList=ACListMembershipSerializer(),
        **WARNINGS,
    ),
    envelope(
        "ACNewContactList",
        contactList=envelope(
            "ACContactListIds",
            contact=object_id(),
            list=object_id(),
            status=one_of("1", "2"),
        ),
    ),
)

STORED_FIELD = envelope(
    "ACStoredField",
    fieldOptions=ACFieldOptionSerializer(many=True),
    fieldRels=nothing(),
    field=ACFieldSerializer(),
    **WARNINGS,
)


def field_request(name: str, *, is_new: bool) -> Any:
    """Return the description of the body of a write of a custom field."""
    types = one_of(*FIELD_TYPES.values(), required=is_new)
    title, perstag = text(required=is_new), text()
    fields = envelope(f"{name}Fields", title=title, type=types, perstag=perstag)
    return envelope(name, field=fields)


LIST_FIELDS = describe(
    envelope(
        "ACFieldPage",
        fieldOptions=ACFieldOptionSerializer(many=True),
        fieldRels=nothing(),
        fields=ACFieldSerializer(many=True),
        meta=envelope("ACTotal", total=serializers.CharField()),
    ),
    parameters=[SEARCH],
)
FIELD = describe(STORED_FIELD)
CREATE_FIELD = describe(STORED_FIELD, field_request("ACNewField", is_new=True), created=True)
UPDATE_FIELD = describe(STORED_FIELD, field_request("ACChangedField", is_new=False))
FIELD_VALUE = describe(envelope("ACReadFieldValue", fieldValue=ACFieldValueSerializer()))
SET_FIELD_VALUE = describe(
    envelope(
        "ACStoredFieldValue",
        contacts=ACContactSerializer(many=True),
        fieldValue=ACFieldValueSerializer(),
    ),
    envelope(
        "ACNewFieldValue",
        fieldValue=envelope(
            "ACFieldValueFields", contact=object_id(), field=object_id(), value=text()
        ),
    ),
    created=True,
)
USER = describe(
    envelope(
        "ACLoggedInUser",
        user=envelope(
            "ACUser",
            **{
                name: serializers.CharField()
                for name in ("username", "email", "firstName", "lastName", "phone", "id")
            },
            signature=serializers.CharField(allow_null=True),
            links=serializers.DictField(),
        ),
    )
)
SITE_TRACKING = describe(
    envelope(
        "ACSiteTracking",
        siteTracking=envelope("ACSiteTrackingEnabled", enabled=serializers.BooleanField()),
    )
)
SITE_TRACKING_DOMAINS = describe(
    envelope(
        "ACSiteTrackingDomains",
        siteTrackingDomains=nothing(),
        meta=envelope("ACDomainTotal", total=serializers.CharField()),
    )
)
ACCOUNT_FIELDS = describe(
    envelope(
        "ACAccountFields",
        accountCustomFieldMeta=nothing(),
        meta=envelope("ACAccountFieldTotal", total=serializers.CharField()),
    )
)
# Described nowhere, because no request to them succeeds.
REFUSED = extend_schema(exclude=True)
