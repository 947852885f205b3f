"""The admin: passwords shown once and revoked, contacts deleted with their events, roles kept."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils.timezone import now

from crm.authentication import authenticate
from crm.contacts import create
from crm.models import ApplicationPassword, Subscriber
from crm.passwords import create_application_password
from events.activecampaign.credentials import tracking_key
from events.models import EventName, EventOccurrence, TrackedEvent, TrackingSwitch
from events.tracking import NotEnabled, track

pytestmark = pytest.mark.django_db(transaction=True)
HOSTILE = "<script>alert(1)</script>"


def make_password(people: Client, user: User, **fields: str) -> str:
    form = {
        "user": user.pk,
        "name": "shop",
        "scope": "track",
        "expires_at_0": "",
        "expires_at_1": "",
    }
    answer = people.post("/admin/crm/applicationpassword/add/", form | fields, follow=True)
    shown = re.search(r"shown only now: ((\w{4} ){5}\w{4})", answer.content.decode())
    return shown[1] if shown else ""


def test_a_password_is_shown_once_and_works_until_it_is_revoked(people: Client) -> None:
    admin = User.objects.get()
    secret = make_password(people, admin)
    assert authenticate("admin", secret)[1].scope == "track"
    page = people.get("/admin/crm/applicationpassword/").content.decode()
    assert secret not in page
    assert secret[:4] + secret[5:9] in page
    chosen = {"action": "revoke_selected", "_selected_action": ApplicationPassword.objects.get().pk}
    people.post("/admin/crm/applicationpassword/", chosen)
    from rest_framework.exceptions import AuthenticationFailed

    with pytest.raises(AuthenticationFailed):
        authenticate("admin", secret)


def test_a_password_made_with_an_expiry_keeps_it(people: Client) -> None:
    tomorrow = now() + timedelta(days=1)
    make_password(
        people,
        User.objects.get(),
        expires_at_0=f"{tomorrow:%Y-%m-%d}",
        expires_at_1=f"{tomorrow:%H:%M:%S}",
    )
    expires = ApplicationPassword.objects.get().expires_at
    assert expires
    assert abs(expires - tomorrow) < timedelta(seconds=1)


def test_a_password_that_would_have_expired_already_is_not_made(people: Client) -> None:
    admin = User.objects.get()
    assert make_password(people, admin, expires_at_0="2020-01-01", expires_at_1="00:00:00") == ""
    assert not ApplicationPassword.objects.exists()


def test_somebody_who_is_no_superuser_makes_passwords_for_themselves_only(people: Client) -> None:
    admin = User.objects.get()
    clerk = User.objects.create_user("clerk", is_staff=True)
    names = ("add_applicationpassword", "view_applicationpassword")
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    create_application_password(admin, "the admin's own", "manage")
    people.force_login(clerk)
    assert make_password(people, admin) == ""
    assert make_password(people, clerk) != ""
    page = people.get("/admin/crm/applicationpassword/").content.decode()
    assert "the admin&#x27;s own" not in page


def test_contacts_are_deleted_with_their_events_one_by_one_and_selected(people: Client) -> None:
    ids = []
    for number in range(3):
        ids.append(create({"email": f"c{number}@example.com"}).pk)
        track({"event_key": "k", "title": "t", "subscriber_id": ids[-1]})
    people.post(f"/admin/crm/subscriber/{ids[0]}/delete/", {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": ids[1], "post": "yes"}
    asked = people.post("/admin/crm/subscriber/", chosen).content.decode()
    which = re.search('name="which" value="(.*?)"', asked)
    assert which
    people.post("/admin/crm/subscriber/", chosen | {"which": which[1]})
    for model in (TrackedEvent, EventOccurrence):
        assert list(model.objects.values_list("subscriber_id", flat=True)) == [ids[2]]


def test_a_contact_is_added_and_changed_and_its_email_is_checked(people: Client) -> None:
    form = {
        **{"email": "ada@example.com", "status": "subscribed", "contact_type": "lead"},
        **{"total_points": 0, "life_time_value": 0},
    }
    path = "/admin/crm/subscriber/add/"
    assert people.post(path, form).status_code == 302
    assert "valid email" in people.post(path, form | {"email": "x"}).content.decode()
    assert (
        "Another contact has this e-mail."
        in people.post(path, form | {"email": "ADA@example.com"}).content.decode()
    )
    assert Subscriber.objects.count() == 1


@pytest.mark.parametrize("model", ["trackedevent", "eventoccurrence"])
def test_events_are_seen_and_not_written(people: Client, model: str) -> None:
    create({"email": "ada@example.com", "first_name": HOSTILE})
    track({"event_key": HOSTILE, "title": HOSTILE, "value": HOSTILE, "email": "ada@example.com"})
    listed = people.get(f"/admin/events/{model}/").content.decode()
    assert HOSTILE not in listed
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in listed
    row = TrackedEvent.objects.get() if model == "trackedevent" else EventOccurrence.objects.get()
    assert people.get(f"/admin/events/{model}/{row.pk}/change/").status_code == 200
    for path in ("add/", f"{row.pk}/delete/"):
        assert people.get(f"/admin/events/{model}/{path}").status_code == 403
    assert people.post(f"/admin/events/{model}/{row.pk}/change/", {}).status_code == 403


def test_the_switch_is_turned_in_the_admin(people: Client) -> None:
    create({"email": "ada@example.com"})
    path = people.get("/admin/events/trackingswitch/").headers["Location"]
    assert "checked" in people.get(path).content.decode()
    people.post(path, {})
    with pytest.raises(NotEnabled):
        track({"event_key": "k", "title": "t", "email": "ada@example.com"})
    assert not TrackingSwitch.is_enabled()
    people.post(path, {"enabled": "on"})
    assert TrackingSwitch.is_enabled()


def test_the_tracking_key_is_shown_and_rotated_by_those_who_may(people: Client) -> None:
    old = tracking_key()
    path = "/admin/events/trackingkey/"
    page = people.get(path).content.decode()
    assert old.actid in page
    assert old.key in page
    rotating = {"action": "rotate_key", "_selected_action": old.pk}
    said = people.post(path, rotating, follow=True).content.decode()
    new = tracking_key()
    assert new.key != old.key
    assert f"The new key: {new.key}" in said
    assert people.get(f"{path}1/change/").status_code == 200
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_trackingkey"))
    people.force_login(clerk)
    people.post(path, rotating)
    assert tracking_key().key == new.key


def test_a_name_of_the_catalogue_is_deleted_and_its_history_stays(people: Client) -> None:
    create({"email": "ada@example.com"})
    track({"event_key": HOSTILE, "title": "t", "email": "ada@example.com"})
    name = EventName.objects.get()
    assert HOSTILE not in people.get("/admin/events/eventname/").content.decode()
    people.post(f"/admin/events/eventname/{name.pk}/delete/", {"post": "yes"})
    assert not EventName.objects.exists()
    assert TrackedEvent.objects.count() == 1


def test_every_page_of_the_admin_opens(people: Client) -> None:
    index = people.get("/admin/").content.decode()
    links = set(re.findall(r'href="(/admin/[a-z]+/[a-z]+/(?:add/)?)"', index))
    assert len(links) >= 12
    for link in links:
        assert people.get(link, follow=True).status_code == 200, link


def test_a_form_without_its_token_is_refused_in_a_sentence() -> None:
    strict = Client(enforce_csrf_checks=True)
    answer = strict.post("/admin/login/", {"username": "admin", "password": "x"})
    assert answer.status_code == 403
    assert "load the page again" in answer.content.decode()
