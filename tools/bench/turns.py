"""Measure requests by several servers in turns, on one store."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import psycopg

from tests.system.admin_session import AdminSession
from tests.system.processes import postmaster, web_server
from tests.system.server import Answer, Client, Server
from tools.bench.calls import processor_seconds


class Target(NamedTuple):
    """A checkout's server, a client of its API, and a session of its admin."""

    server: Server
    client: Client
    session: AdminSession


class Cost(NamedTuple):
    """What a request takes: by the clock, and of the processor, in milliseconds."""

    ms: float
    processor_ms: float


# Of a response that is an error, such as 503 after the statement timeout.
UNANSWERED = Cost(math.inf, math.inf)


class Bench:
    """One store, and the servers that are measured on it in turns, this checkout's last."""

    def __init__(self, store: psycopg.Connection, targets: Sequence[Target], contacts: int) -> None:
        self.store, self.targets, self.contacts = store, targets, contacts
        self.is_million = contacts > 100_000
        self.tries = 3 if self.is_million else 9

    def costs(self, client_of: Callable[[Target], Client], path: str) -> tuple[list[Cost], Answer]:
        """Get a path from each server in turns, after a time that does not count.

        Args:
            client_of: returns a target's client of the API, or its session.
            path: of the URL.

        Returns:
            The medians of each server, and the last response of this checkout.
        """
        database = postmaster(self.targets[-1].server)
        taken: list[list[Cost]] = [[] for _ in self.targets]
        for target in self.targets:
            # The server closes connections that are idle for long.
            client_of(target).close()
        for number in range(self.tries + 1):
            for target, costs in zip(self.targets, taken, strict=True):
                processes = (database, web_server(target.server))
                before, began = sum(map(processor_seconds, processes)), time.monotonic()
                answer = client_of(target)("GET", path)
                seconds = time.monotonic() - began
                processor = sum(map(processor_seconds, processes)) - before
                if number:
                    is_answered = answer.status == 200
                    costs.append(
                        Cost(seconds * 1000, processor * 1000) if is_answered else UNANSWERED
                    )
                assert answer.status in (200, 503), (path, answer.body)
        # The mean of the processor time, because the kernel counts it in steps of 10 ms.
        medians = [
            Cost(
                statistics.median(cost.ms for cost in costs),
                statistics.mean(cost.processor_ms for cost in costs),
            )
            for costs in taken
        ]
        return medians, answer


def line(what: str, number: object, costs: Sequence[Cost]) -> str:
    """Return a line of the table: the costs of each server, and what the last one gained."""
    columns = "".join(f"{cost.ms:9.0f}{cost.processor_ms:9.0f}" for cost in costs)
    gain = f"{costs[0].ms / costs[-1].ms:8.1f}x" if len(costs) > 1 else ""
    return f"{what:46}{number!s:>9}{columns}{gain}"


def heading(number: str, servers: int) -> str:
    """Return the heading of the table."""
    return f"{'':46}{number:>9}" + f"{'ms':>9}{'of CPU':>9}" * servers
