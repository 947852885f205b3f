"""A password that ends and the tracking switch take effect in every worker at once."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.system.server import API, Client, Server, basic

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}
CONNECTIONS = 8


@pytest.fixture
def secret(http: Client, password: Callable[..., str]) -> str:
    """The secret of a password of "admin" with the scope read."""
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
    """CONNECTIONS connections, each with a manage password."""
    clients = [server.client() for _ in range(CONNECTIONS)]
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def active_users(sql: psycopg.Connection) -> Iterator[None]:
    """Make all users active again after the test."""
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
    active_users: None,
    store: psycopg.Connection,
    secret: str,
    readers: list[Client],
    change: str,
) -> None:
    assert {client("GET", f"{API}/subscribers").status for client in readers} == {200}
    store.execute(change, [secret[:8]])
    assert {client("GET", f"{API}/subscribers").status for client in readers} == {401}


@pytest.fixture
def switch(http: Client, ada_id: int) -> Callable[[str], None]:
    """`switch("no")` switches tracking off, and checks that the setting is shown."""

    def set_to(word: str) -> None:
        settings = {"settings": {"event_tracking": word}}
        http("POST", f"{API}/setting/experiments", settings)
        assert http("GET", f"{API}/setting/experiments").json() == settings

    return set_to


STATUSES = {"yes": 200, "no": 422}


@pytest.mark.parametrize(("before", "after"), [("yes", "no"), ("no", "yes")])
def test_the_switch_takes_effect_in_every_worker_from_the_next_request_on(
    switch: Callable[[str], None], trackers: list[Client], before: str, after: str
) -> None:
    switch(before)
    assert {client.track(**EVENT).status for client in trackers} == {STATUSES[before]}
    switch(after)
    assert {client.track(**EVENT).status for client in trackers} == {STATUSES[after]}
