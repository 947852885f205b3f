"""Access to the API: application passwords, scopes, permissions of users, the switch."""

import re
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from rest_framework.test import APIClient

from crm.models import ApplicationPassword, Subscriber
from crm.passwords import revoke
from events.models import TrackedEvent
from tests.api.calls import ABSENT_CALLS, ANY, CALLS, OPEN_CALL, OTHERS, SITE_TRACKING_CALLS, send
from tests.api.conftest import MakePassword, basic

PREFIX = "/wp-json/fluent-crm/v2"
FORBIDDEN = {"code": "rest_forbidden", "message": "Sorry, you are not allowed to do that."}
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}


def call(method: str, path: str, header: str | None = None, data: Any = None) -> Any:
    """Send a request with this Authorization header, and no CSRF token."""
    client = APIClient(enforce_csrf_checks=True)
    if header is not None:
        client.credentials(HTTP_AUTHORIZATION=header)
    return send(client, method, path, data)


SCOPES = ("track", "read", "manage")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        (method, path, scope)
        for method, path, needed in CALLS
        for scope in SCOPES
        if needed == ANY or scope in (needed, "manage")
    ],
)
def test_a_scope_allows_its_calls(
    admin: User, make_password: MakePassword, method: str, path: str, scope: str
) -> None:
    response = call(method, path, basic("admin", make_password(admin, scope)), {})
    assert response.status_code not in (401, 403)


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        (method, path, scope)
        for method, path, needed in CALLS
        for scope in SCOPES
        if needed != ANY and scope not in (needed, "manage")
    ],
)
def test_a_scope_allows_no_other_calls(
    admin: User, make_password: MakePassword, method: str, path: str, scope: str
) -> None:
    response = call(method, path, basic("admin", make_password(admin, scope)), {})
    assert response.status_code == 403
    assert response.json() == FORBIDDEN | {"data": {"status": 403}}


def test_every_described_call_is_in_the_table_of_scopes(anonymous: APIClient) -> None:
    paths = anonymous.get("/api/schema/").json()["paths"]
    found = {
        (method.upper(), re.sub(r"\{\w+\}", "1", path.removeprefix(PREFIX)))
        for path, calls in paths.items()
        for method in calls
    }
    described = {OPEN_CALL, *((method, path) for method, path, _ in CALLS)}
    refused = {(method, path) for method, path, _ in (*ABSENT_CALLS, *SITE_TRACKING_CALLS)}
    assert found == described - refused


KNOWN_METHODS: dict[str, set[str]] = {}
for known_method, known_path in [OPEN_CALL, *((method, path) for method, path, _ in CALLS)]:
    KNOWN_METHODS.setdefault(known_path, set()).add(known_method)
OTHER_METHODS = [
    (method, path)
    for path, known in KNOWN_METHODS.items()
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    if method not in known
]


@pytest.mark.parametrize("scope", ["track", "manage"])
@pytest.mark.parametrize(("method", "path"), OTHER_METHODS)
def test_a_method_that_a_url_does_not_have_is_405_with_any_scope(
    admin: User, make_password: MakePassword, method: str, path: str, scope: str
) -> None:
    response = call(method, path, basic("admin", make_password(admin, scope)), {})
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == KNOWN_METHODS[path]


FLUENTCRM_CALLS = [(method, path) for method, path, _ in CALLS if not path.startswith(OTHERS)]
ACTIVECAMPAIGN_CALLS = [(method, path) for method, path, _ in CALLS if path.startswith("/api/3/")]


@pytest.mark.parametrize("mount", [PREFIX, ""])
@pytest.mark.parametrize(("method", "path"), FLUENTCRM_CALLS)
def test_a_call_without_credentials_is_401_and_asks_for_basic(
    db: None, method: str, path: str, mount: str
) -> None:
    response = call(method, mount + path)
    assert response.status_code == 401
    assert response.json() == FORBIDDEN | {"data": {"status": 401}}
    assert response.headers["WWW-Authenticate"] == 'Basic realm="Tallybook"'


