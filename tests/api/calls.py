"""Every call of the API, with the scope it needs besides manage, and how to send one."""

from typing import Any

from rest_framework.test import APIClient

from crm.api.absent import ROUTES

# Of FluentCRM's routes that Tallybook has no part in, one for each URL pattern: the first with the
# same methods. tests/api/test_absent.py has all.
ABSENT = list(
    {
        route.methods: (path.replace("{id}", "1"), route.methods)
        for path, route in reversed(ROUTES.items())
    }.values()
)
ABSENT_CALLS = [
    (method.upper(), f"/{path}", "read" if method == "get" else None)
    for path, methods in ABSENT
    for method in methods
]
# ActiveCampaign's that are always refused.
SITE_TRACKING_CALLS: list[tuple[str, str, str | None]] = [
    ("PUT", "/api/3/siteTracking", None),
    ("POST", "/api/3/siteTrackingDomains", None),
]
# Method, path below the root mount, and scope; None: manage alone; ANY: each of them.
ANY = "any"
CALLS: list[tuple[str, str, str | None]] = [
    ("POST", "/subscribers/track-event", "track"),
    ("POST", "/subscribers/track-events", "track"),
    ("GET", "/subscribers/1/tracking-events", "read"),
    ("GET", "/subscribers/1/tracking-events/1/occurrences", "read"),
    ("DELETE", "/subscribers/1/tracking-events/1/occurrences/1", None),
    ("POST", "/subscribers/take-back-event", None),
    ("GET", "/subscribers/1/timeline", "read"),
    ("POST", "/subscribers/1/merge", None),
    ("GET", "/subscribers", "read"),
    ("POST", "/subscribers", None),
    ("DELETE", "/subscribers", None),
    ("GET", "/subscribers/1", "read"),
    ("PUT", "/subscribers/1", None),
    ("DELETE", "/subscribers/1", None),
    ("GET", "/subscribers/1/segments", "read"),
    ("GET", "/subscribers/1/notes", "read"),
    ("POST", "/subscribers/1/notes", None),
    ("PUT", "/subscribers/1/notes/1", None),
    ("DELETE", "/subscribers/1/notes/1", None),
    ("GET", "/subscribers/filter-options", "read"),
    ("GET", "/subscribers/prev-next-ids", "read"),
    ("GET", "/subscribers/search-contacts", "read"),
    ("PUT", "/subscribers/subscribers-property", None),
    ("POST", "/subscribers/sync-segments", None),
    ("POST", "/subscribers/bulk-add-update", None),
    ("POST", "/subscribers/do-bulk-action", None),
    *(
        call
        for kind in ("tags", "lists")
        for call in (
            ("GET", f"/{kind}", "read"),
            ("POST", f"/{kind}", None),
            ("GET", f"/{kind}/1", "read"),
            ("PUT", f"/{kind}/1", None),
            ("DELETE", f"/{kind}/1", None),
            ("POST", f"/{kind}/bulk", None),
            ("POST", f"/{kind}/do-bulk-action", None),
        )
    ),
    ("GET", "/segments", "read"),
    ("POST", "/segments", None),
    ("GET", "/segments/1", "read"),
    ("PUT", "/segments/1", None),
    ("DELETE", "/segments/1", None),
    ("GET", "/segments/1/subscribers", "read"),
    ("GET", "/automations", "read"),
    ("POST", "/automations", None),
    ("GET", "/automations/1", "read"),
    ("PUT", "/automations/1", None),
    ("DELETE", "/automations/1", None),
    ("POST", "/automations/1/publish", None),
    ("POST", "/automations/1/pause", None),
    ("POST", "/automations/1/resume", None),
    ("POST", "/automations/1/copy", None),
    ("GET", "/automations/1/export", "read"),
    ("POST", "/automations/import", None),
    ("POST", "/automations/1/start", None),
    ("GET", "/automations/1/report", "read"),
    ("GET", "/automations/1/runs", "read"),
    ("GET", "/automations/1/refusals", "read"),
    ("GET", "/automations/1/explain", "read"),
    ("POST", "/automations/1/dry-run", None),
    ("GET", "/automations/runs/1", "read"),
    ("POST", "/automations/runs/1/cancel", None),
    ("GET", "/subscribers/1/automations", "read"),
    ("GET", "/funnels", "read"),
    ("POST", "/funnels", None),
    ("GET", "/funnels/triggers", "read"),
    ("GET", "/funnels/all-activities", "read"),
    ("GET", "/funnels/subscriber/1/automations", "read"),
    ("POST", "/funnels/do-bulk-action", None),
    ("POST", "/funnels/remove-bulk-subscribers", None),
    ("POST", "/funnels/funnel/save-funnel-sequences", None),
    ("PUT", "/funnels/funnel/1/title", None),
    ("GET", "/funnels/1", "read"),
    ("PUT", "/funnels/1", None),
    ("DELETE", "/funnels/1", None),
    ("POST", "/funnels/1/clone", None),
    ("PUT", "/funnels/1/change-trigger", None),
    ("POST", "/funnels/1/sequences", None),
    ("GET", "/funnels/1/report", "read"),
    ("GET", "/funnels/1/subscribers", "read"),
    ("DELETE", "/funnels/1/subscribers", None),
    ("GET", "/funnels/1/subscribers/1", "read"),
    ("PUT", "/funnels/1/subscribers/1/status", None),
    ("GET", "/webhooks", None),
    ("POST", "/webhooks", None),
    ("PUT", "/webhooks/1", None),
    ("DELETE", "/webhooks/1", None),
    ("GET", "/custom-fields/contacts", "read"),
    ("PUT", "/custom-fields/contacts", None),
    ("PUT", "/custom-fields/contacts/update_group_name", None),
    ("GET", "/reports/ajax-options", "read"),
    ("GET", "/reports/options", "read"),
    ("GET", "/reports/ping", "read"),
    ("GET", "/reports/dashboard-stats", "read"),
    ("GET", "/users", "read"),
    ("GET", "/users/roles", "read"),
    ("GET", "/setting/experiments", "read"),
    ("POST", "/setting/experiments", None),
    ("POST", "/api/3/contact/sync", None),
    *(
        call
        for kind in ("contacts", "tags", "lists", "fields")
        for call in (
            ("GET", f"/api/3/{kind}", "read"),
            ("POST", f"/api/3/{kind}", None),
            ("GET", f"/api/3/{kind}/1", "read"),
            ("PUT", f"/api/3/{kind}/1", None),
            ("DELETE", f"/api/3/{kind}/1", None),
        )
    ),
    ("GET", "/api/3/contacts/1/contactTags", "read"),
    ("GET", "/api/3/contacts/1/contactLists", "read"),
    ("GET", "/api/3/contacts/1/fieldValues", "read"),
    ("GET", "/api/3/contacts/1/contactAutomations", "read"),
    ("GET", "/api/3/contacts/1/trackingLogs", "read"),
    ("GET", "/api/3/activities", "read"),
    ("POST", "/api/3/contactTags", None),
    ("DELETE", "/api/3/contactTags/1", None),
    ("POST", "/api/3/contactLists", None),
    ("POST", "/api/3/fieldValues", None),
    ("GET", "/api/3/fieldValues/1", "read"),
    ("PUT", "/api/3/fieldValues/1", None),
    ("DELETE", "/api/3/fieldValues/1", None),
    ("GET", "/api/3/accountCustomFieldMeta", "read"),
    ("GET", "/api/3/users/me", ANY),
    ("GET", "/api/3/siteTracking", "read"),
    ("GET", "/api/3/siteTrackingDomains", "read"),
    *SITE_TRACKING_CALLS,
    ("GET", "/api/3/eventTracking", "read"),
    ("PUT", "/api/3/eventTracking", None),
    ("GET", "/api/3/eventTrackingEvents", "read"),
    ("POST", "/api/3/eventTrackingEvents", None),
    ("DELETE", "/api/3/eventTrackingEvents/1", None),
    *ABSENT_CALLS,
    ("GET", "/wp-json/wp/v2/users", ANY),
    ("GET", "/wp-json/wp/v2/users/me", ANY),
]
# What the user of the application password needs for a call, besides the scope.
CONTACT, SEGMENT, FIELD = "crm.{}_subscriber", "crm.{}_segment", "crm.{}_customfield"
WEBHOOK = "crm.{}_incomingwebhook"
AUTOMATION, RUN = "automations.{}_automation", "automations.{}_run"
SEE_RUNS = (RUN.format("view"), CONTACT.format("view"), "events.view_trackedevent")
SEE_FUNNELS = (AUTOMATION.format("view"), SEGMENT.format("view"), "events.view_trackedevent")
START_RUNS = (RUN.format("change"), CONTACT.format("change"))
SWITCH, NAME = "events.{}_trackingswitch", "events.{}_eventname"
PERMISSIONS: dict[tuple[str, str], tuple[str, ...]] = {
    ("POST", "/subscribers/track-event"): ("events.add_trackedevent",),
    ("POST", "/subscribers/track-events"): ("events.add_trackedevent",),
    ("GET", "/subscribers/1/tracking-events"): ("events.view_trackedevent",),
    ("GET", "/subscribers/1/tracking-events/1/occurrences"): ("events.view_eventoccurrence",),
    **dict.fromkeys(
        (
            ("DELETE", "/subscribers/1/tracking-events/1/occurrences/1"),
            ("POST", "/subscribers/take-back-event"),
        ),
        ("events.delete_eventoccurrence",),
    ),
    ("GET", "/subscribers/1/timeline"): ("events.view_eventoccurrence",),
    ("POST", "/subscribers/1/merge"): (
        *(CONTACT.format("change"), CONTACT.format("delete")),
        "events.delete_eventoccurrence",
    ),
    ("GET", "/subscribers"): (CONTACT.format("view"),),
    ("POST", "/subscribers"): (CONTACT.format("add"),),
    ("DELETE", "/subscribers"): (CONTACT.format("delete"),),
    ("GET", "/subscribers/1"): (CONTACT.format("view"),),
    ("PUT", "/subscribers/1"): (CONTACT.format("change"),),
    ("DELETE", "/subscribers/1"): (CONTACT.format("delete"),),
    ("GET", "/subscribers/1/segments"): (CONTACT.format("view"), SEGMENT.format("view")),
    ("GET", "/subscribers/1/notes"): (CONTACT.format("view"),),
    ("POST", "/subscribers/1/notes"): (CONTACT.format("change"),),
    ("PUT", "/subscribers/1/notes/1"): (CONTACT.format("change"),),
    ("DELETE", "/subscribers/1/notes/1"): (CONTACT.format("delete"),),
    ("GET", "/subscribers/filter-options"): (CONTACT.format("view"),),
    ("GET", "/subscribers/prev-next-ids"): (CONTACT.format("view"),),
    ("GET", "/subscribers/search-contacts"): (CONTACT.format("view"),),
    ("PUT", "/subscribers/subscribers-property"): (CONTACT.format("change"),),
    ("POST", "/subscribers/sync-segments"): (CONTACT.format("change"),),
    ("POST", "/subscribers/bulk-add-update"): (CONTACT.format("add"),),
    ("POST", "/subscribers/do-bulk-action"): (CONTACT.format("change"),),
    **{
        (method, f"/{kind}s{path}"): (f"crm.{verb}_{kind}",)
        for kind in ("tag", "list")
        for method, path, verb in (
            ("GET", "", "view"),
            ("POST", "", "add"),
            ("GET", "/1", "view"),
            ("PUT", "/1", "change"),
            ("DELETE", "/1", "delete"),
            ("POST", "/bulk", "add"),
            ("POST", "/do-bulk-action", "delete"),
        )
    },
    **{
        ("GET", f"/automations{path}"): (AUTOMATION.format("view"),)
        for path in ("", "/1", "/1/export", "/1/report")
    },
    **{
        (method, f"/automations{path}"): (AUTOMATION.format(verb), CONTACT.format("change"))
        for method, path, verb in (
            ("POST", "", "add"),
            ("POST", "/import", "add"),
            ("POST", "/1/copy", "add"),
            ("PUT", "/1", "change"),
            ("POST", "/1/publish", "change"),
            ("POST", "/1/resume", "change"),
        )
    },
    ("POST", "/automations/1/pause"): (AUTOMATION.format("change"),),
    ("DELETE", "/automations/1"): (AUTOMATION.format("delete"),),
    ("POST", "/automations/1/start"): START_RUNS,
    ("POST", "/automations/1/dry-run"): (*START_RUNS, *SEE_RUNS),
    ("POST", "/automations/runs/1/cancel"): (RUN.format("change"),),
    **{
        ("GET", path): SEE_RUNS
        for path in (
            *("/automations/1/runs", "/automations/1/refusals", "/automations/runs/1"),
            *("/automations/1/explain", "/subscribers/1/automations"),
        )
    },
    **{("GET", f"/funnels{path}"): SEE_FUNNELS for path in ("", "/triggers", "/1", "/1/report")},
    **{
        ("GET", f"/funnels{path}"): (*SEE_FUNNELS, *SEE_RUNS)
        for path in (
            *("/all-activities", "/subscriber/1/automations"),
            *("/1/subscribers", "/1/subscribers/1"),
        )
    },
    **{
        call: (RUN.format("change"),)
        for call in (
            ("POST", "/funnels/remove-bulk-subscribers"),
            ("DELETE", "/funnels/1/subscribers"),
            ("PUT", "/funnels/1/subscribers/1/status"),
        )
    },
    **{
        (method, f"/funnels{path}"): (AUTOMATION.format(verb), CONTACT.format("change"))
        for method, path, verb in (
            ("POST", "", "add"),
            ("POST", "/1/clone", "add"),
            ("PUT", "/1", "change"),
            ("PUT", "/1/change-trigger", "change"),
            ("POST", "/1/sequences", "change"),
            ("POST", "/funnel/save-funnel-sequences", "change"),
            ("PUT", "/funnel/1/title", "change"),
            ("POST", "/do-bulk-action", "change"),
        )
    },
    ("DELETE", "/funnels/1"): (AUTOMATION.format("delete"),),
    ("GET", "/webhooks"): (WEBHOOK.format("view"),),
    ("POST", "/webhooks"): (
        *(WEBHOOK.format("view"), WEBHOOK.format("add")),
        *(CONTACT.format("add"), CONTACT.format("change")),
    ),
    ("PUT", "/webhooks/1"): (WEBHOOK.format("view"), WEBHOOK.format("change")),
    ("DELETE", "/webhooks/1"): (WEBHOOK.format("view"), WEBHOOK.format("delete")),
    ("GET", "/segments"): (SEGMENT.format("view"),),
    ("POST", "/segments"): (SEGMENT.format("add"),),
    ("GET", "/segments/1"): (SEGMENT.format("view"),),
    ("PUT", "/segments/1"): (SEGMENT.format("change"),),
    ("DELETE", "/segments/1"): (SEGMENT.format("delete"),),
    ("GET", "/segments/1/subscribers"): (CONTACT.format("view"), SEGMENT.format("view")),
    ("GET", "/custom-fields/contacts"): (CONTACT.format("view"),),
    ("PUT", "/custom-fields/contacts"): tuple(map(FIELD.format, ("add", "change", "delete"))),
    ("PUT", "/custom-fields/contacts/update_group_name"): (FIELD.format("change"),),
    ("GET", "/reports/ajax-options"): ("events.view_trackedevent",),
    ("GET", "/reports/options"): (CONTACT.format("view"),),
    ("GET", "/reports/ping"): (CONTACT.format("view"),),
    ("GET", "/reports/dashboard-stats"): (CONTACT.format("view"), "crm.view_tag"),
    ("GET", "/users"): ("auth.view_user",),
    ("GET", "/users/roles"): ("auth.view_user",),
    ("GET", "/setting/experiments"): (SWITCH.format("view"),),
    ("POST", "/setting/experiments"): (SWITCH.format("change"),),
    ("POST", "/api/3/contact/sync"): (CONTACT.format("add"),),
    **{
        (method, f"/api/3/{kind}s{path}"): (f"crm.{verb}_{name}",)
        for kind, name, viewed in (
            ("contact", "subscriber", "subscriber"),
            ("tag", "tag", "tag"),
            ("list", "list", "list"),
            ("field", "customfield", "subscriber"),
        )
        for method, path, verb, name in (
            ("GET", "", "view", viewed),
            ("POST", "", "add", name),
            ("GET", "/1", "view", viewed),
            ("PUT", "/1", "change", name),
            ("DELETE", "/1", "delete", name),
        )
    },
    **{
        ("GET", f"/api/3/contacts/1/{what}"): (CONTACT.format("view"),)
        for what in ("contactTags", "contactLists", "fieldValues", "contactAutomations")
    },
    ("GET", "/api/3/contacts/1/trackingLogs"): ("events.view_eventoccurrence",),
    ("GET", "/api/3/activities"): ("events.view_eventoccurrence",),
    **{
        call: (CONTACT.format("change"),)
        for call in (
            ("POST", "/api/3/contactTags"),
            ("DELETE", "/api/3/contactTags/1"),
            ("POST", "/api/3/contactLists"),
            ("POST", "/api/3/fieldValues"),
            ("PUT", "/api/3/fieldValues/1"),
            ("DELETE", "/api/3/fieldValues/1"),
        )
    },
    ("GET", "/api/3/fieldValues/1"): (CONTACT.format("view"),),
    ("GET", "/api/3/accountCustomFieldMeta"): (CONTACT.format("view"),),
    ("GET", "/api/3/users/me"): (),
    ("GET", "/api/3/siteTracking"): (CONTACT.format("view"),),
    ("PUT", "/api/3/siteTracking"): (CONTACT.format("change"),),
    ("GET", "/api/3/siteTrackingDomains"): (CONTACT.format("view"),),
    ("POST", "/api/3/siteTrackingDomains"): (CONTACT.format("change"),),
    ("GET", "/api/3/eventTracking"): (SWITCH.format("view"),),
    ("PUT", "/api/3/eventTracking"): (SWITCH.format("change"),),
    ("GET", "/api/3/eventTrackingEvents"): (NAME.format("view"),),
    ("POST", "/api/3/eventTrackingEvents"): (NAME.format("add"),),
    ("DELETE", "/api/3/eventTrackingEvents/1"): (NAME.format("delete"),),
    **{
        (method, path): (CONTACT.format("view" if method == "GET" else "change"),)
        for method, path, _ in ABSENT_CALLS
    },
    # The user of the password sees itself.
    ("GET", "/wp-json/wp/v2/users"): (),
    ("GET", "/wp-json/wp/v2/users/me"): (),
}
# Calls of others than FluentCRM, which are not at WordPress's prefix of FluentCRM.
OTHERS = ("/api/3/", "/event", "/wp-json/wp/", "/activecampaign", "/2/")
# Its credential, actid and key, is among its fields.
OPEN_CALL = ("POST", "/event")
# ActiveCampaign's old door, whose credential may be among its fields. Its actions have a test of
# their own: tests/api/test_activecampaign_old_door.py.
OLD_DOOR = {
    (method, path)
    for method in ("GET", "POST", "PUT", "DELETE")
    for path in ("/activecampaign", "/2/1")
}


def send(client: APIClient, method: str, path: str, data: Any = None) -> Any:
    """Send a request by the name of its method, and return the response."""
    return getattr(client, method.lower())(path, data)
