"""A revoked password and the switch: every worker obeys from the next request on."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.system.server import API, Client, Server, basic

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
CONNECTIONS = 8


@pytest.fixture
def secret(http: Client, password: Callable[..., str]) -> str:
    """A secret of the admin, scope read."""
    return password("read")


@pytest.fixture
def readers(server: Server, secret: str) -> Iterator[list[Client]]:
    """Enough connections with this secret to meet every worker."""
    clients = [server.client(basic("admin", secret)) for _ in range(CONNECTIONS)]
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def trackers(server: Server, http: Client) -> Iterator[list[Client]]:
    """As many as the server's own admin."""
    clients = [server.client() for _ in range(CONNECTIONS)]
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def users(sql: psycopg.Connection) -> Iterator[None]:
    """Make users active again afterwards."""
    yield
    sql.execute("UPDATE auth_user SET is_active = true")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE crm_applicationpassword SET revoked_at = now() WHERE prefix = %s",
        "UPDATE crm_applicationpassword SET expires_at = now() WHERE prefix = %s",
        "UPDATE auth_user u SET is_active = false FROM crm_applicationpassword p "
        "WHERE u.id = p.user_id AND p.prefix = %s",
    ],
    ids=["revoked", "expired", "inactive user"],
)
def test_a_password_that_ends_is_401_in_every_worker_from_the_next_request_on(
    users: None, store: psycopg.Connection, secret: str, readers: list[Client], change: str
) -> None:
    assert {client("GET", f"{API}/subscribers").status for client in readers} == {200}
    store.execute(change, [secret[:8]])
    assert {client("GET", f"{API}/subscribers").status for client in readers} == {401}


def test_the_switch_holds_in_every_worker_from_the_next_request_on(
    http: Client, trackers: list[Client]
) -> None:
    http.contact("ada@example.com")
    for word, status in (("no", 422), ("yes", 200), ("no", 422)):
        http("POST", f"{API}/setting/experiments", {"settings": {"event_tracking": word}})
        assert {client.track(**EVENT).status for client in trackers} == {status}
        shown = http("GET", f"{API}/setting/experiments").json()
        assert shown == {"settings": {"event_tracking": word}}
