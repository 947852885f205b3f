"""Who may call: application passwords, scopes, users' permissions, the switch."""

import json
import re
from collections.abc import Callable

import psycopg
import pytest

from tests.system.server import API, Client, Server, basic

MakePassword = Callable[..., str]
FORBIDDEN = {"code": "rest_forbidden", "message": "Sorry, you are not allowed to do that."}
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}

# Every call, the scope it needs besides manage, and a body that gets past the fields.
CALLS = [
    ("POST", "/subscribers/track-event", "track"),
    ("POST", "/subscribers/track-events", "track"),
    ("GET", "/subscribers/1/tracking-events", "read"),
    ("GET", "/subscribers/1/tracking-events/1/occurrences", "read"),
    ("GET", "/subscribers/1/timeline", "read"),
    ("GET", "/subscribers", "read"),
    ("POST", "/subscribers", None),
    ("DELETE", "/subscribers", None),
    ("GET", "/subscribers/1", "read"),
    ("PUT", "/subscribers/1", None),
    ("DELETE", "/subscribers/1", None),
    ("GET", "/subscribers/1/segments", "read"),
    ("GET", "/subscribers/filter-options", "read"),
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
        )
    ),
    ("GET", "/segments", "read"),
    ("POST", "/segments", None),
    ("GET", "/segments/1", "read"),
    ("PUT", "/segments/1", None),
    ("DELETE", "/segments/1", None),
    ("GET", "/segments/1/subscribers", "read"),
    ("GET", "/custom-fields/contacts", "read"),
    ("GET", "/reports/ajax-options", "read"),
    ("GET", "/setting/experiments", "read"),
    ("POST", "/setting/experiments", None),
    ("GET", "/api/3/eventTracking", "read"),
    ("PUT", "/api/3/eventTracking", None),
    ("GET", "/api/3/eventTrackingEvents", "read"),
    ("POST", "/api/3/eventTrackingEvents", None),
    ("DELETE", "/api/3/eventTrackingEvents/1", None),
]
# Its credential, actid and key, is among its fields: test_activecampaign.py.
OPEN_CALL = ("POST", "/event")


def address(path: str) -> str:
    """ActiveCampaign's calls are at the root alone."""
    return path if path.startswith("/api/3/") else API + path


@pytest.fixture
def scoped(password: MakePassword) -> dict[str, str]:
    """A secret of each scope."""
    return {scope: password(scope) for scope in ("track", "read", "manage")}


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_a_scope_allows_its_calls_and_no_others(
    api: Client, scoped: dict[str, str], method: str, path: str, scope: str | None
) -> None:
    for tried, secret in scoped.items():
        answer = api(method, address(path), {}, auth=basic("admin", secret))
        if tried in (scope, "manage"):
            assert answer.status not in (401, 403), (tried, answer.body)
        else:
            assert answer.status == 403, (tried, answer.body)
            assert answer.json() == FORBIDDEN | {"data": {"status": 403}}


def test_every_described_call_is_in_the_table_of_scopes(api: Client) -> None:
    described = api("GET", "/api/schema/", auth=None).json()["paths"]
    found = {
        (
            method.upper(),
            re.sub(r"\{\w+\}", "1", path.removeprefix(API)),
        )
        for path, calls in described.items()
        for method in calls
    }
    assert found == {OPEN_CALL, *((method, path) for method, path, _ in CALLS)}


