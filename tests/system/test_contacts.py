"""Contacts that several clients create at once."""

import psycopg

from tests.system.server import API, Client, Server
from tests.system.threads import in_threads

SPELLINGS = ["ada@example.com", "ADA@example.com", "Ada@Example.com", "aDa@example.COM"] * 2


def test_two_spellings_of_an_email_are_one_contact_although_eight_ask_at_once(
    server: Server, http: Client, store: psycopg.Connection
) -> None:
    def create(number: int) -> int:
        client = server.client()
        fields = {"email": SPELLINGS[number], "status": "pending"}
        status = client("POST", f"{API}/subscribers", fields).status
        client.close()
        return status

    assert sorted(in_threads(len(SPELLINGS), create)) == [200] + [422] * 7
    assert store.execute("SELECT count(*) FROM crm_subscriber").fetchone() == (1,)
