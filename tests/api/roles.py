"""The roles of the admin, all of its pages, and a store in which each role can open them.

A page that is added to the admin needs a row in PAGES.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client

from automations.models import Run
from automations.starting import start_by_hand
from automations.webhooks.deliveries import create_delivery, hold_deliveries
from crm.contacts import create
from crm.models import CustomField, HistoryEntry, List, Segment, Subscriber, Tag
from crm.notes import add_note
from crm.passwords import create_application_password
from crm.webhooks import WebhookFields, create_webhook
from events.activecampaign.credentials import tracking_key
from events.models import EventName, EventOccurrence, TrackingSwitch
from events.personal_data import erase_contact
from events.tracking import track
from tests.api.automation import published
from tests.api.pages import CONTACTS, browser_of, hidden_fields_of
from transfers.exports import ExportOptions, create_export
from transfers.imports.drafts import create_draft

# Each role may do what those before it may.
ROLES = ("anonymous", "staff", "viewer", "manager", "superuser")
NO_ROLE = "no role"
PASSWORDS = "crm/applicationpassword"
NOTE = {"title": "Call", "description": "Likes tea.", "type": "call"}

# model: the least role that sees it, that opens the page to add one, and that opens the page to
# delete one
MODELS = {
    "crm/subscriber": ("viewer", "manager", "manager"),
    "crm/subscribernote": ("viewer", "manager", "manager"),
    "crm/tag": ("viewer", "manager", "manager"),
    "crm/list": ("viewer", "manager", "manager"),
    "crm/segment": ("viewer", "manager", "manager"),
    "crm/customfield": ("viewer", "manager", "manager"),
    "crm/erasure": ("manager", NO_ROLE, NO_ROLE),
    "crm/historyentry": ("manager", NO_ROLE, NO_ROLE),
    PASSWORDS: ("manager", "manager", "manager"),
    "crm/incomingwebhook": ("manager", "manager", "manager"),
    "crm/job": ("viewer", NO_ROLE, NO_ROLE),
    "transfers/export": ("viewer", "viewer", NO_ROLE),
    "transfers/import": ("manager", "manager", NO_ROLE),
    "automations/automation": ("viewer", "manager", "manager"),
    "automations/run": ("viewer", NO_ROLE, NO_ROLE),
    "automations/endpoint": ("manager", NO_ROLE, NO_ROLE),
    "automations/delivery": ("manager", NO_ROLE, NO_ROLE),
    "events/trackedevent": ("viewer", NO_ROLE, NO_ROLE),
    "events/eventoccurrence": ("viewer", NO_ROLE, NO_ROLE),
    "events/eventname": ("viewer", NO_ROLE, "manager"),
    "events/trackingkey": ("manager", NO_ROLE, NO_ROLE),
    "events/trackingswitch": ("viewer", NO_ROLE, NO_ROLE),
    "auth/user": ("superuser", "superuser", "superuser"),
    "auth/group": ("superuser", "superuser", "superuser"),
}
# Those whose rows have pages besides their forms.
WITH_PAGES = ("crm/subscriber", "automations/automation")
# path, the least role that opens it, and the status
PAGES = [
    ("", "staff", 200),
    ("password_change/", "staff", 200),
    ("password_change/done/", "staff", 200),
    ("jsi18n/", "staff", 200),
    ("autocomplete/?app_label=crm&model_name=subscriber&field_name=tags", "viewer", 200),
    ("r/1/1/", "staff", 404),
    ("nothing/", "staff", 404),
    ("overview/", "staff", 200),
    ("crm/", "viewer", 200),
    ("crm/subscriber/{crm/subscriber}/", "viewer", 200),
    ("crm/subscriber/{crm/subscriber}/?piece=1", "viewer", 200),
    ("crm/subscriber/no-number/", "staff", 302),
    ("crm/subscriber/{crm/subscriber}/export/", "viewer", 200),
    ("crm/subscriber/{crm/subscriber}/erase/", "manager", 200),
    ("crm/subscriber/{crm/subscriber}/merge/", "manager", 200),
    ("crm/subscriber/duplicates/", "viewer", 200),
    # This contact was not erased, which is said on the first page.
    ("crm/subscriber/{crm/subscriber}/erased/", "manager", 302),
    ("crm/subscriber/{crm/subscriber}/erased/receipt.json", "manager", 302),
    ("crm/subscriber/{erased contact}/erased/", "manager", 200),
    ("crm/subscriber/{erased contact}/erased/receipt.json", "manager", 200),
    ("crm/segment/count/", "staff", 405),
    ("crm/job/{crm/job}/progress/", "viewer", 200),
    ("crm/job/{crm/job}/stop/", "staff", 405),
    ("crm/job/{crm/job}/go-on/", "staff", 405),
    ("crm/job/{crm/job}/undo/", "staff", 405),
    ("crm/job/{crm/job}/files/nothing", "viewer", 404),
    ("transfers/", "viewer", 200),
    # The draft is another admin user's.
    ("transfers/import/{transfers/import}/upload/", "staff", 405),
    ("transfers/import/{transfers/import}/columns/", NO_ROLE, 200),
    ("automations/", "viewer", 200),
    ("automations/automation/no-number/", "staff", 302),
    ("automations/automation/check/", "staff", 405),
    ("automations/automation/{automations/automation}/", "viewer", 200),
    ("automations/automation/{automations/automation}/why/?contact=ada@example.com", "viewer", 200),
    ("automations/automation/{automations/automation}/export/", "viewer", 200),
    ("automations/automation/{automations/automation}/state/", "staff", 405),
    ("automations/run/{automations/run}/retry/", "staff", 405),
    ("automations/run/{automations/run}/cancel/", "staff", 405),
    ("events/eventoccurrence/{events/eventoccurrence}/take-back/", "manager", 200),
    ("events/eventoccurrence/take-back/", "manager", 200),
    ("automations/endpoint/{automations/endpoint}/secret/", "staff", 405),
    ("automations/endpoint/{automations/endpoint}/rotate/", "staff", 405),
    ("automations/endpoint/{automations/endpoint}/test/", "staff", 405),
    ("automations/endpoint/{automations/endpoint}/switch/", "staff", 405),
    ("automations/endpoint/{automations/endpoint}/remove/", "manager", 200),
    ("automations/delivery/release/", "staff", 405),
    ("automations/delivery/{automations/delivery}/progress/", "manager", 200),
    ("automations/delivery/{automations/delivery}/send-again/", "staff", 405),
    ("events/", "viewer", 200),
    ("auth/", "superuser", 200),
    ("auth/user/{auth/user}/password/", "superuser", 200),
    *(
        row
        for model, (seen_by, added_by, deleted_by) in MODELS.items()
        for row in (
            # The switch is one row, and has no list.
            (f"{model}/", seen_by, 302 if model == "events/trackingswitch" else 200),
            (f"{model}/add/", added_by, 200),
            *([] if model in WITH_PAGES else [(f"{model}/{{{model}}}/", "staff", 302)]),
            (f"{model}/{{{model}}}/change/", seen_by, 200),
            (f"{model}/{{{model}}}/history/", seen_by, 200),
            (f"{model}/{{{model}}}/delete/", deleted_by, 200),
        )
    ),
]

# The least role that may run each action on selected rows.
ACTIONS = {
    "auth/group delete_selected": "superuser",
    "automations/automation resume_selected": "manager",
    "automations/delivery cancel_selected": "manager",
    "automations/delivery send_again_selected": "manager",
    "auth/user delete_selected": "superuser",
    "crm/applicationpassword delete_selected": "manager",
    "crm/applicationpassword revoke_selected": "manager",
    "crm/customfield delete_selected": "manager",
    "crm/incomingwebhook delete_selected": "manager",
    "crm/list delete_selected": "manager",
    "crm/segment delete_selected": "manager",
    "crm/subscriber add_lists": "manager",
    "crm/subscriber add_tags": "manager",
    "crm/subscriber delete_selected": "manager",
    "crm/subscriber export_csv": "viewer",
    "crm/subscriber export_ndjson": "viewer",
    "crm/subscriber remove_lists": "manager",
    "crm/subscriber remove_tags": "manager",
    "crm/subscriber start_automation": "manager",
    "crm/tag delete_selected": "manager",
    "events/eventname delete_selected": "manager",
    "events/trackingkey rotate_key": "manager",
}
# The least role that may change rows.
CHANGED = {
    "auth/group": "superuser",
    "auth/user": "superuser",
    "automations/automation": "manager",
    "crm/customfield": "manager",
    "crm/incomingwebhook": "manager",
    "crm/list": "manager",
    "crm/segment": "manager",
    "crm/subscriber": "manager",
    "crm/subscribernote": "manager",
    "crm/tag": "manager",
    "events/trackingswitch": "manager",
}


def may(role: str, least: str) -> bool:
    """Return whether a role may do what this role may at the least."""
    return least != NO_ROLE and ROLES.index(role) >= ROLES.index(least)


@dataclass(frozen=True)
class RoleStore:
    """One row of each model, and a user of each role, whose name is the role's."""

    # What stands in braces in a path or a form, and what a browser sends in its place.
    values: dict[str, str]
    # The key of each role's session.
    sessions: dict[str, str]

    def fill(self, text: str) -> str:
        """Replace what stands in braces."""
        for name, value in self.values.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def url(self, path: str) -> str:
        """Return the URL of a page of the admin."""
        return f"/admin/{self.fill(path)}"

    def browser(self, role: str) -> Client:
        """Return a new browser in which the role's user is logged in."""
        browser = Client()
        if role in self.sessions:
            browser.cookies[settings.SESSION_COOKIE_NAME] = self.sessions[role]
        return browser


