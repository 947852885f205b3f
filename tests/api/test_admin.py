"""The admin's forms: passwords, contacts, the log of events, the switch, the tracking key."""

import re
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import checks
from django.test import Client
from django.utils.timezone import now
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import ApplicationPassword, Subscriber
from crm.passwords import create_application_password
from events.activecampaign.credentials import tracking_key
from events.models import EventName, EventOccurrence, TrackedEvent, TrackingSwitch
from events.tracking import track
from events.tracking.errors import NotEnabled
from tests.api.pages import CONTACTS, ESCAPED, HOSTILE, browser_of, open_page, staff_user

pytestmark = pytest.mark.django_db
PASSWORDS = "/admin/crm/applicationpassword/"
TRACKING_KEY = "/admin/events/trackingkey/"
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
CONTACT = {
    "email": "ada@example.com",
    "status": "subscribed",
    "contact_type": "lead",
    "total_points": 0,
    "life_time_value": 0,
}
EVERY_LINK = {
    f"/admin/{path}"
    for path in (
        *("automations/delivery/", "automations/endpoint/"),
        *("auth/group/", "auth/group/add/", "auth/user/", "auth/user/add/"),
        *("automations/automation/", "automations/automation/add/", "automations/run/"),
        *("crm/applicationpassword/", "crm/applicationpassword/add/"),
        *("crm/customfield/", "crm/customfield/add/", "crm/erasure/", "crm/historyentry/"),
        *("crm/incomingwebhook/", "crm/incomingwebhook/add/"),
        *("crm/job/", "transfers/export/", "transfers/export/add/"),
        *("transfers/import/", "transfers/import/add/"),
        *("crm/list/", "crm/list/add/", "crm/segment/", "crm/segment/add/"),
        *("crm/subscriber/", "crm/subscriber/add/", "crm/tag/", "crm/tag/add/"),
        *("crm/subscribernote/", "crm/subscribernote/add/"),
        *("events/eventname/", "events/eventoccurrence/", "events/trackedevent/"),
        *("events/trackingkey/", "events/trackingswitch/"),
    )
}


def add_password(browser: Client, user: User, **fields: str) -> str:
    """Send the form for a password, and return the secret that the next page shows."""
    form = {
        "user": user.pk,
        "name": "shop",
        "scope": "track",
        "expires_at_0": "",
        "expires_at_1": "",
    }
    response = browser.post(f"{PASSWORDS}add/", form | fields, follow=True)
    shown = re.search(r"shown only now: ((\w{4} ){5}\w{4})", response.content.decode())
    return shown[1] if shown else ""


def chosen(action: str, row_id: int) -> dict[str, Any]:
    return {"action": action, "_selected_action": row_id}


@pytest.fixture
def secret(admin_user: User, admin_client: Client) -> str:
    """The secret of a password that was made in the admin, with its blanks."""
    return add_password(admin_client, admin_user)


def test_the_pages_pass_the_system_checks_of_django() -> None:
    # `manage.py check` may look at them before the URLs have loaded them.
    import_module("config.urls")
    assert checks.run_checks(tags=[checks.Tags.admin]) == []


def test_a_new_password_is_shown_once(admin_client: Client, secret: str) -> None:
    assert re.fullmatch(r"(\w{4} ){5}\w{4}", secret)
    page = open_page(admin_client, PASSWORDS)
    assert secret not in page
    assert secret[:4] + secret[5:9] in page


def test_a_new_password_works_in_its_scope_until_it_is_revoked(
    admin_client: Client, secret: str, ada: Subscriber
) -> None:
    program = APIClient(headers={"Authorization": f"Bearer {secret}"})
    assert program.post("/subscribers/track-event", EVENT).status_code == 200
    assert program.get("/subscribers").status_code == 403
    password = ApplicationPassword.objects.get()
    admin_client.post(PASSWORDS, chosen("revoke_selected", password.pk))
    assert program.post("/subscribers/track-event", EVENT).status_code == 401


