"""Every door of automations asks for what it shows and does, in the admin as in the API."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from automations.models import Automation, Delivery, Run, RunStatus
from automations.starting import start_by_hand
from automations.webhooks.deliveries import create_delivery
from crm.models import Subscriber
from tests.api.automation import CHECKOUT, HOUR, happens, published, work
from tests.api.conftest import MakePassword, basic
from tests.api.pages import CONTACTS, browser_of, text_of, user_without
from tests.api.snapshots import without_snapshots

pytestmark = pytest.mark.django_db
HOOK: dict[str, Any] = {"type": "webhook", "url": "https://example.com/secret"}
AUTOMATION = "/admin/automations/automation/{automation}/"
DELIVERY = "/admin/automations/delivery/"
BOUGHT = {
    "source": ["event_tracking", "event_tracking_total"],
    "operator": ">=",
    "value": 1,
    "extra_value": "checkout",
}
SEE_RUNS = ["view_run", "view_subscriber", "view_trackedevent"]
RUN_PAGES = [
    "/admin/automations/run/",
    "/admin/automations/run/{run}/change/",
    f"{AUTOMATION}why/?contact={{contact}}",
]
SEE_DELIVERIES = ["view_delivery", "view_endpoint", "view_subscriber", "view_trackedevent"]
DELIVERY_PAGES = [
    DELIVERY,
    f"{DELIVERY}{{delivery}}/change/",
    f"{DELIVERY}{{delivery}}/progress/",
]
# Where a contact is started by hand.
START_DOORS = ["call", "bulk action", "admin action"]


class Clerk:
    """A user with all permissions but some, with a browser and a program."""

    def __init__(self, user: User, secret: str) -> None:
        self.browser: Client = browser_of(user)
        self.program = APIClient()
        self.program.credentials(HTTP_AUTHORIZATION=basic(user.username, secret))

    def get(self, path: str) -> Any:
        return (self.browser if path.startswith("/admin/") else self.program).get(path)

    def start(self, door: str, automation: Automation, contact: Subscriber) -> Any:
        """Start a contact by hand through one of the doors."""
        match door:
            case "call":
                body = {"subscriber_ids": [contact.pk]}
                return self.program.post(f"/automations/{automation.pk}/start", body)
            case "bulk action":
                chosen = {"action_name": "add_to_automation", "new_status": automation.pk}
                return self.program.post(
                    "/subscribers/do-bulk-action", {**chosen, "subscriber_ids": [contact.pk]}
                )
        action = {"action": "start_automation", "_selected_action": contact.pk}
        return self.browser.post(CONTACTS, {**action, "chosen": "yes", "automation": automation.pk})


@pytest.fixture
def clerk(make_password: MakePassword) -> Callable[..., Clerk]:
    """Return a user with all permissions but some."""

    def make(*without: str) -> Clerk:
        user = user_without(*without)
        return Clerk(user, make_password(user))

    return make


@pytest.fixture
def ids(ada: Subscriber) -> dict[str, int]:
    """The ids of an automation, of ada and of her run, which is at a webhook behind another one."""
    automation = published(HOOK, HOUR, {**HOOK, "data": {"token": "secret"}})
    happens(ada)
    work()
    assert automation.version
    run = Run.objects.get()
    Run.objects.update(step_id=automation.version.document["steps"][2]["id"])
    delivery = Delivery.objects.get()
    return {
        "automation": automation.pk,
        "contact": ada.pk,
        "run": run.pk,
        "delivery": delivery.pk,
    }


@pytest.mark.parametrize("path", [*RUN_PAGES, *DELIVERY_PAGES])
def test_who_has_all_permissions_sees_runs_and_deliveries(
    clerk: Callable[..., Clerk], ids: dict[str, int], path: str
) -> None:
    assert clerk().get(path.format(**ids)).status_code == 200


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        *((path, missing) for path in RUN_PAGES for missing in SEE_RUNS),
        *((path, missing) for path in DELIVERY_PAGES for missing in SEE_DELIVERIES),
    ],
)
def test_what_shows_contacts_and_events_is_refused_without_one_of_its_permissions(
    clerk: Callable[..., Clerk], ids: dict[str, int], path: str, missing: str
) -> None:
    assert clerk(missing).get(path.format(**ids)).status_code == 403


@pytest.mark.parametrize("missing", ["view_run", "view_trackedevent"])
def test_a_contacts_page_shows_no_runs_without_one_of_their_permissions(
    clerk: Callable[..., Clerk], ids: dict[str, int], missing: str
) -> None:
    response = clerk(missing).get(f"{CONTACTS}{ids['contact']}/")
    assert response.status_code == 200
    assert "run/" not in response.content.decode().partition("<main")[2]


@pytest.mark.parametrize("missing", SEE_RUNS)
@pytest.mark.parametrize("path", ["automations/run/", "why/"])
def test_a_report_leads_to_no_page_that_would_be_refused(
    clerk: Callable[..., Clerk], missing: str, path: str
) -> None:
    automation = published(HOUR, trigger={"type": "manual"})
    page = clerk(missing).get(AUTOMATION.format(automation=automation.pk))
    assert page.status_code == 200
    assert path not in page.content.decode().partition("<main")[2]


@pytest.mark.parametrize(
    "path",
    [
        AUTOMATION,
        f"{AUTOMATION}change/",
        f"{AUTOMATION}why/?contact={{contact}}",
        "/admin/automations/run/",
        "/admin/automations/run/{run}/change/",
        f"{CONTACTS}{{contact}}/",
    ],
)
@pytest.mark.parametrize("may_see", [True, False])
def test_pages_show_urls_of_webhooks_to_who_may_see_webhooks(
    clerk: Callable[..., Clerk], ids: dict[str, int], path: str, may_see: bool
) -> None:
    response = clerk(*([] if may_see else ["view_endpoint"])).get(path.format(**ids))
    assert response.status_code == 200
    assert (b"secret" in response.content) is may_see


def test_the_admin_exports_no_webhooks_to_who_may_not_see_them(
    clerk: Callable[..., Clerk], ids: dict[str, int]
) -> None:
    path = f"{AUTOMATION}export/".format(**ids)
    assert clerk("view_endpoint").get(path).status_code == 403


def test_the_data_of_a_contact_have_no_urls_of_webhooks(
    clerk: Callable[..., Clerk], ids: dict[str, int]
) -> None:
    with without_snapshots():
        response = clerk().get(f"{CONTACTS}{ids['contact']}/export/")
    data = response.getvalue()
    assert b'"host" : "example.com"' in data
    assert b"secret" not in data


@pytest.mark.parametrize("may_see", [True, False])
def test_an_endpoint_leads_to_its_deliveries_for_who_may_see_them(
    clerk: Callable[..., Clerk], ids: dict[str, int], may_see: bool
) -> None:
    path = f"/admin/automations/endpoint/{Delivery.objects.get().endpoint_id}/change/"
    response = clerk(*([] if may_see else ["view_trackedevent"])).get(path)
    assert response.status_code == 200
    assert (b"delivery/?endpoint=" in response.content) is may_see


@pytest.mark.parametrize("missing", ["change_run", "change_subscriber", "add_trackedevent"])
def test_the_page_why_has_a_dry_run_for_who_may_start_contacts(
    clerk: Callable[..., Clerk], ada: Subscriber, missing: str
) -> None:
    step = {"type": "track_event", "event_key": "marked", "title": "Marked"}
    path = AUTOMATION.format(automation=published(step).pk) + f"why/?contact={ada.pk}"
    response = clerk(missing).get(path)
    page = text_of(response.content.decode())
    assert "would start now" in page
    assert "Dry run" not in page


@pytest.mark.parametrize("door", START_DOORS)
def test_who_has_all_permissions_starts_contacts_by_hand(
    clerk: Callable[..., Clerk], ada: Subscriber, door: str
) -> None:
    clerk().start(door, published(HOUR), ada)
    assert Run.objects.exists()


@pytest.mark.parametrize("door", START_DOORS)
@pytest.mark.parametrize(
    ("document", "missing"),
    [
        ({"trigger": {"type": "manual"}}, "change_run"),
        ({"trigger": {"type": "manual"}}, "change_subscriber"),
        ({"trigger": CHECKOUT}, "view_trackedevent"),
        ({"trigger": {"type": "manual"}, "conditions": [[BOUGHT]]}, "view_trackedevent"),
    ],
)
def test_contacts_are_not_started_by_hand_without_the_permissions_for_the_document(
    clerk: Callable[..., Clerk],
    ada: Subscriber,
    door: str,
    document: dict[str, Any],
    missing: str,
) -> None:
    happens(ada)
    clerk(missing).start(door, published(HOUR, **document), ada)
    assert not Run.objects.exists()


def test_the_action_that_starts_contacts_names_automations_to_who_may_see_them(
    clerk: Callable[..., Clerk], ada: Subscriber
) -> None:
    form = {"action": "start_automation", "_selected_action": ada.pk}
    assert clerk("view_automation").browser.post(CONTACTS, form).status_code == 403


@pytest.mark.parametrize("door", START_DOORS)
def test_steps_that_track_are_not_started_by_hand_by_who_may_not_track(
    clerk: Callable[..., Clerk], ada: Subscriber, door: str
) -> None:
    step = {"type": "track_event", "event_key": "marked", "title": "Marked"}
    automation = published(step, trigger={"type": "manual"})
    assert clerk("add_trackedevent").start(door, automation, ada).status_code == 403
    assert not Run.objects.exists()


@pytest.mark.parametrize("missing", ["change_run", "change_subscriber", "add_trackedevent"])
def test_a_run_is_tried_again_by_who_may_start_it(
    clerk: Callable[..., Clerk], ada: Subscriber, missing: str
) -> None:
    step = {"type": "track_event", "event_key": "marked", "title": "Marked"}
    start_by_hand([ada.pk], published(step, trigger={"type": "manual"}).pk)
    Run.objects.update(status=RunStatus.FAILED, due_at=None)
    path = f"/admin/automations/run/{Run.objects.get().pk}/retry/"
    assert clerk(missing).browser.post(path).status_code == 403
    assert Run.objects.get().status == RunStatus.FAILED


def test_the_response_to_a_pause_shows_no_document_about_events_without_their_permission(
    clerk: Callable[..., Clerk],
) -> None:
    automation = published(HOUR)
    response = clerk("view_trackedevent").program.post(f"/automations/{automation.pk}/pause")
    assert response.status_code == 403


def test_a_delivery_is_not_sent_again_by_who_may_not_see_it(
    clerk: Callable[..., Clerk], ada: Subscriber
) -> None:
    delivery = create_delivery(
        "https://hook.example/", "a.b", {}, run_id=1, step_id=1, contact_id=ada.pk
    )
    path = f"{DELIVERY}{delivery.pk}/send-again/"
    assert clerk("view_trackedevent").browser.post(path).status_code == 403
