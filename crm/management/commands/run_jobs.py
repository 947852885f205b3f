import logging
import signal
import threading
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from typing_extensions import override

from config.commands import LeanCommand
from config.server.processes import JOBS_NAME, give_way, prepare
from crm.jobs import Run, Stopped, claim_job, run_claimed

logger = logging.getLogger(__name__)

# How often an idle process looks for a job.
POLL_SECONDS = 1.0


class Command(LeanCommand):
    """Run jobs, one after the other, until SIGTERM. `serve` starts it."""

    help = "Run imports, exports and other jobs until SIGTERM. serve does so by itself."
    run: Run | None = None

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        prepare(JOBS_NAME)
        give_way()
        self.stopping = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        while not self.stopping.is_set():
            try:
                found = self._run_next()
            except (OperationalError, InterfaceError):
                logger.warning("The database does not answer. Jobs go on when it does.")
                connections.close_all()
                found = False
            if not found:
                self.stopping.wait(POLL_SECONDS)

    def _run_next(self) -> bool:
        """Run a job. Returns whether there was one."""
        self.run = claim_job()
        if self.run is None:
            return False
        if self.stopping.is_set():
            self.run.leave()
        try:
            run_claimed(self.run)
        except Stopped:
            logger.warning("Job %d goes on after the next start.", self.run.job.pk)
        return True

    def _stop(self, *_: object) -> None:
        self.stopping.set()
        if self.run:
            self.run.leave()
