"""Describe calls that change several contacts."""

from typing import Any

from rest_framework import serializers
from typing_extensions import override

from config.api.schema import (
    WARNINGS,
    FieldWarningSerializer,
    describe,
    envelope,
    ids,
)
from crm.api.schema.base import (
    CONTACT,
    KEEP_OPT_OUTS,
    LABELS,
    Fields,
    choice,
    names,
    optional_text,
)
from crm.api.serializers import (
    ContactReferenceSerializer,
    SubscriberSerializer,
)

UPDATE_PROPERTY = describe(
    envelope("ChangedProperty", message=serializers.CharField(), **WARNINGS),
    request=envelope(
        "ContactProperty",
        property=choice("status", "contact_type", "avatar"),
        value=serializers.CharField(),
        subscribers=ids(),
        **KEEP_OPT_OUTS,
    ),
)


SYNC_LABELS = describe(
    envelope(
        "SyncedContacts",
        message=serializers.CharField(),
        subscribers=SubscriberSerializer(many=True),
        **WARNINGS,
    ),
    request=envelope(
        "LabelSync",
        type=choice("tags", "lists"),
        attach=names(),
        detach=names(),
        find_by=choice("slug", "title", "id", required=False),
        subscribers=ids(),
    ),
)


class WrittenContactSerializer(ContactReferenceSerializer):
    """A contact in the response to a batch, with what was not written as sent."""

    warnings = FieldWarningSerializer(many=True, required=False)


class RejectedContactSerializer(serializers.Serializer[Any]):
    """Why a contact of a batch was rejected."""

    index = serializers.IntegerField(help_text="The position in `contacts`, from 0.")
    email = serializers.JSONField(help_text="As sent.")

    # As a class attribute, `errors` would hide the serializer's own.
    @override
    def get_fields(self) -> Fields:
        errors = serializers.DictField(child=serializers.DictField(child=serializers.CharField()))
        return {**super().get_fields(), "errors": errors}


BULK_ADD_UPDATE = describe(
    envelope(
        "AddedOrUpdatedContacts",
        message=serializers.CharField(),
        created=WrittenContactSerializer(many=True),
        updated=WrittenContactSerializer(many=True),
        invalids=serializers.ListField(),
        errors=RejectedContactSerializer(
            many=True, required=False, help_text="The reasons of `invalids`, in the same order."
        ),
    ),
    request=envelope(
        "ContactBatch",
        contacts=serializers.ListField(
            child=envelope(
                "BatchContact", **CONTACT | {"email": serializers.EmailField()} | LABELS
            ),
            max_length=1000,
        ),
        force_update=serializers.BooleanField(required=False),
        restore_erased=serializers.BooleanField(
            required=False, help_text="true stores contacts that were erased, as sent."
        ),
        **KEEP_OPT_OUTS,
    ),
)


DO_BULK_ACTION = describe(
    envelope(
        "DoneBulkAction",
        message=serializers.CharField(),
        last_contact_id=serializers.IntegerField(required=False),
        completed_contacts=serializers.IntegerField(),
        is_completed=serializers.BooleanField(
            required=False, help_text="true if contact_query has no more contacts."
        ),
        subscribers=SubscriberSerializer(
            many=True, required=False, help_text="Those that add_to_automation has started."
        ),
        **WARNINGS,
    ),
    request=envelope(
        "BulkAction",
        action_name=choice(
            *("delete_contacts", "change_contact_status", "change_contact_type"),
            *("add_to_tags", "remove_from_tags", "add_to_lists", "remove_from_lists"),
            "add_to_automation",
        ),
        subscriber_ids=serializers.ListField(
            child=serializers.IntegerField(min_value=0), required=False, max_length=1000
        ),
        is_all=serializers.CharField(required=False, help_text="yes, with contact_query."),
        contact_query=serializers.DictField(
            required=False,
            help_text="With is_all: the parameters of the list of contacts, such as "
            '{"filter_type": "simple", "tags": [1]}. The next 400 contacts are changed.',
        ),
        last_id=serializers.IntegerField(
            required=False, min_value=0, help_text="last_contact_id of the request before."
        ),
        action_options=serializers.ListField(child=serializers.IntegerField(), required=False),
        new_status=optional_text(),
        **KEEP_OPT_OUTS,
    ),
)
