"""An import of another program's store whose command is killed goes on when it is repeated."""

import os
import signal
import subprocess
import sys

import psycopg

from tests.api.played import Sent, Site, contact
from tests.system.database import fetch_value
from tests.system.loopback import loopback
from tests.system.server import ROOT, Server, wait_until

DONE = "SELECT COALESCE(max(done), 0) FROM crm_job"
# As if ten seconds had passed.
END_LEASE = "UPDATE crm_job SET lease_until = now() WHERE state = 'running'"


def test_a_killed_command_goes_on(
    server: Server, store: psycopg.Connection, served_url: str
) -> None:
    site = Site(*(contact(number) for number in range(1, 151)))
    row = {"id": 1, "event_key": "buy", "title": "Bought", "counter": "3"}
    events = {"data": [row], "last_page": 1, "total": 1}
    reads: list[str] = []

    def answer(path: str, query: dict[str, str]) -> Sent:
        reads.append(path)
        if path.endswith("/tracking-events"):
            number = int(path.split("/")[-2])
            return Sent({"events": {**events, "data": [{**row, "id": number}]}})
        return site.answer(path, query)

    with loopback(answer) as source:
        command = [sys.executable, "manage.py", "import_fluentcrm", source.url, "--user", "admin"]
        environment = {
            **server.environment,
            "DATABASE_URL": served_url,
            "FLUENTCRM_PASSWORD": "secret",
        }
        killed = subprocess.Popen(
            [*command, "--rate", "500"], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
        )
        wait_until(lambda: fetch_value(store, DONE), 30)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        store.execute(END_LEASE)
        assert 100 <= fetch_value(store, DONE) < 150
        first = len(reads)
        ended = subprocess.run(
            [*command, "--rate", "500"], cwd=ROOT, env=environment, capture_output=True, text=True
        )
    assert ended.returncode == 0, ended.stderr
    assert "Going on with job" in ended.stdout
    assert "differs" not in ended.stdout
    assert not any("/subscribers/1/" in path for path in reads[first:])
    assert fetch_value(store, "SELECT count(*) FROM crm_subscriber") == 150
    assert fetch_value(store, "SELECT sum(counter)::int FROM events_trackedevent") == 450
