"""FluentCRM's reports: choices for forms, the figures of its dashboard, and a test of a login."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

from django.db.models import QuerySet
from rest_framework.decorators import action
from rest_framework.request import Request

from config.api.errors import Forbidden, Unprocessable
from config.api.parsers import Params
from config.api.responses import Response
from config.api.validation import multi_line, to_strings, validate
from config.api.viewsets import ApiViewSet
from config.api.warnings import MAX_CHOICES, Warnings, capped, with_warnings
from config.database import fetch_one
from crm.api.custom_fields import serialize_field
from crm.api.rights import READ
from crm.api.schema import reports as schema
from crm.api.schema.base import MESSAGE
from crm.api.views.labels import count_contacts
from crm.api.views.users import VIEW_USERS, roles
from crm.custom_fields import declared_fields
from crm.models import ContactType, List, Scope, Segment, Status, Tag
from crm.permissions import Access

# As docs/decisions/counts-of-labels.md tells, by the partial index of contacts that are not
# subscribed.
FIGURES = """
SELECT (SELECT count(*) FROM crm_subscriber)
       - (SELECT count(*) FROM crm_subscriber WHERE status <> 'subscribed'),
       (SELECT count(*) FROM crm_tag)
"""
# The statuses that FluentCRM lets a user choose: app/Functions/helpers.php,
# fluentcrm_subscriber_editable_statuses.
EDITABLE = (Status.SUBSCRIBED, Status.PENDING, Status.UNSUBSCRIBED, Status.TRANSACTIONAL)


class Field(NamedTuple):
    """A field of `/reports/options`: what a user needs to see it, and what returns its value.

    `read` gets the parameters of the request, and collects warnings.
    """

    permissions: tuple[str, ...]
    read: Callable[[Params, Warnings], Any]


def constant(value: Any) -> Field:
    """Return a field that has the same value for all users."""
    return Field((), lambda *_: value)


def model_choices(choices: Iterable[tuple[str, str]]) -> Field:
    """Return a field with the choices of a model."""
    return constant([{"id": name, "slug": name, "title": label} for name, label in choices])


def read_titled(rows: QuerySet[Any], field: str, warnings: Warnings) -> list[dict[str, Any]]:
    """Return the first 10,000 tags, lists or segments by title."""
    found, problems = capped(rows.values("id", "slug", "title")[: MAX_CHOICES + 1], field)
    warnings += problems
    return list(found)


def read_lists(params: Params, warnings: Warnings) -> list[dict[str, Any]]:
    """Return lists, with their numbers of subscribed contacts if `with_count` names lists."""
    rows = read_titled(List.objects.all(), "lists", warnings)
    if "lists" in params.get("with_count", []):
        counts = count_contacts("lists", [row["id"] for row in rows])
        return [row | {"subscribersCount": counts[row["id"]].subscribed} for row in rows]
    return rows


def read_tags(_: Params, warnings: Warnings) -> list[dict[str, Any]]:
    """Return tags, also as the choices of a select."""
    rows = read_titled(Tag.objects.all(), "tags", warnings)
    return [row | {"value": str(row["id"]), "label": row["title"]} for row in rows]


def read_segments(_: Params, warnings: Warnings) -> list[dict[str, Any]]:
    """Return segments."""
    return read_titled(Segment.objects.all(), "segments", warnings)


def section(name: str, title: str) -> dict[str, str]:
    """Return a tab of FluentCRM's page of a contact."""
    return {"name": name, "title": title, "handler": "route"}


# FluentCRM's fields: the methods of app/Http/Controllers/OptionsController.php.
FIELDS: Mapping[str, Field] = {
    "countries": constant([]),
    "lists": Field(("crm.view_list",), read_lists),
    "tags": Field(("crm.view_tag",), read_tags),
    "campaigns": constant([]),
    "email_sequences": constant([]),
    "automation_funnels": constant([]),
    "companies": constant([]),
    "statuses": model_choices(Status.choices),
    "editable_statuses": model_choices((each, each.label) for each in EDITABLE),
    "contact_types": model_choices(ContactType.choices),
    "sampleCsv": constant(""),
    "segments": Field(("crm.view_segment",), read_segments),
    "roles": Field((VIEW_USERS,), lambda *_: roles()),
    "user_roles_options": Field(
        (VIEW_USERS,), lambda *_: [{"id": name, "title": name, "slug": name} for name in roles()]
    ),
    "profile_sections": constant(
        {
            "subscriber": section("subscriber", "Overview"),
            "subscriber_notes": section("subscriber_notes", "Notes & Activities"),
        }
    ),
    "custom_fields": Field((), lambda *_: [*map(serialize_field, declared_fields().values())]),
}


class ReportViewSet(ApiViewSet):
    """What FluentCRM's programs read first: `/reports`."""

    access: ClassVar[dict[str, Access]] = {
        # Not `options`, which is an HTTP method.
        "choices": READ,
        "ping": READ,
        "dashboard_stats": Access(Scope.READ, "crm.view_subscriber", "crm.view_tag"),
    }

    @schema.REPORT_OPTIONS
    @action(detail=False, url_path="options", pagination_class=None)
    def choices(self, request: Request) -> Response:
        """Return the choices that `fields` names, separated by commas; unknown ones are ignored.

        Raises:
            Forbidden: 403, the user may not see one of them.
        """
        params = validate({"fields": multi_line, "with_count": to_strings}, self.params)
        names = dict.fromkeys(filter(None, params.get("fields", "").split(",")))
        if not names:
            # FluentCRM's documentation tests credentials by this response.
            raise Unprocessable("Missing requested fields field.")
        warnings: Warnings = []
        options: dict[str, Any] = {}
        for name in names:
            if field := FIELDS.get(name):
                if not request.user.has_perms(field.permissions):
                    raise Forbidden(f"You may not see {name}.")
                options[name] = field.read(params, warnings)
        # PHP's empty array.
        return Response(with_warnings({"options": options or []}, warnings))

    @MESSAGE
    @action(detail=False, pagination_class=None)
    def ping(self, request: Request) -> Response:
        """Answer, so that a program knows that its credentials are valid."""
        return Response({"message": "pong"})

    @schema.DASHBOARD_STATS
    @action(detail=False, url_path="dashboard-stats", pagination_class=None)
    def dashboard_stats(self, request: Request) -> Response:
        """Return the figures of FluentCRM's first page; those of e-mails are 0.

        See FluentCRM's app/Services/Stats.php, getCounts, and
        app/Http/Controllers/DashboardController.php.
        """
        subscribed, tags = fetch_one(FIGURES, {})
        figures = (
            ("total_subscribers", "Active Contacts", subscribed, "subscribers"),
            ("total_campaigns", "Campaigns", 0, "campaigns"),
            ("email_sent", "Emails Sent", 0, "all_emails"),
            ("tags", "Tags", tags, "tags"),
            ("total_templates", "Email Templates", 0, "templates"),
            ("total_automations", "Active Automations", 0, "funnels"),
        )
        return Response(
            {
                "stats": {
                    name: {"title": title, "count": count, "route": {"name": route}}
                    for name, title, count, route in figures
                },
                "sales": [],
                "dashboard_notices": [],
                "onboarding": None,
                "quick_links": [],
                "ff_config": {"is_installed": False, "create_form_link": ""},
                "recommendation": False,
                "system_tips": "",
            }
        )