@pytest.mark.parametrize(("method", "path"), ACTIVECAMPAIGN_CALLS)
def test_an_activecampaign_call_without_credentials_is_401_and_asks_for_a_token(
    db: None, method: str, path: str
) -> None:
    response = call(method, path)
    assert response.status_code == 401
    assert response.json() == FORBIDDEN | {"data": {"status": 401}}
    assert response.headers["WWW-Authenticate"] == 'Api-Token realm="Tallybook"'


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Basic " + "A" * 5000,
        basic("admin", ""),
        basic("", ""),
        basic("admin", "wrong wrong wrong"),
        basic("admin", "a\0b"),
        basic("admin", "ünïcödé" * 4),
        "Bearer",
        "Bearer x",
        "Bearer \x80",
        "Digest abc",
        "x",
    ],
)
def test_an_authorization_header_that_makes_no_sense_is_401(admin: User, header: str) -> None:
    assert call("GET", "/subscribers", header).status_code == 401


def in_groups(secret: str) -> str:
    """Write a secret as it is shown: four characters, a blank, and so on."""
    return " ".join(secret[start : start + 4] for start in range(0, 24, 4))


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(lambda secret: basic("admin", secret), id="user name"),
        pytest.param(lambda secret: basic("admin", in_groups(secret)), id="blanks"),
        pytest.param(lambda secret: basic("ADMIN@example.com", secret), id="e-mail in capitals"),
        pytest.param(lambda secret: f"Bearer {secret}", id="Bearer"),
        pytest.param(lambda secret: f"bearer {in_groups(secret)}", id="bearer with blanks"),
    ],
)
def test_a_secret_is_accepted_by_basic_and_as_a_bearer_token(
    admin: User, make_password: MakePassword, header: Callable[[str], str]
) -> None:
    secret = make_password(admin, "read")
    assert call("GET", "/subscribers", header(secret)).status_code == 200


@pytest.mark.parametrize("username", ["somebody", "", "admin2"])
def test_a_right_secret_under_another_user_name_is_401(
    admin: User, make_password: MakePassword, username: str
) -> None:
    secret = make_password(admin, "read")
    assert call("GET", "/subscribers", basic(username, secret)).status_code == 401


def with_another_last_character(secret: str) -> str:
    return secret[:-1] + ("a" if secret[-1] != "a" else "b")


def test_a_secret_with_one_character_changed_is_401(
    admin: User, make_password: MakePassword
) -> None:
    changed = with_another_last_character(make_password(admin, "read"))
    assert call("GET", "/subscribers", basic("admin", changed)).status_code == 401


def test_only_a_hash_of_the_secret_is_stored(admin: User, make_password: MakePassword) -> None:
    secret = make_password(admin, "read")
    row = ApplicationPassword.objects.values().get()
    assert secret.startswith(row["prefix"])
    assert secret not in str(row)
    assert in_groups(secret) not in str(row)


def revoke_all() -> None:
    revoke(list(ApplicationPassword.objects.values_list("id", flat=True)))


def expire_all() -> None:
    ApplicationPassword.objects.update(expires_at=timezone.now())


def deactivate_users() -> None:
    User.objects.update(is_active=False)


@pytest.mark.parametrize("end", [revoke_all, expire_all, deactivate_users])
def test_a_revoked_or_expired_password_or_one_of_an_inactive_user_is_401(
    admin: User, make_password: MakePassword, end: Callable[[], None]
) -> None:
    header = basic("admin", make_password(admin, "read"))
    assert call("GET", "/subscribers", header).status_code == 200
    end()
    assert call("GET", "/subscribers", header).status_code == 401


