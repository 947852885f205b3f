import logging
import signal
import threading
from contextlib import suppress
from typing import Any

from django.db import InterfaceError, OperationalError, connections
from typing_extensions import override

from automations.programs import keep_programs
from automations.webhooks.deliverer import Deliverer
from automations.worker import forget, process_name, run_once
from config.commands import LeanCommand
from config.server.processes import AUTOMATIONS_NAME, prepare

logger = logging.getLogger(__name__)

# How often an idle process looks for work.
POLL_SECONDS = 1.0
# How long webhooks that are being sent may take to end. `serve` waits longer.
STOP_SECONDS = 22.0


class Command(LeanCommand):
    """Run automations until SIGTERM. `serve` starts it. Several may run, also on other machines."""

    help = "Run automations until SIGTERM. serve does so by itself."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        prepare(AUTOMATIONS_NAME)
        stopping = threading.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, lambda *_: stopping.set())
        keep_programs()
        name = process_name()
        deliverer = Deliverer()
        while not stopping.is_set():
            try:
                number = run_once(name, stopping.is_set, deliverer.tick)
            except (OperationalError, InterfaceError):
                logger.warning("The database does not answer. Automations go on when it does.")
                connections.close_all()
                keep_programs()
                number = 0
            if not number:
                stopping.wait(POLL_SECONDS)
        deliverer.stop(STOP_SECONDS)
        with suppress(OperationalError, InterfaceError):
            forget(name)
