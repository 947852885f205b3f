"""The number of statements that a call about contacts costs, the look-up of its login included."""

from typing import Any

import psycopg
import pytest

from tests.system.database import count_deadlocks, count_statements, fetch_value
from tests.system.server import API, Client, Server
from tests.system.threads import in_threads

LABELS = {"tags": ["vip"], "lists": ["News"]}
ADA = {"email": "ada@example.com", "status": "subscribed"}
# Two of them are BEGIN and COMMIT where a call writes. PostgreSQL adds checks of the foreign keys,
# two for each label that is attached.
CALLS: list[tuple[str, str, Any, int]] = [
    ("GET", "/subscribers/{id}?with[]=tags&with[]=lists", None, 3),
    ("GET", "/subscribers/0?get_by_email=ada@example.com", None, 3),
    ("GET", "/subscribers", None, 3),
    ("GET", "/subscribers/{id}/timeline", None, 2),
    # Of a new e-mail, two look for aliases: before the contact is created, and afterwards.
    (
        *("POST", "/subscribers"),
        {"email": "new@example.com", "status": "subscribed", **LABELS},
        9 + 4,
    ),
    ("POST", "/subscribers", {**ADA, **LABELS, "city": "Rome", "__force_update": "yes"}, 8),
    ("PUT", "/subscribers/{id}", {"city": "Rome"}, 5),
    ("PUT", "/subscribers/{id}", {"city": "Rome", "detach_tags": ["vip"]}, 8),
]


@pytest.mark.parametrize(("method", "path", "body", "number"), CALLS)
def test_a_call_about_contacts_costs_few_statements(
    http: Client,
    store: psycopg.Connection,
    ada_id: int,
    method: str,
    path: str,
    body: Any,
    number: int,
) -> None:
    http("PUT", f"{API}/subscribers/{ada_id}", LABELS)
    assert http.track(event_key="k", title="t", email="ada@example.com").status == 200

    def work() -> None:
        assert http(method, API + path.format(id=ada_id), body).status == 200

    assert count_statements(store, work) <= number


@pytest.mark.parametrize("city", ["", "Rome"])
def test_a_batch_of_200_contacts_costs_12_statements_as_one_of_20_does(
    http: Client, store: psycopg.Connection, ada_id: int, city: str
) -> None:
    http("PUT", f"{API}/subscribers/{ada_id}", LABELS)

    def batch(number: int) -> int:
        contacts = [{"email": f"c{n}@example.com", "city": city, **LABELS} for n in range(number)]
        body = {"contacts": contacts}
        url = f"{API}/subscribers/bulk-add-update"
        return count_statements(store, lambda: http("POST", url, body))

    # And four checks of foreign keys for each new contact.
    assert batch(20) == 12 + 4 * 20
    assert batch(200) == 12 + 4 * 180


def test_batches_in_opposite_orders_end_without_a_deadlock(
    server: Server, http: Client, store: psycopg.Connection
) -> None:
    """Half of the contacts exist, and the others are created by all batches at once."""
    emails = [f"c{number}@example.com" for number in range(40)]
    half = {"contacts": [{"email": email} for email in emails[::2]]}
    assert http("POST", f"{API}/subscribers/bulk-add-update", half).status == 200
    before = count_deadlocks(store)

    def send(number: int) -> int:
        client = server.client()
        order = emails if number % 2 else emails[::-1]
        contacts = [{"email": email, "city": str(number), **LABELS} for email in order]
        answer = client("POST", f"{API}/subscribers/bulk-add-update", {"contacts": contacts})
        client.close()
        body = answer.json()
        return len(body["created"]) + len(body["updated"])

    assert in_threads(8, send) == [40] * 8
    assert count_deadlocks(store) == before
    assert fetch_value(store, "SELECT count(*) FROM crm_subscriber WHERE email LIKE 'c%'") == 40
    assert fetch_value(store, "SELECT count(*) FROM crm_subscriber_tags") == 40
