"""FluentCRM's routes that Tallybook has no part in, and what answers them.

Reading answers in FluentCRM's own shape that there is nothing, or 404 where FluentCRM looks for one
object first. Writing is 422 and says why. So a program's first page works, and a program that needs
e-mail hears that there is none.

See FluentCRM's app/Http/Routes/api.php, and its controllers in app/Http/Controllers for the shapes.
The routes of sequences and recurring campaigns are FluentCampaign Pro's, as
developers.fluentcrm.com describes them. docs/reference/fluentcrm-routes.md lists all routes.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

NO_MAIL = "Tallybook sends no e-mail"
NO_TEMPLATES = "Tallybook has no templates of automations"
NO_FUNNEL_IMPORT = "Tallybook imports automations by POST /automations/import"
NO_TEST_WEBHOOK = "Tallybook sends test webhooks in the admin"
NO_SYNC = "Contacts inside of an automation go on in its new version by themselves"
NO_COMPANIES = "Tallybook has no companies"
NO_LABELS = "Tallybook has no labels of campaigns and automations"
NO_FORMS = "Tallybook has no forms"
NO_IMPORT = "Tallybook imports contacts by POST /subscribers/bulk-add-update"
# What FluentCRM answers without the extension that shows a section of a contact's page.
NO_SECTION = "Handled could not be found."

# Stands in a body for an empty page.
PAGE = object()
# Of another path: digits, as Django's resolver matches them.
ID = re.compile("(?<=/)[0-9]{1,20}(?=/|$)")


class Absent(NamedTuple):
    """A route: its methods, and what answers them."""

    # HTTP's, in lower case.
    methods: tuple[str, ...]
    # Of GET: the body, or the noun of the object that there is not.
    nothing: Mapping[str, Any] | str
    # Of the other methods.
    refusal: str


def read(nothing: Mapping[str, Any] | str, writes: str = "", refusal: str = NO_MAIL) -> Absent:
    """Return a route that can be read, and written with these methods."""
    return Absent(("get", *writes.split()), nothing, refusal)


def write(methods: str, refusal: str = NO_MAIL) -> Absent:
    """Return a route that can be written only."""
    return Absent(tuple(methods.split()), "", refusal)


def column(label: str, width: int) -> dict[str, str]:
    """Return a column of FluentCRM's table of tickets."""
    return {"label": label, "width": f"{width}px"}


