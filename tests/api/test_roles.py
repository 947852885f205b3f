"""What each role may open and do in the admin, page by page, and what its programs may do.

A form that is added to the admin needs a row in FORMS.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db.models import Model
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import URLPattern, URLResolver, resolve
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient

from automations.models import Automation, Delivery, Endpoint, Run
from crm.models import (
    ApplicationPassword,
    Erasure,
    List,
    Segment,
    Subscriber,
    SubscriberNote,
    Tag,
)
from events.activecampaign.credentials import tracking_key
from events.models import EventName, EventOccurrence, TrackedEvent, TrackingKey, TrackingSwitch
from events.tracking import track
from tests.api.calls import CALLS, send
from tests.api.conftest import MakePassword, basic
from tests.api.pages import CONTACTS, browser_of, open_page, staff_user
from tests.api.roles import (
    ACTIONS,
    CHANGED,
    NO_ROLE,
    PAGES,
    PASSWORDS,
    ROLES,
    RoleStore,
    may,
    role_store,
)
from tests.api.snapshots import without_snapshots

pytestmark = pytest.mark.django_db
# Calls that superusers alone may send.
OF_SUPERUSERS = ("/users", "/users/roles")
# Logged in users are redirected from the one, anonymous ones from the other.
LOGIN_AND_LOGOUT = ("login/", "logout/")
LOGIN = "/admin/login/?next="

OPENED = [
    pytest.param(role, path, status, id=f"{role}-{path}")
    for path, least, status in PAGES
    for role in ROLES
    if may(role, least)
]
# The status and Location of pages that others are refused otherwise than with 403.
REFUSALS = {
    **dict.fromkeys(("automations/", "crm/", "events/", "transfers/", "auth/"), (404, None)),
    # Whose password it is, is not said: users see their own only.
    f"{PASSWORDS}/{{{PASSWORDS}}}/history/": (302, "/admin/"),
}
REFUSED = [
    pytest.param(role, path, *REFUSALS.get(path, (403, None)), id=f"{role}-{path}")
    for path, least, _ in PAGES
    for role in ROLES[1:]
    if not may(role, least)
]
PATHS = [path for path, *_ in PAGES]

CONTACT = {
    "email": "eve@example.com",
    "status": "subscribed",
    "contact_type": "lead",
    "total_points": "0",
    "life_time_value": "0",
}
MAIL = {
    "title": "Mail",
    "description": "Likes coffee.",
    "type": "email",
    "created_at_0": "2026-01-01",
    "created_at_1": "00:00:00",
}
TITLED = {"title": "Eve's", "slug": "eves"}
PASSWORD = {
    "user": "{manager}",
    "name": "shop",
    "scope": "manage",
    "expires_at_0": "",
    "expires_at_1": "",
}
PROMOTED = {
    "username": "promoted",
    "is_superuser": "on",
    "date_joined_0": "2026-01-01",
    "date_joined_1": "00:00:00",
}
CONFIRMED = {"post": "yes"}


def chosen(action: str, row: str, **more: str) -> dict[str, str]:
    """Return the form of an action on one row, confirmed."""
    digest = {"digest": "{digest}"} if row == "crm/subscriber" else {}
    return {"action": action, "_selected_action": f"{{{row}}}", **CONFIRMED, **digest, **more}


def exists(model: type[Model], **fields: str | bool) -> Callable[[], bool]:
    return lambda: model._default_manager.filter(**fields).exists()


def is_gone(model: type[Model], **fields: str) -> Callable[[], bool]:
    return lambda: not model._default_manager.filter(**fields).exists()


def is_rotated() -> bool:
    return tracking_key().created_at > TrackedEvent.objects.get().created_at


def is_revoked() -> bool:
    return ApplicationPassword.objects.exclude(revoked_at=None).exists()


# path, form, the least role that may send it, and whether it was done
FORMS: list[tuple[str, dict[str, str], str, Callable[[], bool]]] = [
    *(
        row
        for path, form, model, made in (
            ("crm/subscriber", CONTACT, Subscriber, {"email": "eve@example.com"}),
            ("crm/tag", TITLED, Tag, {"slug": "eves"}),
            ("crm/list", TITLED, List, {"slug": "eves"}),
            ("crm/segment", TITLED | {"filters": "[]"}, Segment, {"slug": "eves"}),
        )
        for row in (
            (f"{path}/add/", form, "manager", exists(model, **made)),
            (f"{path}/{{{path}}}/change/", form, "manager", exists(model, **made)),
            (f"{path}/{{{path}}}/delete/", CONFIRMED, "manager", is_gone(model)),
            (f"{path}/", chosen("delete_selected", path), "manager", is_gone(model)),
        )
    ),
    (
        "crm/subscriber/",
        chosen("add_tags", "crm/subscriber", chosen="yes", labels="{crm/tag}"),
        "manager",
        exists(Subscriber, tags__slug="tag"),
    ),
    ("crm/subscriber/{crm/subscriber}/erase/", {}, "manager", is_gone(Subscriber)),
    *(
        (f"crm/subscribernote/{path}/", fields, "manager", exists(SubscriberNote, title="Mail"))
        for path, fields in (
            ("add", MAIL | {"contact": "{crm/subscriber}"}),
            ("{crm/subscribernote}/change", MAIL),
        )
    ),
    (
        "crm/subscribernote/{crm/subscribernote}/delete/",
        CONFIRMED,
        "manager",
        is_gone(SubscriberNote),
    ),
    (f"{PASSWORDS}/add/", PASSWORD, "manager", exists(ApplicationPassword, name="shop")),
    (
        f"{PASSWORDS}/add/",
        PASSWORD | {"user": "{superuser}"},
        "superuser",
        exists(ApplicationPassword, name="shop"),
    ),
    (f"{PASSWORDS}/{{own}}/change/", PASSWORD, NO_ROLE, exists(ApplicationPassword, name="shop")),
    (f"{PASSWORDS}/", chosen("revoke_selected", "own"), "manager", is_revoked),
    (f"{PASSWORDS}/", chosen("revoke_selected", "other's"), "superuser", is_revoked),
    (
        f"{PASSWORDS}/{{own}}/delete/",
        CONFIRMED,
        "manager",
        is_gone(ApplicationPassword, name="own"),
    ),
    (
        f"{PASSWORDS}/{{other's}}/delete/",
        CONFIRMED,
        "superuser",
        is_gone(ApplicationPassword, name="other's"),
    ),
    *(
        row
        for path, model, least in (
            ("crm/erasure", Erasure, NO_ROLE),
            ("events/trackedevent", TrackedEvent, NO_ROLE),
            ("events/eventoccurrence", EventOccurrence, NO_ROLE),
            ("events/eventname", EventName, "manager"),
            ("events/trackingkey", TrackingKey, NO_ROLE),
            ("events/trackingswitch", TrackingSwitch, NO_ROLE),
        )
        for row in (
            (f"{path}/{{{path}}}/delete/", CONFIRMED, least, is_gone(model)),
            (f"{path}/", chosen("delete_selected", path), least, is_gone(model)),
        )
    ),
    (
        "crm/erasure/{crm/erasure}/change/",
        {"erased_by": "changed"},
        NO_ROLE,
        exists(Erasure, erased_by="changed"),
    ),
    (
        "events/trackedevent/{events/trackedevent}/change/",
        {"title": "changed"},
        NO_ROLE,
        exists(TrackedEvent, title="changed"),
    ),
    *(
        (f"automations/endpoint/{{automations/endpoint}}/{path}/", form, "manager", is_done)
        for path, form, is_done in (
            ("rotate", {}, lambda: Endpoint.objects.exclude(old_secret="").exists()),
            ("test", {}, exists(Delivery, run_id__isnull=True)),
            ("switch", {"to": "off"}, exists(Endpoint, enabled=False)),
        )
    ),
    *(
        (f"automations/delivery/{path}", form, "manager", exists(Delivery, status=status))
        for path, form, status in (
            ("release/", {}, "pending"),
            ("{automations/delivery}/send-again/", {}, "pending"),
            ("", chosen("send_again_selected", "automations/delivery"), "pending"),
            ("", chosen("cancel_selected", "automations/delivery"), "cancelled"),
        )
    ),
    ("events/trackingkey/", chosen("rotate_key", "events/trackingkey"), "manager", is_rotated),
    (
        "events/trackingswitch/{events/trackingswitch}/change/",
        {},
        "manager",
        exists(TrackingSwitch, enabled=False),
    ),
    (
        "automations/automation/add/",
        {"recipe": "welcome"},
        "manager",
        exists(Automation, title="Welcome"),
    ),
    (
        "automations/automation/{automations/automation}/change/",
        {"document": '{"title": "Eve\'s", "trigger": {"type": "manual"}}', "version": "1"},
        "manager",
        exists(Automation, title="Eve's"),
    ),
    (
        "automations/automation/{automations/automation}/state/",
        {"do": "pause"},
        "manager",
        exists(Automation, status="paused"),
    ),
    (
        "automations/automation/{automations/automation}/delete/",
        CONFIRMED,
        "manager",
        is_gone(Automation, title="Test"),
    ),
    ("automations/run/{automations/run}/cancel/", {}, "manager", exists(Run, status="cancelled")),
    (
        "crm/subscriber/",
        chosen("start_automation", "crm/subscriber", chosen="yes", automation="{open automation}"),
        "manager",
        exists(Run, source_kind="manual", automation__title="Open"),
    ),
    ("auth/user/{manager}/change/", PROMOTED, "superuser", exists(User, username="promoted")),
    ("auth/user/{manager}/delete/", CONFIRMED, "superuser", is_gone(User, username="manager")),
    (
        "auth/group/{auth/group}/change/",
        {"name": "renamed"},
        "superuser",
        exists(Group, name="renamed"),
    ),
    (
        "auth/user/{manager}/password/",
        {"password1": "to be guessed never", "password2": "to be guessed never"},
        "superuser",
        lambda: User.objects.get(username="manager").has_usable_password(),
    ),
]


def forms(allowed: bool) -> list[Any]:
    """Return the forms for each role that may send them, or that may not."""
    return [
        pytest.param(role, path, form, is_done, id=f"{role}-{path}{form.get('action', '')}")
        for path, form, least, is_done in FORMS
        for role in ROLES[1:]
        if may(role, least) is allowed
    ]


@pytest.fixture(scope="module")
def rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[RoleStore]:
    """One row of each model, and a user of each role."""
    with django_db_blocker.unblock(), role_store() as store:
        yield store


def url_patterns(patterns: list[URLPattern | URLResolver], before: str) -> Iterator[str]:
    for pattern in patterns:
        here = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from url_patterns(pattern.url_patterns, here)
        else:
            yield here


def test_every_url_of_the_admin_is_in_the_table_and_no_other(rows: RoleStore) -> None:
    patterns, *_ = admin.site.urls
    paths = [rows.url(path).partition("?")[0] for path in (*LOGIN_AND_LOGOUT, *PATHS)]
    found = {resolve(path).route for path in paths}
    assert found == {route.replace("/^", "/") for route in url_patterns(patterns, "admin/")}


@pytest.mark.parametrize(("role", "path", "status"), OPENED)
def test_a_page_opens_for_roles_that_may_see_it(
    rows: RoleStore, role: str, path: str, status: int
) -> None:
    with without_snapshots():
        response = rows.browser(role).get(rows.url(path))
    response.getvalue()  # closes the file of an export
    assert response.status_code == status


@pytest.mark.parametrize(("role", "path", "status", "location"), REFUSED)
def test_a_page_is_refused_to_other_roles(
    rows: RoleStore, role: str, path: str, status: int, location: str | None
) -> None:
    response = rows.browser(role).get(rows.url(path))
    assert (response.status_code, response.headers.get("Location")) == (status, location)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_redirects_anonymous_users_to_the_login(rows: RoleStore, path: str) -> None:
    response = rows.browser("anonymous").get(rows.url(path))
    assert response.status_code == 302
    assert response.headers["Location"].startswith(LOGIN)


@pytest.mark.parametrize("role", ["viewer", "manager", "superuser"])
def test_the_export_of_a_contact_names_it_to_roles_that_see_it(rows: RoleStore, role: str) -> None:
    with without_snapshots():
        response = rows.browser(role).get(rows.url("crm/subscriber/{crm/subscriber}/export/"))
    assert b"ada@example.com" in response.getvalue()


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("anonymous", "login/", 200),
        ("anonymous", "logout/", 302),
        *((role, "login/", 302) for role in ROLES[1:]),
        *((role, "logout/", 405) for role in ROLES[1:]),
    ],
)
def test_the_login_page_is_for_anonymous_users_and_no_link_logs_out(
    rows: RoleStore, role: str, path: str, status: int
) -> None:
    assert rows.browser(role).get(rows.url(path)).status_code == status


def submit(rows: RoleStore, role: str, path: str, form: dict[str, str]) -> Any:
    """Send a form, with the values of the rows."""
    fields = {name: rows.fill(value) for name, value in form.items()}
    return rows.browser(role).post(rows.url(path), fields)


@pytest.mark.parametrize(("role", "path", "form", "is_done"), forms(allowed=True))
def test_a_form_works_for_roles_that_may_send_it(
    rows: RoleStore, role: str, path: str, form: dict[str, str], is_done: Callable[[], bool]
) -> None:
    assert not is_done()
    submit(rows, role, path, form)
    assert is_done()


@pytest.mark.parametrize(("role", "path", "form", "is_done"), forms(allowed=False))
def test_a_form_does_nothing_for_other_roles(
    rows: RoleStore, role: str, path: str, form: dict[str, str], is_done: Callable[[], bool]
) -> None:
    submit(rows, role, path, form)
    assert not is_done()


def least_roles(allowed: Callable[[Any, HttpRequest], Iterable[str]]) -> dict[str, str]:
    """Return the least role that may do each of the things that a page of the admin allows.

    Args:
        allowed: returns what a ModelAdmin allows in a request.
    """
    found: dict[str, str] = {}
    for role in reversed(ROLES[1:]):
        request = RequestFactory().get("/")
        request.user = User.objects.get(username=role)
        for model, model_admin in admin.site._registry.items():
            for thing in allowed(model_admin, request):
                found[f"{model._meta.app_label}/{model._meta.model_name} {thing}"] = role
    return found


def test_every_action_of_the_admin_has_its_least_role_in_the_table_and_no_other(
    rows: RoleStore,
) -> None:
    assert least_roles(lambda page, request: page.get_actions(request)) == ACTIONS


def test_every_model_that_can_be_changed_has_its_least_role_in_the_table_and_no_other(
    rows: RoleStore,
) -> None:
    found = least_roles(lambda page, request: [""] * page.has_change_permission(request))
    assert {model.strip(): role for model, role in found.items()} == CHANGED


@pytest.mark.parametrize(("path", "form", "_", "is_done"), FORMS)
def test_a_form_redirects_anonymous_users_to_the_login_and_does_nothing(
    rows: RoleStore, path: str, form: dict[str, str], _: str, is_done: Callable[[], bool]
) -> None:
    response = submit(rows, "anonymous", path, form)
    assert response.status_code == 302
    assert response.headers["Location"].startswith(LOGIN)
    assert not is_done()


@pytest.mark.parametrize("path", [path for path, least, _ in PAGES if may("viewer", least)])
def test_a_viewer_sees_no_tracking_key(rows: RoleStore, path: str) -> None:
    with without_snapshots():
        page = rows.browser("viewer").get(rows.url(path)).getvalue().decode()
    assert tracking_key().key not in page
    assert tracking_key().actid not in page


@pytest.fixture
def clerk(rows: RoleStore) -> Client:
    """A browser of a user who may see and change contacts, and see no events."""
    track({"event_key": "secret", "title": "secret", "email": "ada@example.com"})
    return browser_of(staff_user("view_subscriber", "change_subscriber"))


def test_contacts_are_not_filtered_by_event_without_its_permission(clerk: Client) -> None:
    assert clerk.get(f"{CONTACTS}?did=secret").status_code == 400


@pytest.mark.parametrize("path", ["", "overview/", "crm/subscriber/"])
def test_a_page_shows_no_events_without_their_permission(clerk: Client, path: str) -> None:
    page = open_page(clerk, f"/admin/{path}").partition("<main")[2].lower()
    assert "secret" not in page
    assert "did event" not in page
    assert "last seen" not in page


@pytest.mark.parametrize("query", ["", "?piece=1", "?event_key=secret"])
def test_a_contacts_page_shows_no_events_without_their_permission(
    clerk: Client, rows: RoleStore, query: str
) -> None:
    page = open_page(clerk, rows.url("crm/subscriber/{crm/subscriber}/") + query)
    assert "secret" not in page


def test_a_contacts_page_names_the_contact_without_the_permission_for_events(
    clerk: Client, rows: RoleStore
) -> None:
    assert "ada@example.com" in open_page(clerk, rows.url("crm/subscriber/{crm/subscriber}/"))


def test_a_contact_is_not_exported_without_the_permission_for_events(
    clerk: Client, rows: RoleStore
) -> None:
    path = rows.url("crm/subscriber/{crm/subscriber}/export/")
    assert clerk.get(path).status_code == 403


@pytest.mark.parametrize(("role", "is_enabled"), [("viewer", True), ("manager", False)])
def test_the_switch_that_was_never_switched_is_switched_by_managers_only(
    rows: RoleStore, role: str, is_enabled: bool
) -> None:
    TrackingSwitch.objects.all().delete()
    rows.browser(role).post("/admin/events/trackingswitch/1/change/", {})
    assert TrackingSwitch.is_enabled() is is_enabled


def program_of(role: str, make_password: MakePassword) -> APIClient:
    """Return a client with a manage password of the role's user."""
    client = APIClient()
    secret = make_password(User.objects.get(username=role))
    client.credentials(HTTP_AUTHORIZATION=basic(role, secret))
    return client


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        (role, method, path)
        for role in ("viewer", "manager")
        for method, path, scope in CALLS
        if role == "manager" or (method == "GET" and scope)
        if path not in OF_SUPERUSERS
    ],
)
def test_a_program_of_a_viewer_reads_and_one_of_a_manager_writes(
    rows: RoleStore, make_password: MakePassword, role: str, method: str, path: str
) -> None:
    response = send(program_of(role, make_password), method, path, {})
    assert response.status_code not in (401, 403)


@pytest.mark.parametrize("role", ["viewer", "manager"])
@pytest.mark.parametrize("path", OF_SUPERUSERS)
def test_a_program_of_another_role_than_superusers_sees_no_users(
    rows: RoleStore, make_password: MakePassword, role: str, path: str
) -> None:
    assert send(program_of(role, make_password), "GET", path).status_code == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, path) for method, path, scope in CALLS if method != "GET" or not scope],
)
def test_a_program_of_a_viewer_writes_nothing(
    rows: RoleStore, make_password: MakePassword, method: str, path: str
) -> None:
    response = send(program_of("viewer", make_password), method, path, {})
    assert response.status_code == 403