def test_the_switch_stops_tracking_and_is_shown(api: APIClient, ada: Subscriber) -> None:
    api.post("/setting/experiments", {"settings": {"event_tracking": "no"}})
    assert api.post("/subscribers/track-event", EVENT).status_code == 422
    shown = api.get("/setting/experiments").json()
    assert shown == {"settings": {"event_tracking": "no"}}


def test_the_switch_starts_tracking_again_and_is_shown(api: APIClient, ada: Subscriber) -> None:
    api.post("/setting/experiments", {"settings": {"event_tracking": "no"}})
    api.post("/setting/experiments", {"settings": {"event_tracking": "yes"}})
    assert api.post("/subscribers/track-event", EVENT).status_code == 200
    shown = api.get("/setting/experiments").json()
    assert shown == {"settings": {"event_tracking": "yes"}}


@pytest.mark.parametrize("word", ["No", "off", False, 0])
def test_the_switch_reads_any_word_for_false(api: APIClient, word: object) -> None:
    api.post("/setting/experiments", {"event_tracking": word})
    assert api.get("/setting/experiments").json()["settings"] == {"event_tracking": "no"}


@pytest.mark.parametrize("settings", ['{"event_tracking":"no"}', {"event_tracking": "no"}])
def test_the_settings_may_be_json_text(api: APIClient, settings: object) -> None:
    response = api.post("/setting/experiments", {"settings": settings})
    assert response.json() == {"message": "Settings has been updated"}
    assert api.get("/setting/experiments").json()["settings"] == {"event_tracking": "no"}


@pytest.mark.parametrize("body", [{}, {"settings": []}, {"settings": {}}, {"settings": {"a": 1}}])
def test_settings_without_the_switch_are_told(api: APIClient, body: object) -> None:
    response = api.post("/setting/experiments", body)
    assert response.status_code == 200
    assert [warning["field"] for warning in response.json()["warnings"]] == ["event_tracking"]


@pytest.mark.parametrize("settings", ["yes", "{", "[1]", [1], 5])
def test_settings_that_are_no_object_are_rejected(api: APIClient, settings: object) -> None:
    response = api.post("/setting/experiments", {"settings": settings})
    assert (response.status_code, list(response.json())) == (422, ["settings"])


@pytest.mark.parametrize("word", ["maybe", "", 2, None, ["yes"]])
def test_the_switch_rejects_other_words_than_yes_and_no(api: APIClient, word: object) -> None:
    response = api.post("/setting/experiments", {"event_tracking": word})
    assert (response.status_code, list(response.json())) == (422, ["event_tracking"])


@pytest.fixture
def clerk(db: None) -> User:
    """A user who is no superuser, with no permission yet."""
    return User.objects.create(username="clerk", is_staff=True)


