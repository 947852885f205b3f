"""Who may open and do what in the admin, page by page, and what their programs may do.

Each role may do what those before it may. A page that is added needs a row here.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import connection, transaction
from django.db.models import Model
from django.http.response import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, URLResolver, resolve
from django.utils.timezone import now

from crm.admin.deletion import selection_digest
from crm.contacts import create
from crm.models import ApplicationPassword, List, Segment, Subscriber, Tag
from crm.passwords import create_application_password
from events.activecampaign.credentials import tracking_key
from events.models import EventName, EventOccurrence, TrackedEvent, TrackingKey, TrackingSwitch
from events.tracking import track
from tests.system.server import Server, basic
from tests.test_access import CALLS, address

ROLES = ("anybody", "staff", "viewer", "manager", "superuser")
NO_ONE = "no one"

Things = dict[str, Any]

# model: who sees it, who may open the page to add one, and to delete one
MODELS = {
    "crm/subscriber": ("viewer", "manager", "manager"),
    "crm/tag": ("viewer", "manager", "manager"),
    "crm/list": ("viewer", "manager", "manager"),
    "crm/segment": ("viewer", "manager", "manager"),
    "crm/applicationpassword": ("manager", "manager", "manager"),
    "events/trackedevent": ("viewer", NO_ONE, NO_ONE),
    "events/eventoccurrence": ("viewer", NO_ONE, NO_ONE),
    "events/eventname": ("viewer", NO_ONE, "manager"),
    "events/trackingkey": ("manager", NO_ONE, NO_ONE),
    "events/trackingswitch": ("viewer", NO_ONE, NO_ONE),
    "auth/user": ("superuser", "superuser", "superuser"),
    "auth/group": ("superuser", "superuser", "superuser"),
}
# Whoever is logged in is sent on from the one, whoever is not from the other.
DOORS = ("login/", "logout/")
# Made of one snapshot, which has to begin its transaction: opened in a test of its own.
EXPORT = "crm/subscriber/{crm/subscriber}/export/"
# path, who may open it, and with which status
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
    ("crm/subscriber/{crm/subscriber}/erase/", "manager", 200),
    # Nobody was erased: those who may see receipts are told so.
    ("crm/subscriber/{crm/subscriber}/erased/", "manager", 302),
    ("crm/subscriber/{crm/subscriber}/erased/receipt.json", "manager", 302),
    ("crm/segment/count/", "staff", 405),
    ("events/", "viewer", 200),
    ("auth/", "superuser", 200),
    ("auth/user/{auth/user}/password/", "superuser", 200),
    *(
        row
        for model, (seen_by, added_by, deleted_by) in MODELS.items()
        for row in (
            # The switch is one, and has no list.
            (f"{model}/", seen_by, 302 if model == "events/trackingswitch" else 200),
            (f"{model}/add/", added_by, 200),
            *([] if model == "crm/subscriber" else [(f"{model}/{{{model}}}/", "staff", 302)]),
            (f"{model}/{{{model}}}/change/", seen_by, 200),
            (f"{model}/{{{model}}}/history/", seen_by, 200),
            (f"{model}/{{{model}}}/delete/", deleted_by, 200),
        )
    ),
]

CONTACT = {
    **{"email": "eve@example.com", "status": "subscribed", "contact_type": "lead"},
    **{"total_points": "0", "life_time_value": "0"},
}
TITLED = {"title": "Eve's", "slug": "eves"}
SEGMENT = TITLED | {"filters": "[]"}
PASSWORDS = "crm/applicationpassword"
PASSWORD = {
    **{"user": "{manager}", "name": "shop", "scope": "manage"},
    **{"expires_at_0": "", "expires_at_1": ""},
}
PROMOTED = {
    **{"username": "promoted", "is_superuser": "on"},
    **{"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"},
}
# Of contacts it is said which ones were named.
YES = {"post": "yes", "which": "{which}"}


def chosen(action: str, model: str) -> dict[str, str]:
    return {"action": action, "_selected_action": f"{{{model}}}", **YES}


def there(model: type[Model], **fields: str | bool) -> Callable[[], bool]:
    return lambda: model._default_manager.filter(**fields).exists()


def gone(model: type[Model], **fields: str) -> Callable[[], bool]:
    return lambda: not model._default_manager.filter(**fields).exists()


def is_rotated() -> bool:
    return tracking_key().created_at > TrackedEvent.objects.get().created_at


def is_revoked() -> bool:
    return ApplicationPassword.objects.exclude(revoked_at=None).exists()


# path, form, who may send it, and how to see that it was done
FORMS: list[tuple[str, dict[str, str], str, Callable[[], bool]]] = [
    *(
        row
        for path, form, model, made in (
            ("crm/subscriber", CONTACT, Subscriber, {"email": "eve@example.com"}),
            ("crm/tag", TITLED, Tag, {"slug": "eves"}),
            ("crm/list", TITLED, List, {"slug": "eves"}),
            ("crm/segment", SEGMENT, Segment, {"slug": "eves"}),
        )
        for row in (
            (f"{path}/add/", form, "manager", there(model, **made)),
            (f"{path}/{{{path}}}/change/", form, "manager", there(model, **made)),
            (f"{path}/{{{path}}}/delete/", YES, "manager", gone(model)),
            (f"{path}/", chosen("delete_selected", path), "manager", gone(model)),
        )
    ),
    (
        "crm/subscriber/",
        chosen("add_tags", "crm/subscriber") | {"chosen": "yes", "segments": "{crm/tag}"},
        "manager",
        there(Subscriber, tags__slug="tag"),
    ),
    ("crm/subscriber/{crm/subscriber}/erase/", {}, "manager", gone(Subscriber)),
    (f"{PASSWORDS}/add/", PASSWORD, "manager", there(ApplicationPassword, name="shop")),
    (
        f"{PASSWORDS}/add/",
        PASSWORD | {"user": "{superuser}"},
        "superuser",
        there(ApplicationPassword, name="shop"),
    ),
    (f"{PASSWORDS}/{{own}}/change/", PASSWORD, NO_ONE, there(ApplicationPassword, name="shop")),
    (f"{PASSWORDS}/", chosen("revoke_selected", "own"), "manager", is_revoked),
    (f"{PASSWORDS}/", chosen("revoke_selected", "other's"), "superuser", is_revoked),
    (f"{PASSWORDS}/{{own}}/delete/", YES, "manager", gone(ApplicationPassword, name="own")),
    (
        f"{PASSWORDS}/{{other's}}/delete/",
        YES,
        "superuser",
        gone(ApplicationPassword, name="other's"),
    ),
    *(
        row
        for path, model, least in (
            ("events/trackedevent", TrackedEvent, NO_ONE),
            ("events/eventoccurrence", EventOccurrence, NO_ONE),
            ("events/eventname", EventName, "manager"),
            ("events/trackingkey", TrackingKey, NO_ONE),
            ("events/trackingswitch", TrackingSwitch, NO_ONE),
        )
        for row in (
            (f"{path}/{{{path}}}/delete/", YES, least, gone(model)),
            (f"{path}/", chosen("delete_selected", path), least, gone(model)),
        )
    ),
    (
        "events/trackedevent/{events/trackedevent}/change/",
        {"title": "changed"},
        NO_ONE,
        there(TrackedEvent, title="changed"),
    ),
    ("events/trackingkey/", chosen("rotate_key", "events/trackingkey"), "manager", is_rotated),
    (
        "events/trackingswitch/{events/trackingswitch}/change/",
        {},
        "manager",
        there(TrackingSwitch, enabled=False),
    ),
    ("auth/user/{manager}/change/", PROMOTED, "superuser", there(User, username="promoted")),
    ("auth/user/{manager}/delete/", YES, "superuser", gone(User, username="manager")),
    (
        "auth/group/{auth/group}/change/",
        {"name": "renamed"},
        "superuser",
        there(Group, name="renamed"),
    ),
    # Last: it makes the session anew.
    (
        "auth/user/{manager}/password/",
        {"password1": "to be guessed never", "password2": "to be guessed never"},
        "superuser",
        lambda: User.objects.get(username="manager").has_usable_password(),
    ),
]


def may(role: str, least: str) -> bool:
    return least != NO_ONE and ROLES.index(role) >= ROLES.index(least)


@pytest.fixture
def people(db: None) -> dict[str, Client]:
    """A browser of each role."""
    # Other tests empty all tables, the groups among them.
    make_roles = import_module("events.migrations.0003_roles").make_roles
    with connection.schema_editor(atomic=False) as editor:
        make_roles(apps, editor)
    browsers = {"anybody": Client()}
    for role in ROLES[1:]:
        user = User.objects.create_user(role, is_staff=True, is_superuser=role == "superuser")
        if group := Group.objects.filter(name=role).first():
            user.groups.add(group)
        browsers[role] = Client()
        browsers[role].force_login(user)
    return browsers


@pytest.fixture
def things(people: dict[str, Client]) -> Things:
    """One of everything: the id that stands in a path in its place."""
    contact = create({"email": "ada@example.com"})
    key = tracking_key()
    event = track({"event_key": "k", "title": "t", "subscriber_id": contact.pk})
    TrackingSwitch.set_enabled(True)
    manager, superuser = (User.objects.get(username=role) for role in ("manager", "superuser"))
    own, _ = create_application_password(manager, "own", "manage")
    others, _ = create_application_password(superuser, "other's", "manage")
    return {
        "crm/subscriber": contact.pk,
        "crm/tag": Tag.objects.create(title="tag", slug="tag").pk,
        "crm/segment": Segment.objects.create(title="all", slug="all").pk,
        "crm/list": List.objects.create(title="list", slug="list").pk,
        **dict.fromkeys((PASSWORDS, "own"), own.pk),
        "other's": others.pk,
        "events/trackedevent": event.pk,
        "events/eventoccurrence": EventOccurrence.objects.get().pk,
        "events/eventname": EventName.objects.get().pk,
        "events/trackingkey": key.pk,
        "events/trackingswitch": 1,
        "auth/user": manager.pk,
        "auth/group": Group.objects.get(name="viewer").pk,
        "which": selection_digest([contact.pk]),
        "manager": manager.pk,
        "superuser": superuser.pk,
    }


def filled(text: str, things: Things) -> str:
    for name, number in things.items():
        text = text.replace(f"{{{name}}}", str(number))
    return text


def routes(patterns: list[URLPattern | URLResolver], before: str) -> Iterator[str]:
    for pattern in patterns:
        here = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, here)
        else:
            yield here


def test_every_address_of_the_admin_has_a_row_and_every_row_an_address(things: Things) -> None:
    patterns, *_ = admin.site.urls
    rows = [EXPORT, *(path for path, *_ in PAGES)]
    paths = [filled(path, things).partition("?")[0] for path in rows]
    found = {resolve(f"/admin/{path}").route for path in (*DOORS, *paths)}
    assert found == {route.replace("/^", "/") for route in routes(patterns, "admin/")}


def test_a_page_opens_for_those_who_may_see_it_and_others_log_in_or_are_refused(
    people: dict[str, Client], things: Things
) -> None:
    for path, least, status in PAGES:
        for role, browser in people.items():
            answer = browser.get(filled(f"/admin/{path}", things))
            if may(role, least):
                assert answer.status_code == status, (path, role)
            elif role == "anybody":
                assert_sent_to_login(answer, path)
            elif path.endswith(("change/", "history/")) and answer.status_code == 302:
                # Not even that it is there.
                assert answer.headers["Location"] == "/admin/", (path, role)
            else:
                assert answer.status_code in (403, 404), (path, role)


@pytest.mark.django_db(transaction=True)
def test_everything_about_a_contact_is_exported_for_those_who_see_it_all(
    people: dict[str, Client], things: Things
) -> None:
    answers = {
        role: browser.get(f"/admin/{filled(EXPORT, things)}") for role, browser in people.items()
    }
    assert all(b"ada@example.com" in answers[role].getvalue() for role in ROLES[2:])
    assert {role: answer.status_code for role, answer in answers.items()} == {
        **{"anybody": 302, "staff": 403, "viewer": 200, "manager": 200, "superuser": 200}
    }
    assert_sent_to_login(answers["anybody"], EXPORT)


def assert_sent_to_login(answer: HttpResponseBase, path: str) -> None:
    assert answer.status_code == 302, path
    assert answer.headers["Location"].startswith("/admin/login/?next="), path


def test_the_login_page_is_for_those_who_are_not_logged_in_and_only_a_form_logs_out(
    people: dict[str, Client],
) -> None:
    for role, browser in people.items():
        statuses = [browser.get(f"/admin/{door}").status_code for door in DOORS]
        assert statuses == ([200, 302] if role == "anybody" else [302, 405])


def test_a_form_does_what_it_says_for_those_who_may_and_nothing_for_others(
    people: dict[str, Client], things: Things
) -> None:
    for path, form, least, done in FORMS:
        sent = {name: filled(value, things) for name, value in form.items()}
        assert not done(), path
        for role, browser in people.items():
            with transaction.atomic():
                answer = browser.post(filled(f"/admin/{path}", things), sent)
                assert done() == may(role, least), (path, form, role, answer.status_code)
                if role == "anybody":
                    assert_sent_to_login(answer, path)
                transaction.set_rollback(True)


def test_a_viewer_sees_no_secret(people: dict[str, Client], things: Things) -> None:
    key = tracking_key()
    for path, least, _ in PAGES:
        if may("viewer", least):
            page = people["viewer"].get(filled(f"/admin/{path}", things)).content.decode()
            assert key.key not in page, path
            assert key.actid not in page, path


def test_who_sees_contacts_and_no_events_sees_no_trace_of_them(
    people: dict[str, Client], things: Things
) -> None:
    User.objects.get(username="staff").user_permissions.set(
        Permission.objects.filter(codename__in=("view_subscriber", "change_subscriber"))
    )
    track({"event_key": "secret", "title": "secret", "email": "ada@example.com"})
    assert people["staff"].get("/admin/crm/subscriber/?did=secret").status_code == 400
    for path in ("", "overview/", "crm/subscriber/"):
        answer = people["staff"].get(f"/admin/{path}", follow=True)
        assert answer.status_code == 200
        page = answer.content.decode().partition("<main")[2]
        assert "secret" not in page, path
        assert "did event" not in page.lower()
        assert "last seen" not in page.lower()
    contact = filled("/admin/crm/subscriber/{crm/subscriber}/", things)
    for path in (contact, f"{contact}?piece=1", f"{contact}?event_key=secret"):
        page = people["staff"].get(path).content.decode()
        assert "ada@example.com" in page or "piece" in path
        assert "secret" not in page
    assert people["staff"].get(f"{contact}export/").status_code == 403


def test_the_switch_is_touched_for_the_first_time_by_managers_alone(
    people: dict[str, Client],
) -> None:
    for role in ("viewer", "manager"):
        people[role].post("/admin/events/trackingswitch/1/change/", {})
        assert TrackingSwitch.is_enabled() == (role == "viewer")


@pytest.fixture
def program_of(
    store: psycopg.Connection, password: Callable[..., str]
) -> Iterator[Callable[[str], str]]:
    """`program_of("viewer")`: the credentials of a password of theirs that may manage."""

    def make(role: str) -> str:
        store.execute(
            "INSERT INTO auth_user (username, email, password, first_name, last_name, "
            "is_superuser, is_staff, is_active, date_joined) "
            "VALUES (%(role)s, '', '', '', '', false, true, true, %(now)s)",
            {"role": role, "now": now()},
        )
        store.execute(
            "INSERT INTO auth_user_groups (user_id, group_id) SELECT u.id, g.id "
            "FROM auth_user u, auth_group g WHERE u.username = %(role)s AND g.name = %(role)s",
            {"role": role},
        )
        return basic(role, password("manage", role))

    yield make
    theirs = "(SELECT id FROM auth_user WHERE username IN ('viewer', 'manager'))"
    store.execute(
        f"DELETE FROM auth_user_groups WHERE user_id IN {theirs};"
        f"DELETE FROM crm_applicationpassword WHERE user_id IN {theirs};"
        f"DELETE FROM auth_user WHERE id IN {theirs}"
    )


@pytest.mark.parametrize("role", ["viewer", "manager"])
def test_a_program_of_a_viewer_reads_and_one_of_a_manager_writes(
    server: Server, program_of: Callable[[str], str], role: str
) -> None:
    client = server.client(program_of(role))
    for method, path, _ in CALLS:
        answer = client(method, address(path), {})
        if method == "GET" or role == "manager":
            assert answer.status not in (401, 403), (method, path, answer.body)
        else:
            assert answer.status == 403, (method, path, answer.body)
    client.close()
