"""Describe choices for forms, the dashboard and users."""

from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from config.api.pagination import COUNT
from config.api.schema import (
    WARNINGS,
    describe,
    envelope,
    parameter,
)

REPORT_OPTIONS = describe(
    envelope(
        "ReportOptions",
        options=serializers.JSONField(help_text="The choices by field, or [] without any."),
        **WARNINGS,
    ),
    parameters=[
        parameter("fields", "Such as lists,tags,statuses,segments,contact_types."),
        parameter("with_count", "lists adds the numbers of subscribed contacts.", many=True),
    ],
)


DASHBOARD_STATS = describe(
    envelope(
        "DashboardStats",
        stats=serializers.DictField(
            child=envelope(
                "DashboardFigure",
                title=serializers.CharField(),
                count=serializers.IntegerField(),
                route=serializers.DictField(child=serializers.CharField()),
            )
        ),
        sales=serializers.ListField(),
        dashboard_notices=serializers.ListField(),
        onboarding=serializers.JSONField(allow_null=True),
        quick_links=serializers.ListField(),
        ff_config=serializers.DictField(),
        recommendation=serializers.BooleanField(),
        system_tips=serializers.CharField(allow_blank=True),
    )
)


# Without it, a list view returns an array.
@extend_schema_serializer(many=False)
class UsersSerializer(serializers.Serializer[Any]):
    """The first users, and the number of all."""

    users: Any = serializers.ListSerializer(
        child=envelope(
            "ListedUser",
            ID=serializers.CharField(),
            display_name=serializers.CharField(),
            user_email=serializers.CharField(allow_blank=True),
            id=serializers.CharField(),
        )
    )
    total = serializers.IntegerField()


USERS = describe(
    UsersSerializer,
    parameters=[
        parameter("limit", "Number of users: 5 by default, at most 1000.", COUNT),
        parameter("roles", "Users in any of these groups.", many=True),
    ],
)


ROLES = describe(envelope("Roles", roles=serializers.DictField(child=serializers.DictField())))
