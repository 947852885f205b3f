"""`python -m tools.bench.endurance`: the memory of the workers while they answer a million calls.

The figures must not grow once each thread has answered some requests.
"""

import argparse
import tempfile
from pathlib import Path

from tests.system.processes import wait_for_workers
from tests.system.server import ROOT
from tools.bench.calls import Row, Target, figure, wrk
from tools.bench.memory import memory

SECONDS = 20
# Four events and a page, as programs send them.
ROWS = (*[Row("track", "", 32)] * 3, Row("track_key", "", 32), Row("tracking_events", ""))


def main() -> None:
    """Print the resident memory of each worker in MB after each hundred thousand calls."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.endurance", description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000_000)
    wanted = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as folder:
        target = Target(ROOT, Path(folder) / "store")
        try:
            calls, shown = 0, 0
            while calls < wanted:
                for row in ROWS:
                    said = wrk(
                        target.server, row.name, row.clients, SECONDS, FIRST_ID=target.first_id
                    )
                    calls += int(figure(r"(\d+) requests in", said))
                if calls >= min(shown, wanted):
                    pids = wait_for_workers(target.server)
                    megabytes = {pid: round(memory(pid, "VmRSS")) for pid in pids}
                    print(f"{calls:9,} calls: {megabytes}", flush=True)
                    shown = calls + wanted // 10
        finally:
            target.server.stop()


if __name__ == "__main__":
    main()
