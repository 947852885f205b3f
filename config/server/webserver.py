"""`python -m config.server.webserver …`: granian's command line, with workers that stop early.

A worker is forked with its server's signal handlers, which do nothing in the worker. Until granian
has set the worker's own, the worker would ignore SIGTERM, and the server would wait for it until
the grace period is over.
"""

import os
import signal

from granian.cli import entrypoint

from config.server.postgres import die_with_parent


def main() -> None:
    """Run granian."""
    server = os.getpid()

    def in_worker() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # A worker whose server was killed would keep the port.
        die_with_parent(signal.SIGKILL, server)

    os.register_at_fork(after_in_child=in_worker)
    entrypoint()  # type: ignore[no-untyped-call]  # granian has no types for it


if __name__ == "__main__":
    main()