@pytest.fixture
def clerk_api(clerk: User, make_password: MakePassword) -> APIClient:
    """A client with a password of the clerk, scope manage."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=basic("clerk", make_password(clerk, "manage")))
    return client


def test_a_password_of_a_user_without_permissions_allows_no_call(
    clerk_api: APIClient, ada: Subscriber
) -> None:
    assert clerk_api.get(f"/subscribers/{ada.id}").status_code == 403


@pytest.fixture
def granted(clerk: User) -> None:
    """The clerk may see and change contacts, and no more."""
    codenames = ["view_subscriber", "change_subscriber"]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=codenames))


@pytest.mark.parametrize(("method", "data"), [("GET", None), ("PUT", {"first_name": "Ada"})])
def test_a_password_allows_what_its_user_may(
    granted: None, clerk_api: APIClient, ada: Subscriber, method: str, data: dict[str, str] | None
) -> None:
    assert send(clerk_api, method, f"/subscribers/{ada.id}", data).status_code == 200


# The segments of a contact tell of the segments.
@pytest.mark.parametrize(("method", "below"), [("DELETE", ""), ("GET", "/segments")])
def test_a_password_allows_no_more_than_its_user_may(
    granted: None, clerk_api: APIClient, ada: Subscriber, method: str, below: str
) -> None:
    assert send(clerk_api, method, f"/subscribers/{ada.id}{below}").status_code == 403
    assert Subscriber.objects.get() == ada


def test_a_user_who_may_not_delete_contacts_cannot_by_a_bulk_action(
    granted: None, clerk_api: APIClient, ada: Subscriber
) -> None:
    fields = {"action_name": "delete_contacts", "subscriber_ids": [ada.id]}
    assert clerk_api.post("/subscribers/do-bulk-action", fields).status_code == 403
    assert Subscriber.objects.get() == ada


def last_used_at() -> datetime | None:
    return ApplicationPassword.objects.get().last_used_at


def test_a_wrong_secret_does_not_change_last_used_at(
    admin: User, make_password: MakePassword
) -> None:
    wrong = with_another_last_character(make_password(admin, "read"))
    call("GET", "/subscribers", basic("admin", wrong))
    assert last_used_at() is None


def test_last_used_at_is_written_at_most_once_a_minute(
    admin: User, make_password: MakePassword
) -> None:
    header = basic("admin", make_password(admin, "read"))
    call("GET", "/subscribers", header)
    first = last_used_at()
    assert first is not None
    call("GET", "/subscribers", header)
    assert last_used_at() == first


def test_last_used_at_is_written_again_after_a_minute(
    admin: User, make_password: MakePassword
) -> None:
    header = basic("admin", make_password(admin, "read"))
    call("GET", "/subscribers", header)
    first = last_used_at()
    ApplicationPassword.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    call("GET", "/subscribers", header)
    second = last_used_at()
    assert first is not None
    assert second is not None
    assert second > first


def test_fields_of_a_contact_that_a_caller_may_not_set_are_ignored(
    api: APIClient, admin: User
) -> None:
    given = {"id": 987654321, "hash": "x", "contact_owner": 5, "company_id": 5}
    fields = {"email": "ada@example.com", "status": "subscribed", **given, "created_at": 1}
    assert api.post("/subscribers", fields).status_code == 200
    contact = Subscriber.objects.get()
    assert contact.id != 987654321
    shown = api.get(f"/subscribers/{contact.id}").json()["subscriber"]
    assert shown["hash"] == "3e3417d7ef77d5932a6734b916515ed5"
    assert (contact.contact_owner, contact.company_id) == (None, None)
    assert contact.created_at > timezone.now() - timedelta(minutes=1)


def test_fields_of_an_event_that_a_caller_may_not_set_are_ignored(
    api: APIClient, admin: User, ada: Subscriber
) -> None:
    given = {"counter": 99, "created_by": 99, "unlogged": 99, "id": 987654321}
    fields = {**EVENT, **given, "created_at": "2000-01-01"}
    assert api.post("/subscribers/track-event", fields).status_code == 200
    event = TrackedEvent.objects.get()
    assert event.id != 987654321
    assert (event.counter, event.unlogged, event.created_by_id) == (1, 0, admin.id)
    assert event.created_at > timezone.now() - timedelta(minutes=1)


def test_the_page_of_the_description_needs_no_password_and_no_other_host(
    anonymous: APIClient,
) -> None:
    response = anonymous.get("/api/docs/")
    assert response.status_code == 200
    assert b"swagger" in response.content
    assert b"http://" not in response.content.replace(b"http://www.w3.org", b"")
    assert b"https://" not in response.content


def test_every_static_file_of_the_description_page_is_served(anonymous: APIClient) -> None:
    page = anonymous.get("/api/docs/").content.decode()
    links = {link for link in page.split('"') if link.startswith("/static/")}
    assert links
    statuses = {}
    for link in links:
        with closing(anonymous.get(link)) as response:
            statuses[link] = response.status_code
    assert statuses == dict.fromkeys(links, 200)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_and_readiness_need_no_password(anonymous: APIClient, path: str) -> None:
    response = anonymous.get(path)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