@contextmanager
def role_store() -> Iterator[RoleStore]:
    """Create the rows in a transaction around several tests, because it takes longer than one."""
    with transaction.atomic():
        browsers = {role: browser_of(_create_user(role)) for role in ROLES if role != "anonymous"}
        keys = {
            role: browser.cookies[settings.SESSION_COOKIE_NAME].value
            for role, browser in browsers.items()
        }
        yield RoleStore(_create_rows(browsers["superuser"]), keys)
        transaction.set_rollback(True)


def _create_user(role: str) -> User:
    user = User.objects.create_user(role, is_staff=True, is_superuser=role == "superuser")
    if role in ("viewer", "manager"):
        user.groups.add(Group.objects.get(name=role))
    return user


def _create_rows(superuser: Client) -> dict[str, str]:
    key = tracking_key()
    erased = create({"email": "erased@example.com"}).pk
    erasure = erase_contact(erased, by="admin")
    contact = create({"email": "ada@example.com"}).pk
    event = track({"event_key": "k", "title": "t", "subscriber_id": contact})
    TrackingSwitch.set_enabled(True)
    users = {user.username: user for user in User.objects.all()}
    own, _ = create_application_password(users["manager"], "own", "manage")
    others, _ = create_application_password(users["superuser"], "other's", "manage")
    tag = Tag.objects.create(title="tag", slug="tag").pk
    tagged = {"action": "add_tags", "_selected_action": contact, "chosen": "yes", "labels": tag}
    superuser.post(CONTACTS, tagged)
    entry = HistoryEntry.objects.get()
    Subscriber.tags.through.objects.all().delete()
    selected = {"action": "delete_selected", "_selected_action": contact}
    page = superuser.post(CONTACTS, selected).content.decode()
    automation = published({"type": "wait", "wait": {"days": 1}})
    start_by_hand([contact], automation.pk)
    job = create_export(ExportOptions("contacts", "csv"), users["manager"]).pk
    webhook = create_delivery(
        "https://hook.example/", "a.b", {}, run_id=1, step_id=1, contact_id=contact
    )
    hold_deliveries()
    values = {
        "crm/subscriber": contact,
        "crm/job": job,
        "transfers/export": job,
        "transfers/import": create_draft("contacts", "contacts.csv", 1, None).pk,
        "crm/subscribernote": add_note(contact, NOTE, users["manager"].pk).pk,
        "crm/tag": tag,
        "crm/list": List.objects.create(title="list", slug="list").pk,
        "crm/segment": Segment.objects.create(title="all", slug="all").pk,
        "crm/customfield": CustomField.objects.create(label="field", slug="field").pk,
        "crm/erasure": erasure.pk,
        "crm/historyentry": entry.pk,
        "erased contact": erased,
        PASSWORDS: own.pk,
        "crm/incomingwebhook": create_webhook(
            users["manager"], WebhookFields("form", "subscribed", {"tags": [], "lists": []})
        ).pk,
        "own": own.pk,
        "other's": others.pk,
        "automations/automation": automation.pk,
        "automations/run": Run.objects.get().pk,
        # The contact is not inside.
        "open automation": published(title="Open").pk,
        "automations/endpoint": webhook.endpoint_id,
        "automations/delivery": webhook.pk,
        "events/trackedevent": event.pk,
        "events/eventoccurrence": EventOccurrence.objects.get().pk,
        "events/eventname": EventName.objects.get().pk,
        "events/trackingkey": key.pk,
        "events/trackingswitch": 1,
        "auth/user": users["manager"].pk,
        "auth/group": Group.objects.get(name="viewer").pk,
        "manager": users["manager"].pk,
        "superuser": users["superuser"].pk,
        # By which the page that asks recognizes the selection.
        "digest": hidden_fields_of(page)["digest"][0],
    }
    return {name: str(value) for name, value in values.items()}