CONTACT = "subscribers/{id}"
CAMPAIGN, FUNNEL, COMPANY = "Campaign", "Funnel", "Company"
CONTACTS: dict[str, Absent] = {
    f"{CONTACT}/emails": read({"emails": PAGE}, "delete"),
    f"{CONTACT}/emails/template-mock": read("Template"),
    f"{CONTACT}/emails/send": write("post"),
    f"{CONTACT}/send-double-optin": write("post"),
    f"{CONTACT}/url-metrics": read({"urlMetrics": PAGE}),
    f"{CONTACT}/purchase-history": read({"orders": {"orders": [], "total": 0}}),
    f"{CONTACT}/form-submissions": read({"submissions": {"data": [], "total": 0}}),
    f"{CONTACT}/support-tickets": read(
        {
            "tickets": {
                "data": [],
                "total": 0,
                "columns_config": {
                    "id": column("ID", 100),
                    "status": column("Status", 120),
                    "Submitted at": column("Submitted at", 150),
                    "action": column("Action", 150),
                },
            }
        }
    ),
    f"{CONTACT}/external_view": read({"heading": "", "content_html": ""}, "post", NO_SECTION),
    f"{CONTACT}/info-widgets": read(
        {"widgets": {"top_widgets": [], "other_widgets": [], "widgets_count": 0}}
    ),
}
CAMPAIGNS: dict[str, Absent] = {
    "campaigns": read({"campaigns": PAGE}, "post"),
    **{
        f"campaigns/{name}": write("post")
        for name in (
            *("send-test-email", "email-preview-html", "estimated-contacts"),
            *("update-single-campaign", "do-bulk-action"),
        )
    },
    "campaigns/emails/{id}/preview": read("Email"),
    "campaigns/{id}": read(CAMPAIGN, "put delete"),
    **{
        f"campaigns/{{id}}/{name}": write("post")
        for name in (
            *("step", "pause", "duplicate", "resume", "subscribe", "draft-recipients"),
            *("schedule", "un-schedule", "revenues/resync"),
        )
    },
    "campaigns/{id}/title": write("put"),
    "campaigns/{id}/update-labels": write("put"),
    "campaigns/{id}/emails": read({"emails": PAGE, "failed_counts": 0}, "delete"),
    "campaigns/{id}/link-report": read({"links": []}),
    "campaigns/{id}/unsubscribers": read({"unsubscribes": PAGE}),
    "campaigns/{id}/revenues": read(
        {
            "orders": [],
            "labels": {
                name: "ID" if name == "id" else name.capitalize()
                for name in ("id", "title", "status", "date", "total")
            },
            "total": 0,
        }
    ),
    **{
        f"campaigns/{{id}}/{name}": read(CAMPAIGN)
        for name in (
            *("estimated-recipients-count", "processing-stat", "share-url", "status"),
            *("overview_stats", "contacts-by-segment"),
        )
    },
    "templates": read({"templates": PAGE}, "post"),
    "templates/all": read({"templates": [], "smartcodes": []}),
    "templates/smartcodes": read({"smartcodes": []}),
    "templates/built-in-templates": read({"templates": []}),
    "templates/{id}": read("Template", "put delete"),
    "templates/duplicate/{id}": write("post"),
    "templates/do-bulk-action": write("post"),
    "templates/set-global-style": write("post"),
    "sequences": read({"sequences": PAGE}, "post"),
    "sequences/{id}": read("Sequence", "put delete"),
    "recurring-campaigns": read({"campaigns": PAGE}, "post"),
    "recurring-campaigns/{id}": read(CAMPAIGN),
    "recurring-campaigns/{id}/emails": read({"emails": PAGE}),
    "setting/double-optin": read({"settings": []}, "put"),
    "labels": read({"labels": []}, "post", NO_LABELS),
    "labels/{id}": write("put delete", NO_LABELS),
}
# automations/funnels has the others.
FUNNELS: dict[str, Absent] = {
    "funnels/templates": read({"templates": [], "all": [], "cats": []}),
    "funnels/create-from-template": write("post", NO_TEMPLATES),
    "funnels/import": write("post", NO_FUNNEL_IMPORT),
    "funnels/send-test-webhook": write("post", NO_TEST_WEBHOOK),
    "funnels/funnel/save-email-action-fallback": write("post"),
    "funnels/{id}/sequences/save-email-action": write("post"),
    "funnels/{id}/sync-new-steps": write("post", NO_SYNC),
    "funnels/{id}/update-labels": write("put", NO_LABELS),
    "funnels/{id}/email_reports": read(FUNNEL),
    "funnels/{id}/syncable-counts": read(FUNNEL),
}
COMPANIES: dict[str, Absent] = {
    "companies": read({"companies": PAGE}, "post", NO_COMPANIES),
    "companies/search": read({"results": [], "has_more": False}),
    "companies/search-unattached-contacts": read(COMPANY),
    "companies/companies-property": write("put", NO_COMPANIES),
    **{
        f"companies/{name}": write("post", NO_COMPANIES)
        for name in ("attach-subscribers", "detach-subscribers", "do-bulk-action", "csv-import")
    },
    "companies/custom-fields": read({"fields": []}, "put", NO_COMPANIES),
    "companies/{id}": read(COMPANY, "put delete", NO_COMPANIES),
    "companies/{id}/notes": read(COMPANY, "post", NO_COMPANIES),
    "companies/{id}/notes/{id}": write("put delete", NO_COMPANIES),
    "companies/{id}/custom_tab_view": read(COMPANY),
}
OTHERS: dict[str, Absent] = {
    "reports/emails": read({"emails": PAGE, "statuses": None}, "delete"),
    "reports/email-sents": read({"stats": {}}),
    "reports/email-opens": read({"stats": {}}),
    "reports/email-clicks": read({"stats": {}}),
    "reports/advanced-providers": read({"providers": []}),
    "reports/taxonomy-terms": read({"options": []}),
    "reports/cascade_selections": read({"options": [], "has_more": False}),
    "forms": read({"installed": False, "forms": {"data": [], "total": 0}}, "post", NO_FORMS),
    "forms/templates": read({"templates": []}),
    "import/csv-upload": write("post", NO_IMPORT),
    "import/csv-import": write("post", NO_IMPORT),
    "import/users": write("post", NO_IMPORT),
    "import/drivers": read({"drivers": []}),
}
ROUTES: dict[str, Absent] = CONTACTS | CAMPAIGNS | FUNNELS | COMPANIES | OTHERS


def find_route(path: str) -> Absent:
    """Return the route of a path that one of them matches."""
    return ROUTES[ID.sub("{id}", path)]
