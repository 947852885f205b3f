"""Upgrade the store of an older version while clients track and retry, and measure the command.

`python -m tools.bench.upgrade FOLDER CHECKOUT [CONTACTS]`: `serve` of CHECKOUT makes a store in
FOLDER. Its Python has to have what CHECKOUT imports. Clients track before and after the upgrade,
and retry meanwhile. With CONTACTS, such as 100000, CHECKOUT runs seed_demo first, and backup and
restore are measured beside the upgrade.
"""

import subprocess
import sys
import time
from pathlib import Path

from tests.system.server import Server
from tests.system.trackers import start_trackers, stop_trackers, wait_for_events
from tools.bench.backup import connect, timed

CLIENTS = 4
# That each client tracks before the upgrade and after it.
EVENTS = 500


def main() -> None:
    """Print the figures."""
    folder, checkout, *contacts = sys.argv[1:]
    old = Server(Path(folder), Path(checkout)).start()
    if contacts:
        subprocess.run(
            [sys.executable, "manage.py", "seed_demo", "--contacts", contacts[0]],
            cwd=checkout,
            env=old.environment,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    trackers = start_trackers(old, CLIENTS)
    wait_for_events(trackers, EVENTS)
    stopped = time.perf_counter()
    old.stop()
    before = sum(len(tracker.answered) for tracker in trackers)

    new = Server(Path(folder))
    new.port, new.environment["PORT"], new.auth = old.port, str(old.port), old.auth
    path = Path(folder) / "measured.backup"
    if contacts:
        print(f"backup: {timed(new, 'backup', str(path)):.1f} s")
    print(f"upgrade: {timed(new, 'upgrade'):.1f} s")
    new.start()
    print(f"stopped for {time.perf_counter() - stopped:.1f} s")
    wait_for_events(trackers, EVENTS)
    answered = set(stop_trackers(trackers))
    unsure = set().union(*(tracker.unsure for tracker in trackers))
    with connect(new) as connection:
        query = "SELECT title, counter FROM events_trackedevent WHERE event_key = 'load'"
        counters: dict[str, int] = dict(connection.execute(query).fetchall())
    twice = {title for title, counter in counters.items() if counter > 1}
    print(f"answered with 200: {len(answered)}, of which by the old version: {before}")
    print(f"lost: {len(answered - counters.keys())}")
    print(f"counted more than once: {len(twice)}")
    print(f"sent again without knowing whether they had counted: {len(unsure)}")
    print(f"counted more than once without such a retry: {len(twice - unsure)}")
    print(new.manage("verify").strip())
    new.stop()
    if contacts:
        print(f"restore: {timed(new, 'restore', '--replace', str(path)):.1f} s")


if __name__ == "__main__":
    main()