def test_a_password_keeps_its_expiry(admin_user: User, admin_client: Client) -> None:
    tomorrow = now() + timedelta(days=1)
    add_password(
        admin_client,
        admin_user,
        expires_at_0=f"{tomorrow:%Y-%m-%d}",
        expires_at_1=f"{tomorrow:%H:%M:%S}",
    )
    expires = ApplicationPassword.objects.get().expires_at
    assert expires
    assert abs(expires - tomorrow) < timedelta(seconds=1)


def test_a_password_with_an_expiry_in_the_past_is_rejected(
    admin_user: User, admin_client: Client
) -> None:
    past = {"expires_at_0": "2020-01-01", "expires_at_1": "00:00:00"}
    assert add_password(admin_client, admin_user, **past) == ""
    assert not ApplicationPassword.objects.exists()


def test_users_make_passwords_for_themselves_only(admin_user: User) -> None:
    clerk = staff_user("add_applicationpassword", "view_applicationpassword")
    browser = browser_of(clerk)
    assert add_password(browser, admin_user) == ""
    assert not ApplicationPassword.objects.exists()
    assert add_password(browser, clerk) != ""
    assert ApplicationPassword.objects.get().user == clerk


def test_users_see_their_own_passwords_only(admin_user: User) -> None:
    clerk = staff_user("view_applicationpassword")
    create_application_password(admin_user, "the admin's own", "manage")
    create_application_password(clerk, "the clerk's own", "manage")
    page = open_page(browser_of(clerk), PASSWORDS)
    assert "the admin&#x27;s own" not in page
    assert "the clerk&#x27;s own" in page


@pytest.fixture
def contact_ids() -> list[int]:
    """The ids of three contacts, each with an event."""
    ids = [create({"email": f"c{number}@example.com"}).pk for number in range(3)]
    for contact_id in ids:
        track({"event_key": "k", "title": "t", "subscriber_id": contact_id})
    return ids


def assert_events_are_of(contact_ids: list[int]) -> None:
    for model in (TrackedEvent, EventOccurrence):
        rows = model._default_manager.order_by("subscriber_id")
        assert list(rows.values_list("subscriber_id", flat=True)) == contact_ids


def test_a_contact_is_deleted_with_its_events(admin_client: Client, contact_ids: list[int]) -> None:
    admin_client.post(f"{CONTACTS}{contact_ids[0]}/delete/", {"post": "yes"})
    assert_events_are_of(contact_ids[1:])


def test_a_selected_contact_is_deleted_with_its_events(
    admin_client: Client, contact_ids: list[int]
) -> None:
    form = chosen("delete_selected", contact_ids[1]) | {"post": "yes"}
    page = admin_client.post(CONTACTS, form).content.decode()
    digest = re.search('name="digest" value="(.*?)"', page)
    assert digest
    assert_events_are_of(contact_ids)
    admin_client.post(CONTACTS, form | {"digest": digest[1]})
    assert_events_are_of([contact_ids[0], contact_ids[2]])


def test_a_contact_is_added(admin_client: Client) -> None:
    assert admin_client.post(f"{CONTACTS}add/", CONTACT).status_code == 302
    assert Subscriber.objects.get().email == "ada@example.com"


@pytest.mark.parametrize(
    ("email", "mistake"),
    [("x", "valid email"), ("ADA@example.com", "Another contact has this e-mail.")],
)
def test_a_contact_with_a_wrong_email_is_rejected(
    admin_client: Client, ada: Subscriber, email: str, mistake: str
) -> None:
    response = admin_client.post(f"{CONTACTS}add/", CONTACT | {"email": email})
    assert response.status_code == 200
    assert mistake in response.content.decode()
    assert Subscriber.objects.get() == ada


@pytest.fixture
def hostile_event() -> TrackedEvent:
    """An event with markup in every text."""
    create({"email": "ada@example.com", "first_name": HOSTILE})
    return track(
        {"event_key": HOSTILE, "title": HOSTILE, "value": HOSTILE, "email": "ada@example.com"}
    )


