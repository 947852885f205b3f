"""A PostgreSQL of one's own that is older than the embedded one: Debian's, from version 15 on."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from django.core.management import call_command

from config.server import postgres
from config.server.postgres import USER, EmbeddedPostgres
from events.models import TrackedEvent
from tests.databases import use
from tests.system.server import Client, Server, wait_until
from tests.system.stores import Databases, restored

DEBIAN = Path("/usr/lib/postgresql")
EVENT = {"event_key": "checkout", "title": "Order placed", "email": "ada@example.com"}
MARK = {"type": "track_event", "event_key": "marked", "title": "Marked"}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the oldest PostgreSQL of the machine."""
    versions = sorted(int(path.parent.parent.name) for path in DEBIAN.glob("*/bin/initdb"))
    if not versions:
        if os.environ.get("TALLYBOOK_REQUIRE_BROWSER"):
            pytest.fail("Install Debian's package postgresql.")
        pytest.skip("There is no PostgreSQL of Debian.")
    folder = tmp_path_factory.mktemp("old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "binaries", lambda: DEBIAN / str(versions[0]) / "bin")
        # What operate.md says for versions before 17.
        patch.setattr(postgres, "LOCALE_OPTIONS", ("--encoding=UTF8", "--locale=C.UTF-8"))
        # Debian puts it into a package of its own for some versions.
        patch.delitem(postgres.SETTINGS, "shared_preload_libraries")
        database = EmbeddedPostgres(folder / "postgres")
        database.lock("The tests run.")
        database.start()
        try:
            url = f"postgres://{USER}@/{USER}?host={database.socket_dir}"
            server = Server(folder, DATABASE_URL=url).start()
            yield server
            server.stop()
        finally:
            database.stop()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def client(old: Server) -> Iterator[Client]:
    """A client with the first application password."""
    with closing(old.client()) as client:
        yield client


def counter(client: Client, event_key: str) -> int:
    """Return how often ada did something."""
    contact = client("GET", "/subscribers/0?get_by_email=ada@example.com").json()["subscriber"]
    events = client("GET", f"/subscribers/{contact['id']}/tracking-events").json()["events"]["data"]
    return sum(int(each["counter"]) for each in events if each["event_key"] == event_key)


def test_events_are_counted_one_by_one_and_in_batches(client: Client) -> None:
    before = counter(client, "checkout")
    assert client.track(**EVENT).status == 200
    batch = client("POST", "/subscribers/track-events", {"events": [EVENT, EVENT]})
    assert batch.status == 200
    assert counter(client, "checkout") == before + 3


def test_an_automation_starts_and_acts(client: Client) -> None:
    document = {
        "title": "Thanks",
        "trigger": {"type": "event", "event_key": "order", "when": "from", "times": 1},
        "steps": [MARK],
    }
    made = client("POST", "/automations", document)
    assert made.status == 200, made.body
    url = f"/automations/{made.json()['automation']['id']}"
    assert client("POST", f"{url}/publish").status == 200
    wait_until(lambda: client("GET", url).json()["automation"]["armed_at"])
    client.track(**EVENT | {"event_key": "order"})
    wait_until(lambda: counter(client, "marked") == 1)


def test_a_file_of_events_is_imported(old: Server, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "events.csv"
    file.write_text("email,event_key,title,counter\nada@example.com,visited,Home,12\n")
    old.manage("import_events", str(file))
    assert counter(client, "visited") == 12


def test_a_store_is_backed_up_and_restored_into_the_embedded_version(
    old: Server, client: Client, empty: Databases, tmp_path: Path
) -> None:
    client.track(**EVENT | {"event_key": "kept"})
    with use(USER, old.environment["DATABASE_URL"].partition("host=")[2]):
        call_command("backup", tmp_path / "old.backup")
    restored(tmp_path / "old.backup")
    events = TrackedEvent.objects.filter(subscriber__email="ada@example.com", event_key="kept")
    assert [event.counter for event in events] == [counter(client, "kept")] == [1]
