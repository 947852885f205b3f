"""ActiveCampaign's protocol: the event call, its credential, and the API's switch and names."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest

from tests.system.server import API, ROOT, Answer, Client, Server
from tests.system.tools import counted, in_threads, statements

SPAWNED = {"success": 1, "message": "Event spawned"}
CLIENTS = ROOT / "tests" / "clients"
# As the official PHP wrapper encodes a call: version 2 has the key of the API in the address.
PHP_QUERY = "?api_key=0123456789abcdef"
PHP_BODY = (CLIENTS / "php-wrapper.txt").read_text().strip()


@pytest.fixture
def pair(store: psycopg.Connection) -> dict[str, str]:
    """actid and key of the store."""
    row = store.execute("SELECT actid, key FROM events_trackingkey").fetchone()
    assert row
    return {"actid": row[0], "key": row[1]}


@pytest.fixture
def ada(api: Client) -> int:
    return api.contact("ada@example.com")


def call(api: Client, fields: dict[str, str], path: str = "/event", **more: Any) -> Answer:
    return api("POST", path, form=fields, auth=None, **more)


def multipart(api: Client, fields: dict[str, str]) -> Answer:
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    return api("POST", "/event", body=f"{parts}--x--\r\n".encode(), headers=headers, auth=None)


def visit(**fields: Any) -> str:
    return json.dumps({"email": "ada@example.com"} | fields)


def failed(answer: Answer, message: str) -> None:
    assert (answer.status, answer.json()) == (200, {"success": 0, "message": message})


def test_an_event_is_counted_on_the_contact_of_the_visit(
    api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int
) -> None:
    fields = {"event": "my_custom_event", "eventdata": "12345", "api_key": "anything"}
    came_from = {
        **{"url": "https://shop.example/?a=1&b=ü", "referrer": "r", "ip4": "192.0.2.1"},
        **{"ip6": "2001:db8::1", "ua": "Mozilla/5.0", "browser": "b", "platform": "p"},
        **{"device": "d", "utm_source": "s", "utm_campaign": "c", "utm_medium": "m"},
        **{"utm_term": "t", "utm_content": "co"},
    }
    answer = call(api, pair | fields | {"visit": visit(**came_from, other="x")})
    assert (answer.status, answer.json()) == (200, SPAWNED)
    assert answer.headers["Content-Type"] == "application/json"
    row = store.execute(
        "SELECT e.subscriber_id, e.event_key, e.title, e.value, e.provider, e.counter, "
        "e.created_by_id, o.context, o.properties "
        "FROM events_trackedevent e JOIN events_eventoccurrence o ON o.event_id = e.id"
    ).fetchone()
    assert row == (
        *(ada, "my_custom_event", "my_custom_event", "12345", "activecampaign", 1, None),
        *(came_from, {}),
    )


@pytest.mark.parametrize("way", ["json", "brackets", "multipart", "query", "both"])
def test_the_visit_comes_in_every_way_that_programs_send_it(
    api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int, way: str
) -> None:
    plain = pair | {"event": "seen", "eventdata": "é & ü"}
    brackets = plain | {"visit[email]": "ADA@example.com", "visit[ip4]": "192.0.2.1"}
    if way == "json":
        answer = call(api, plain | {"visit": visit(ip4="192.0.2.1")})
    elif way == "brackets":
        answer = call(api, brackets)
    elif way == "multipart":
        answer = multipart(api, brackets)
    elif way == "query":
        answer = api("POST", f"/event?{urlencode(brackets)}", auth=None)
    else:
        answer = call(api, brackets, f"/event/?{urlencode({'event': 'overridden'})}")
    assert (answer.status, answer.json()) == (200, SPAWNED)
    row = store.execute("SELECT event_key, value, context FROM events_eventoccurrence").fetchone()
    assert row == ("seen", "é & ü", {"ip4": "192.0.2.1"})


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "text/xml"])
def test_other_bodies_are_415(
    api: Client, pair: dict[str, str], ada: int, content_type: str
) -> None:
    body = json.dumps(pair | {"event": "e", "visit": visit()}).encode()
    headers = {"Content-Type": content_type}
    assert api("POST", "/event", body=body, headers=headers, auth=None).status == 415


@pytest.mark.parametrize("missing", ["", " "])
def test_what_is_missing_is_told_in_one_sentence(
    api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int, missing: str
) -> None:
    whole = pair | {"event": "e", "visit": visit()}
    for field, message in {
        "actid": "An account ID must be provided.",
        "key": "An event key must be provided.",
        "event": "An event name must be provided.",
    }.items():
        failed(call(api, whole | {field: missing}), message)
        without = {name: value for name, value in whole.items() if name != field}
        failed(call(api, without), message)
    assert counted(store) == (0, 0)
    assert store.execute("SELECT count(*) FROM events_eventname").fetchone() == (0,)


def test_a_wrong_account_or_key_is_refused_alike(
    api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int
) -> None:
    whole = pair | {"event": "e", "visit": visit()}
    for wrong in (
        {"actid": "1"},
        {"key": "ü"},
        {"key": pair["key"] + "0"},
        {"key": pair["key"][:-1]},
        {"actid": pair["key"], "key": pair["actid"]},
        {"key": "%"},
    ):
        failed(call(api, whole | wrong), "The account ID or the event key is wrong.")
    assert counted(store) == (0, 0)


def test_switched_off_nothing_is_saved_not_even_a_name(
    api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int
) -> None:
    api("POST", f"{API}/setting/experiments", {"event_tracking": "no"})
    for fields in ({"visit": visit()}, {}):
        failed(call(api, pair | {"event": "e"} | fields), "Event tracking is not enabled.")
    assert counted(store) == (0, 0)
    assert store.execute("SELECT count(*) FROM events_eventname").fetchone() == (0,)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (visit(email="nobody@example.com"), "There is no contact with this email address."),
        (visit(email="nonsense"), "There is no contact with this email address."),
        (visit(email="[object Object]"), "A valid email address must be provided."),
        (visit(email="undefined"), "A valid email address must be provided."),
        (visit(email="null"), "A valid email address must be provided."),
        (visit(email=["ada@example.com"]), "The email in visit must be a text."),
        (visit(ip4={"a": 1}), "The ip4 in visit must be a text."),
        ("[object Object]", "The visit must be an object or its JSON."),
        ("{broken", "The visit must be an object or its JSON."),
        ("5", "The visit must be an object."),
        ('["ada@example.com"]', "The visit must be an object."),
        (visit(url="x" * 70_000), "The visit may not be greater than 64 KB."),
        (visit(url="\0"), "The url in visit must be a text."),
    ],
)
def test_a_visit_that_names_nobody_or_is_none_fails_and_stores_nothing(
    api: Client,
    store: psycopg.Connection,
    pair: dict[str, str],
    ada: int,
    sent: str,
    message: str,
) -> None:
    failed(call(api, pair | {"event": "e", "visit": sent}), message)
    assert counted(store) == (0, 0)
    assert store.execute("SELECT count(*) FROM events_eventname").fetchone() == (0,)


@pytest.mark.parametrize("sent", [None, "", "{}", "[]", "null", '{"email":""}', '{"ip4":"x"}'])
def test_an_event_without_an_email_is_a_name_in_the_catalogue(
    api: Client, store: psycopg.Connection, pair: dict[str, str], sent: str | None
) -> None:
    fields = pair | {"event": "  my   event "} | ({} if sent is None else {"visit": sent})
    for _ in range(2):
        assert call(api, fields).json() == SPAWNED
    assert store.execute("SELECT name FROM events_eventname").fetchall() == [("my event",)]
    assert counted(store) == (0, 0)


def test_a_value_that_is_too_long_and_a_body_that_cannot_be_read_fail_in_words(
    api: Client, pair: dict[str, str], ada: int
) -> None:
    fields = pair | {"event": "e", "visit": visit()}
    failed(
        call(api, fields | {"eventdata": "x" * 65_536}),
        "The eventdata may not be greater than 65535 characters.",
    )
    failed(call(api, fields | {"event[a]": "b"}), "The event must be a string.")
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = api("POST", "/event", body=b"actid=%ff", headers=headers, auth=None)
    failed(answer, "The request could not be understood.")
    many = {f"f{number}": "" for number in range(1200)}
    failed(call(api, fields | many), "The request could not be understood.")
    failed(multipart(api, fields | many), "The request could not be understood.")


def test_a_retry_with_a_key_counts_once(
    api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int
) -> None:
    fields = pair | {"event": "e", "visit": visit()}
    header = {"Idempotency-Key": "a"}
    first, again = (call(api, fields, headers=header) for _ in range(2))
    assert (first.json(), again.json()) == (SPAWNED, SPAWNED)
    assert first.headers["Idempotency-Replayed"] is None
    assert again.headers["Idempotency-Replayed"] == "true"
    assert call(api, fields | {"idempotency_key": "a"}).json() == SPAWNED
    failed(
        call(api, fields | {"eventdata": "1"}, headers=header),
        "This idempotency key was used before with other content",
    )
    failed(
        call(api, fields, headers={"Idempotency-Key": ""}),
        "The idempotency_key must be at least 1 character.",
    )
    failed(
        call(api, pair | {"event": "e"}, headers={"Idempotency-Key": "k" * 256}),
        "The idempotency_key may not be greater than 255 characters.",
    )
    assert counted(store) == (1, 1)


def test_many_calls_at_once_count_exactly(
    server: Server, api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int
) -> None:
    clients = [server.client(None) for _ in range(16)]
    fields = pair | {"event": "e", "visit": visit()}

    def work(index: int) -> set[int]:
        return {call(clients[index], fields).json()["success"] for _ in range(20)}

    assert in_threads(16, work) == [{1}] * 16
    assert counted(store) == (320, 320)
    for client in clients:
        client.close()


def test_a_call_costs_2_statements(
    api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int
) -> None:
    def work() -> None:
        assert call(api, pair | {"event": "e", "visit": visit()}).json() == SPAWNED

    assert statements(store, work) == 2


def test_the_credential_is_made_at_the_first_start_shown_and_rotated(
    server: Server, api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int
) -> None:
    said = server.manage("tracking_keys").splitlines()
    assert said[-1] == f"actid={pair['actid']} key={pair['key']}"
    rotated = server.manage("tracking_keys", "--rotate").splitlines()[-1]
    assert server.manage("tracking_keys").splitlines()[-1] == rotated
    new = dict(part.split("=") for part in rotated.split())
    assert new["actid"] == pair["actid"]
    assert new["key"] != pair["key"]
    event = {"event": "e", "visit": visit()}
    failed(call(api, pair | event), "The account ID or the event key is wrong.")
    assert call(api, new | event).json() == SPAWNED


# ---- The API, version 3


@pytest.fixture
def token(password: Callable[..., str]) -> dict[str, str]:
    """The header of a program that may do everything."""
    return {"Api-Token": password("manage")}


def test_the_switch_is_the_one_of_fluentcrm(api: Client, token: dict[str, str], ada: int) -> None:
    path = "/api/3/eventTracking"

    def seen() -> tuple[Any, Any]:
        ours = api("GET", path, headers=token, auth=None)
        theirs = api("GET", f"{API}/setting/experiments")
        return ours.json(), theirs.json()["settings"]["event_tracking"]

    assert seen() == ({"eventTracking": {"enabled": True}}, "yes")
    for enabled, word in ((False, "no"), (True, "yes")):
        body = {"eventTracking": {"enabled": enabled}}
        answer = api("PUT", path, body, headers=token, auth=None)
        assert (answer.status, answer.json()) == (200, body)
        assert seen() == (body, word)


@pytest.mark.parametrize(
    "body",
    [{}, {"enabled": False}, {"eventTracking": {}}, {"eventTracking": {"enabled": "maybe"}}, [1]],
)
def test_a_switch_that_says_neither_is_422_and_changes_nothing(
    api: Client, token: dict[str, str], body: Any
) -> None:
    answer = api("PUT", "/api/3/eventTracking", body, headers=token, auth=None)
    assert (answer.status, list(answer.json())) == (422, ["enabled"])
    assert api("GET", "/api/3/eventTracking", headers=token).json()["eventTracking"]["enabled"]


def names(api: Client, query: str = "") -> dict[str, Any]:
    found: dict[str, Any] = api("GET", f"/api/3/eventTrackingEvents{query}").json()
    return found


def test_the_catalogue_has_the_names_of_every_protocol(
    api: Client, pair: dict[str, str], ada: int
) -> None:
    call(api, pair | {"event": "b", "visit": visit()})
    call(api, pair | {"event": "d"})
    api.track(event_key="a", title="t", email="ada@example.com")
    event = {"event_key": "c", "title": "t", "email": "ada@example.com"}
    api("POST", f"{API}/subscribers/track-events", {"events": [event, event]})
    api.track(event_key="refused", title="t", email="nobody@example.com")
    assert names(api) == {
        "eventTrackingEvents": [{"name": name} for name in "abcd"],
        "meta": {"total": 4},
    }
    assert names(api, "?limit=2&offset=1") == {
        "eventTrackingEvents": [{"name": "b"}, {"name": "c"}],
        "meta": {"total": 4},
    }


def test_a_name_is_made_201_and_deleted_without_its_history(
    api: Client, store: psycopg.Connection, token: dict[str, str], ada: int
) -> None:
    path = "/api/3/eventTrackingEvents"
    body = {"eventTrackingEvent": {"name": "Lesson 3/ü?"}}
    made = api("POST", path, body, headers=token, auth=None)
    assert (made.status, made.json()) == (201, body)
    assert api("POST", path, body, headers=token, auth=None).status == 200
    api.track(event_key="Lesson 3/ü?", title="t", email="ada@example.com")
    address = f"{path}/{quote('Lesson  3/ü?', safe='')}/"
    deleted = api("DELETE", address, headers=token, auth=None)
    assert (deleted.status, deleted.json()) == (200, {})
    assert names(api)["meta"]["total"] == 0
    assert counted(store) == (1, 1)
    answer = api("DELETE", address, headers=token, auth=None)
    assert (answer.status, answer.json()) == (404, {"message": "Event name not found"})
    assert api("DELETE", f"{path}/%00", headers=token, auth=None).status == 404
    # The next event brings it back.
    api.track(event_key="Lesson 3/ü?", title="t", email="ada@example.com")
    assert names(api)["eventTrackingEvents"] == [{"name": "Lesson 3/ü?"}]


def test_a_slash_at_the_end_of_a_name_is_its_own(api: Client, token: dict[str, str]) -> None:
    path = "/api/3/eventTrackingEvents"
    for name in ("a", "a/"):
        api("POST", path, {"eventTrackingEvent": {"name": name}}, headers=token, auth=None)
    assert api("DELETE", f"{path}/a%2F", headers=token, auth=None).status == 200
    assert names(api)["eventTrackingEvents"] == [{"name": "a"}]


@pytest.mark.parametrize("body", [{}, {"eventTrackingEvent": {"name": " "}}, {"name": "x"}])
def test_a_name_that_is_missing_is_422(api: Client, token: dict[str, str], body: Any) -> None:
    answer = api("POST", "/api/3/eventTrackingEvents", body, headers=token, auth=None)
    assert (answer.status, list(answer.json())) == (422, ["name"])


@pytest.mark.parametrize("secret", ["", "x", "ü", "wrong wrong wrong wrong "])
def test_a_wrong_token_is_401(api: Client, secret: str) -> None:
    headers = {"Api-Token": secret.encode().decode("latin-1")}
    assert api("GET", "/api/3/eventTracking", headers=headers, auth=None).status == 401


# ---- Real clients


def test_the_recorded_call_of_the_php_wrapper_counts(
    api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int
) -> None:
    body = PHP_BODY.replace("ACTID", pair["actid"]).replace("KEY", pair["key"])
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = api("POST", f"/event{PHP_QUERY}", body=body.encode(), headers=headers, auth=None)
    assert (answer.status, answer.json()) == (200, SPAWNED)
    row = store.execute("SELECT event_key, value FROM events_eventoccurrence").fetchone()
    assert row == ("my_custom_event", "12345 & more")


def test_the_npm_package_works_with_another_host_and_nothing_else_changed(
    server: Server, api: Client, store: psycopg.Connection, pair: dict[str, str], ada: int
) -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed: apt-get install nodejs npm")
    if not (CLIENTS / "node_modules" / "activecampaign").exists():
        pytest.skip("the npm package is not installed: make install")
    event = {"event": "my_custom_event", "eventdata": "12345"}

    def run(**change: Any) -> Any:
        given = {
            "url": f"http://127.0.0.1:{server.port}/event",
            "email": "ada@example.com",
            "version": 1,
            "calls": [event, event | {"visit": {"ip4": "192.0.2.1"}}, event | {"eventdata": 7}],
            **pair,
            **change,
        }
        done = subprocess.run(
            [node, str(Path(CLIENTS / "track.js"))],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    assert run() == [SPAWNED] * 3
    assert counted(store) == (3, 3)
    assert run(email="nobody@example.com", calls=[event]) == [
        {"success": 0, "message": "There is no contact with this email address."}
    ]
    assert run(actid="", calls=[event]) == [
        {"success": 0, "message": "An account ID must be provided."}
    ]
    # Version 2 has the key of the API in the address.
    assert run(version=2, calls=[event]) == [SPAWNED]
    # Without track_email its `visit` goes as it is.
    assert run(email="", calls=[event | {"visit": {"email": "ada@example.com"}}]) == [SPAWNED]
    assert counted(store) == (5, 5)