def test_methods_that_an_address_does_not_have_are_405_for_everybody(
    api: Client, scoped: dict[str, str]
) -> None:
    methods: dict[str, set[str]] = {}
    for method, path in [OPEN_CALL, *((method, path) for method, path, _ in CALLS)]:
        methods.setdefault(path, set()).add(method)
    for path, known in methods.items():
        where = path if path == OPEN_CALL[1] else address(path)
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - known:
            for auth in (api.auth, basic("admin", scoped["track"])):
                answer = api(method, where, {}, auth=auth)
                assert answer.status == 405, (method, where, answer.body)
                allowed = set(answer.headers["Allow"].split(", "))
                assert allowed - {"HEAD", "OPTIONS"} == known, (method, where)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_without_credentials_every_call_is_401_and_says_how(api: Client, method: str) -> None:
    for called, path, _ in CALLS:
        if called == method:
            answer = api(method, address(path), auth=None)
            assert (answer.status, answer.json()) == (401, FORBIDDEN | {"data": {"status": 401}})
            scheme = "Api-Token" if path.startswith("/api/3/") else "Basic"
            assert answer.headers["WWW-Authenticate"] == f'{scheme} realm="Tallybook"'


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
def test_nonsense_for_credentials_is_401(api: Client, header: str) -> None:
    assert api("GET", f"{API}/subscribers", auth=header).status == 401


def test_blanks_in_the_secret_are_ignored_and_it_works_as_a_bearer_token(
    api: Client, password: MakePassword
) -> None:
    whole = password("read")
    secret = " ".join(whole[start : start + 4] for start in range(0, 24, 4))
    for header in (
        basic("admin", secret),
        basic("admin", whole),
        basic("ADMIN@example.com", whole),
        f"Bearer {whole}",
        f"bearer {secret}",
    ):
        assert api("GET", f"{API}/subscribers", auth=header).status == 200, header


def test_a_right_secret_under_another_name_is_401(api: Client, password: MakePassword) -> None:
    for name in ("somebody", "", "admin2"):
        assert api("GET", f"{API}/subscribers", auth=basic(name, password("read"))).status == 401


def test_a_secret_with_one_character_changed_is_401(api: Client, password: MakePassword) -> None:
    secret = password("read")
    changed = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    assert api("GET", f"{API}/subscribers", auth=basic("admin", changed)).status == 401


def test_only_a_hash_of_the_secret_is_stored(
    store: psycopg.Connection, password: MakePassword
) -> None:
    secret = password("read")
    rows = store.execute("SELECT crm_applicationpassword::text FROM crm_applicationpassword")
    assert not any(secret in row[0] for row in rows)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE crm_applicationpassword SET revoked_at = now() WHERE prefix = %s",
        "UPDATE crm_applicationpassword SET expires_at = now() WHERE prefix = %s",
        "UPDATE auth_user u SET is_active = false FROM crm_applicationpassword p "
        "WHERE u.id = p.user_id AND p.prefix = %s",
    ],
)
def test_a_revoked_or_expired_password_and_an_inactive_user_are_401_from_the_next_request_on(
    server: Server, api: Client, store: psycopg.Connection, password: MakePassword, change: str
) -> None:
    secret = password("read")
    clients = [server.client(basic("admin", secret)) for _ in range(8)]
    try:
        assert {client("GET", f"{API}/subscribers").status for client in clients} == {200}
        store.execute(change, [secret[:8]])
        assert {client("GET", f"{API}/subscribers").status for client in clients} == {401}
    finally:
        store.execute("UPDATE auth_user SET is_active = true")
        for client in clients:
            client.close()


def test_the_switch_holds_in_every_worker_from_the_next_request_on(
    server: Server, api: Client
) -> None:
    api.contact("ada@example.com")
    clients = [server.client() for _ in range(8)]
    try:
        for word, status in (("no", 422), ("yes", 200), ("no", 422)):
            api("POST", f"{API}/setting/experiments", {"settings": {"event_tracking": word}})
            assert {client.track(**EVENT).status for client in clients} == {status}
            shown = api("GET", f"{API}/setting/experiments").json()
            assert shown == {"settings": {"event_tracking": word}}
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize("word", ["maybe", "", 1, None, ["yes"]])
def test_the_switch_takes_yes_and_no(api: Client, word: object) -> None:
    answer = api("POST", f"{API}/setting/experiments", {"event_tracking": word})
    assert (answer.status, list(answer.json())) == (422, ["event_tracking"])


