"""A store of 100,000 contacts, 1,000,000 events and 2,000,000 occurrences: what takes how long."""

import tempfile
import time
from pathlib import Path

from tests.system.server import Server
from tools.bench import filters, pages

CONTACTS = 100_000
EVENTS_PER_CONTACT = 10
MOST_SEEDING_SECONDS = 120


def measure() -> list[str]:
    """Seed the store, measure filters and the admin's pages. Returns what took too long."""
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name)).start()
        try:
            began = time.monotonic()
            amounts = ("--contacts", str(CONTACTS), "--events-per-contact", str(EVENTS_PER_CONTACT))
            print(server.manage("seed_demo", *amounts).strip())
            seconds = time.monotonic() - began
            print(f"seeded in {seconds:.0f} s")
            missed = ["seeding"] if seconds > MOST_SEEDING_SECONDS else []
            return missed + filters.measure(server.client()) + pages.measure(server)
        finally:
            server.stop()


if __name__ == "__main__":
    print(*measure(), sep="\n")