LOGS = {"trackedevent": TrackedEvent, "eventoccurrence": EventOccurrence}


@pytest.mark.parametrize("model", LOGS)
def test_a_list_of_the_log_escapes_markup(
    admin_client: Client, hostile_event: TrackedEvent, model: str
) -> None:
    page = open_page(admin_client, f"/admin/events/{model}/")
    assert HOSTILE not in page
    assert ESCAPED in page


@pytest.mark.parametrize("model", LOGS)
@pytest.mark.parametrize(
    ("method", "page", "status"),
    [
        ("get", "{pk}/change/", 200),
        ("post", "{pk}/change/", 403),
        ("get", "{pk}/delete/", 403),
        ("get", "add/", 403),
    ],
)
def test_rows_of_the_log_are_only_read(
    admin_client: Client,
    hostile_event: TrackedEvent,
    model: str,
    method: str,
    page: str,
    status: int,
) -> None:
    path = page.format(pk=LOGS[model]._default_manager.get().pk)
    response = admin_client.generic(method.upper(), f"/admin/events/{model}/{path}")
    assert response.status_code == status


def test_tracking_is_switched_off_and_on(admin_client: Client, ada: Subscriber) -> None:
    path = admin_client.get("/admin/events/trackingswitch/").headers["Location"]
    assert "checked" in open_page(admin_client, path)
    admin_client.post(path, {})
    with pytest.raises(NotEnabled):
        track(EVENT)
    assert not TrackingSwitch.is_enabled()
    admin_client.post(path, {"enabled": "on"})
    assert TrackingSwitch.is_enabled()
    track(EVENT)


def test_the_tracking_key_is_shown(admin_client: Client) -> None:
    pair = tracking_key()
    page = open_page(admin_client, TRACKING_KEY)
    assert pair.actid in page
    assert pair.key in page
    assert admin_client.get(f"{TRACKING_KEY}1/change/").status_code == 200


def test_the_tracking_key_is_rotated_and_the_new_one_is_shown(admin_client: Client) -> None:
    old = tracking_key()
    response = admin_client.post(TRACKING_KEY, chosen("rotate_key", old.pk), follow=True)
    new = tracking_key()
    assert new.key != old.key
    assert f"The new key: {new.key}" in response.content.decode()


def test_the_tracking_key_is_not_rotated_by_users_who_may_only_see_it() -> None:
    pair = tracking_key()
    browser = browser_of(staff_user("view_trackingkey"))
    browser.post(TRACKING_KEY, chosen("rotate_key", pair.pk))
    assert tracking_key().key == pair.key


def test_the_catalogue_of_event_names_escapes_markup(
    admin_client: Client, hostile_event: TrackedEvent
) -> None:
    page = open_page(admin_client, "/admin/events/eventname/")
    assert HOSTILE not in page
    assert ESCAPED in page


def test_a_deleted_event_name_leaves_its_events(
    admin_client: Client, hostile_event: TrackedEvent
) -> None:
    name = EventName.objects.get()
    admin_client.post(f"/admin/events/eventname/{name.pk}/delete/", {"post": "yes"})
    assert not EventName.objects.exists()
    assert TrackedEvent.objects.get() == hostile_event


def test_the_index_links_to_every_list_and_add_page(admin_client: Client) -> None:
    page = open_page(admin_client, "/admin/")
    assert set(re.findall(r'href="(/admin/[a-z]+/[a-z]+/(?:add/)?)"', page)) == EVERY_LINK


@pytest.mark.parametrize("path", sorted(EVERY_LINK))
def test_a_linked_page_opens_on_an_empty_store(admin_client: Client, path: str) -> None:
    assert admin_client.get(path, follow=True).status_code == 200


def test_a_form_without_its_csrf_token_is_rejected_by_a_page() -> None:
    strict = Client(enforce_csrf_checks=True)
    response = strict.post("/admin/login/", {"username": "admin", "password": "x"})
    assert response.status_code == 403
    assert "load the page again" in response.content.decode()