def test_a_password_can_do_no_more_than_its_user(
    server: Server, api: Client, store: psycopg.Connection, password: MakePassword
) -> None:
    store.execute(
        "INSERT INTO auth_user (username, email, password, first_name, last_name, is_superuser, "
        "is_staff, is_active, date_joined) "
        "VALUES ('clerk', '', '', '', '', false, true, true, now())"
    )
    try:
        auth = basic("clerk", password("manage", "clerk"))
        contact = api.contact("ada@example.com")
        path = f"{API}/subscribers/{contact}"
        assert api("GET", path, auth=auth).status == 403
        store.execute(
            "INSERT INTO auth_user_user_permissions (user_id, permission_id) "
            "SELECT u.id, p.id FROM auth_user u, auth_permission p WHERE u.username = 'clerk' "
            "AND p.codename IN ('view_subscriber', 'change_subscriber')"
        )
        assert api("GET", path, auth=auth).status == 200
        assert api("PUT", path, {"first_name": "Ada"}, auth=auth).status == 200
        assert api("DELETE", path, auth=auth).status == 403
        # Which segments somebody is in tells of the segments.
        assert api("GET", f"{path}/segments", auth=auth).status == 403
        bulk = {"action_name": "delete_contacts", "subscriber_ids": [contact]}
        assert api("POST", f"{API}/subscribers/do-bulk-action", bulk, auth=auth).status == 403
        assert api("GET", path).status == 200
    finally:
        store.execute(
            "DELETE FROM auth_user_user_permissions; DELETE FROM crm_applicationpassword WHERE "
            "user_id IN (SELECT id FROM auth_user WHERE username = 'clerk'); "
            "DELETE FROM auth_user WHERE username = 'clerk'"
        )


def test_last_used_at_is_written_at_most_once_a_minute_and_only_by_the_right_secret(
    api: Client, store: psycopg.Connection, password: MakePassword
) -> None:
    secret = password("read")
    prefix = secret[:8]

    def last_used() -> object:
        query = "SELECT last_used_at FROM crm_applicationpassword WHERE prefix = %s"
        row = store.execute(query, [prefix]).fetchone()
        assert row
        return row[0]

    wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    api("GET", f"{API}/subscribers", auth=basic("admin", wrong))
    assert last_used() is None
    api("GET", f"{API}/subscribers", auth=basic("admin", secret))
    first = last_used()
    assert first is not None
    api("GET", f"{API}/subscribers", auth=basic("admin", secret))
    assert last_used() == first
    store.execute(
        "UPDATE crm_applicationpassword SET last_used_at = now() - interval '61 s' "
        "WHERE prefix = %s",
        [prefix],
    )
    api("GET", f"{API}/subscribers", auth=basic("admin", secret))
    assert last_used() > first  # type: ignore[operator]


def test_mass_assignment_changes_nothing_that_is_not_the_callers_to_set(
    api: Client, store: psycopg.Connection
) -> None:
    contact = api.contact(
        "ada@example.com", id=77, hash="x", user_id=5, contact_owner=5, company_id=5, created_at=1
    )
    api.track(**EVENT, counter=99, created_by=99, unlogged=99, id=5, created_at="2000-01-01")
    row = store.execute(
        "SELECT s.id = %s, contact_owner, company_id, counter, unlogged, created_by_id, "
        "e.created_at > now() - interval '1 minute' FROM crm_subscriber s, events_trackedevent e",
        [contact],
    ).fetchone()
    assert row == (True, None, None, 1, 0, 1, True)
    assert contact != 77


def test_the_description_and_its_page_need_no_password_and_load_nothing_from_elsewhere(
    api: Client,
) -> None:
    page = api("GET", "/api/docs/", auth=None)
    assert page.status == 200
    assert b"swagger" in page.body
    assert b"http://" not in page.body.replace(b"http://www.w3.org", b"")
    assert b"https://" not in page.body
    for link in set(json.loads(json.dumps(page.body.decode())).split('"')):
        if link.startswith("/static/"):
            assert api("GET", link, auth=None).status == 200, link


def test_health_and_readiness(api: Client) -> None:
    for path in ("/healthz", "/readyz"):
        answer = api("GET", path, auth=None)
        assert (answer.status, answer.json()) == (200, {"status": "ok"})
