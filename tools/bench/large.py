"""`python -m tools.bench.large`: what calls about many contacts and the admin's pages take.

On a store of 100,000 or 1,000,000 contacts, each with 10 events and 20 occurrences. `--before ROOT`
measures another checkout too, in turns with this one and on the same store. So the other checkout
has the indexes of this one.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from config.server.postgres import DATABASE, USER, EmbeddedPostgres
from tests.system.admin_session import AdminSession
from tests.system.server import Server, basic
from tools.bench import filters, pages
from tools.bench.turns import Bench, Target

CONTACTS = 100_000
EVENTS_PER_CONTACT = 10
# A run of seed_demo takes 500 MB for each of them.
CONTACTS_PER_RUN = 100_000
MOST_SEEDING_SECONDS = 120
PASSWORD = "a password of the bench"
SET_PASSWORD = f"""
from django.contrib.auth.models import User
admin = User.objects.get(username="admin")
admin.set_password("{PASSWORD}")
admin.save()
"""


@contextmanager
def bench(contacts: int, before: Path | None, folder: Path) -> Iterator[Bench]:
    """Seed a store, unless the folder has one, and start the servers."""
    server = Server(folder, TALLYBOOK_WORKERS="1").start()
    servers = [server]
    try:
        database = EmbeddedPostgres(server.data_dir)
        with psycopg.connect(
            host=str(database.socket_dir), user=USER, dbname=DATABASE, autocommit=True
        ) as store:
            row = store.execute("SELECT count(*) FROM crm_subscriber").fetchone()
            assert row
            for _ in range(0, contacts - row[0] + 1, CONTACTS_PER_RUN):
                amount = str(min(contacts, CONTACTS_PER_RUN))
                amounts = ("--contacts", amount, "--events-per-contact", str(EVENTS_PER_CONTACT))
                print(server.manage("seed_demo", *amounts).strip(), flush=True)
            server.manage("shell", "-c", SET_PASSWORD)
            if before:
                url = f"postgres://{USER}@/{DATABASE}?host={database.socket_dir}"
                (folder / "before").mkdir(exist_ok=True)
                other = Server(folder / "before", before, DATABASE_URL=url, TALLYBOOK_WORKERS="1")
                servers.insert(0, other.start())
            scope = ("--name", "bench", "--scope", "manage")
            output = server.manage("create_application_password", "admin", *scope)
            auth = basic("admin", output.split("\n")[-2])
            yield Bench(store, [_target(each, auth) for each in servers], contacts)
    finally:
        for each in servers:
            each.stop()


def _target(server: Server, auth: str) -> Target:
    session = AdminSession(server)
    fields = {"username": "admin", "password": PASSWORD, "next": "/admin/"}
    answer = session.submit("/admin/login/", fields)
    assert answer.status == 302, answer.body
    return Target(server, server.client(auth), session)


def measure(
    contacts: int = CONTACTS, before: Path | None = None, folder: Path | None = None
) -> list[str]:
    """Measure calls and pages on a large store.

    Args:
        contacts: of the store.
        before: the root of the checkout to compare with.
        folder: where the store is kept. By default it is removed.

    Returns:
        What took too long.
    """
    with tempfile.TemporaryDirectory() as temporary:
        began = time.monotonic()
        with bench(contacts, before, folder or Path(temporary)) as store:
            seconds = time.monotonic() - began
            print(f"started in {seconds:.0f} s")
            is_slow = seconds > MOST_SEEDING_SECONDS * contacts / CONTACTS
            missed = ["seeding"] if is_slow else []
            return missed + filters.measure(store) + pages.measure(store)


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contacts", type=int, default=CONTACTS)
    parser.add_argument("--before", type=Path, metavar="ROOT")
    parser.add_argument("--folder", type=Path, help="keep the store here, and use it again")
    chosen = parser.parse_args()
    if chosen.folder:
        chosen.folder.mkdir(parents=True, exist_ok=True)
    if missed := measure(chosen.contacts, chosen.before, chosen.folder):
        sys.exit("; ".join(missed))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    main()
