"""Describe what the endpoints of contacts have in common."""

from typing import Any

from rest_framework import serializers

from config.api.schema import (
    MessageSerializer,
    describe,
    parameter,
)
from crm.api.fields import TEXT_COLUMNS
from crm.models import Status

Fields = dict[str, Any]


def optional_text() -> serializers.CharField:
    """Return the description of an optional text."""
    return serializers.CharField(required=False)


def names() -> serializers.ListField:
    """Return the description of an optional list of ids, titles or slugs."""
    return serializers.ListField(child=serializers.CharField(), required=False)


def degrees() -> serializers.FloatField:
    """Return the description of an optional coordinate."""
    return serializers.FloatField(required=False, allow_null=True, min_value=-180, max_value=180)


def choice(*choices: str, required: bool = True) -> serializers.ChoiceField:
    """Return the description of one of these texts."""
    return serializers.ChoiceField(choices=choices, required=required)


def id_list() -> serializers.ListField:
    """Return the description of a list of ids in a response."""
    return serializers.ListField(child=serializers.IntegerField())


KEEP_OPT_OUTS: Fields = {
    "keep_opt_outs": serializers.BooleanField(
        required=False,
        help_text="false lets contacts be mailed again that are unsubscribed, complained, bounced "
        "or spammed.",
    )
}


CONTACT: Fields = {
    "user_id": optional_text(),
    **{name: optional_text() for name in (*TEXT_COLUMNS, "full_name", "contact_type")},
    "status": serializers.ChoiceField(choices=Status.choices, required=False),
    "avatar": serializers.RegexField("^(https?://|/)", required=False),
    "date_of_birth": serializers.DateField(required=False, allow_null=True),
    "latitude": degrees(),
    "longitude": degrees(),
    "total_points": serializers.IntegerField(required=False, min_value=0),
    "life_time_value": serializers.IntegerField(required=False, min_value=0),
    "custom_values": serializers.DictField(required=False),
}


LABELS: Fields = {"tags": names(), "lists": names()}


SEARCH = parameter("search", "Part of any text of the object.")


MESSAGE = describe(MessageSerializer)


def objects() -> serializers.ListField:
    """Return the description of a list of objects."""
    return serializers.ListField(child=serializers.DictField())
