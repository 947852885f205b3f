"""Make a small store with an older version of Tallybook, for the tests of upgrades.

`python -m tools.old_store CHECKOUT NAME` runs `serve` in CHECKOUT, fills its store over HTTP, and
writes tests/system/old_stores/NAME.sql and NAME.json.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from config.server.postgres import USER, binaries, socket_dir
from tests.system.server import API, Client, Server
from tests.system.stores import GRACE
from tests.system.upgrades import EVENT, IDEMPOTENCY_KEYS, OLD_STORES

SIZE = {"slug": "size", "label": "Size", "type": "text"}
NOTE = {"note": {"title": "Call", "description": "Likes tea.", "type": "call"}}
# Sent in this order. Older versions answer 404 or 422 to what they do not know.
REQUESTS = [
    ("POST", "subscribers", {"email": GRACE, "status": "subscribed", "first_name": "Grace"}),
    ("POST", "subscribers", {"email": "JÖRG@x.example", "status": "unsubscribed"}),
    ("POST", "tags", {"title": "VIP", "slug": "VIP"}),
    # The first version alone permits it.
    ("POST", "tags", {"title": "Very important", "slug": "vip"}),
    ("POST", "lists", {"title": "News", "slug": "news"}),
    ("PUT", "custom-fields/contacts", {"fields": [SIZE]}),
    ("POST", "subscribers/2/notes", NOTE),
    ("POST", "segments", {"title": "Buyers", "filters": []}),
    ("PUT", "subscribers/2", {"subscriber": {"attach_tags": [1], "attach_lists": [1]}}),
]


def fill(client: Client) -> list[str]:
    """Fill a store. Return the bodies of the responses to the events, by IDEMPOTENCY_KEYS."""
    for method, path, fields in REQUESTS:
        answer = client(method, f"{API}/{path}", fields)
        print(method, path, answer.status)
    client.track(event_key="login", title="Logged in", email="ada@example.com")
    bodies = []
    for key in IDEMPOTENCY_KEYS:
        answer = client(
            "POST", f"{API}/subscribers/track-event", EVENT, headers={"Idempotency-Key": key}
        )
        assert answer.status == 200, answer.body
        bodies.append(answer.body.decode())
    return bodies


def tracking_key(server: Server) -> list[str]:
    """Return actid and key of ActiveCampaign's event call. Older versions have none."""
    done = subprocess.run(
        [sys.executable, "manage.py", "tracking_keys"],
        cwd=server.root,
        env=server.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return [part.partition("=")[2] for part in done.stdout.split()]


def main() -> None:
    """Write both files."""
    checkout, name = Path(sys.argv[1]), sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), checkout, TALLYBOOK_WORKERS="1").start()
        client = server.client()
        known = {
            "authorization": server.auth,
            "responses": fill(client),
            "tracking_key": tracking_key(server),
        }
        client.close()
        dump = subprocess.run(
            [
                *(binaries() / "pg_dump", "-h", socket_dir(server.data_dir), "-U", USER),
                *("--no-owner", "--no-privileges", "--no-comments", "tallybook"),
            ],
            capture_output=True,
            check=True,
        ).stdout
        server.stop()
    (OLD_STORES / f"{name}.sql").write_bytes(dump)
    (OLD_STORES / f"{name}.json").write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
