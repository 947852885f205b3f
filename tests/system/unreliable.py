"""A receiver of webhooks that is slow and fails at times, and the ledger of its requests."""

import socket
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count

import psycopg
from standardwebhooks import Webhook

from tests.api.receivers import Receiver, receiver, says
from tests.system.database import fetch_value

SLOW_SECONDS = 0.3
# The pauses before retries pass. A lease ends when its attempt began three seconds ago, because by
# then the receiver has answered, or the process was killed.
PASS_PAUSES = """
UPDATE automations_delivery d SET next_at = clock_timestamp()
WHERE status = 'pending' AND next_at > clock_timestamp()
    AND (next_at < clock_timestamp() + interval '57 seconds' OR EXISTS (
        SELECT FROM automations_attempt a WHERE a.delivery_id = d.id AND a.number = d.attempts))
"""
PASS_RESTS = """
UPDATE automations_endpoint SET retry_at = clock_timestamp() WHERE retry_at > clock_timestamp()
"""
# A run without a delivery, and a delivery without a run, has a null.
DELIVERIES = """
SELECT r.id, d.run_id, d.status, d.message_id, d.body FROM automations_run r
    FULL JOIN automations_delivery d ON d.run_id = r.id
"""


@contextmanager
def unreliable_receiver() -> Iterator[Receiver]:
    """Listen on loopback: of 60 requests some are answered late, by 500, or not at all."""
    numbers = count(1)

    def answer(connection: socket.socket, is_over: threading.Event) -> None:
        number = next(numbers)
        if number % 20 == 0:
            time.sleep(SLOW_SECONDS)
        if number % 15 == 0:
            # The connection is closed.
            return
        says(500 if number % 12 == 0 else 200)(connection, is_over)

    with receiver(answer) as running:
        yield running


def pass_pauses(store: psycopg.Connection) -> None:
    """Let deliveries be tried again that have failed, or whose process was killed."""
    store.execute(PASS_PAUSES)
    store.execute(PASS_RESTS)


def check_deliveries(store: psycopg.Connection, one: Receiver) -> None:
    """Check that each run's webhook has arrived, under one id, with one body, and signed."""
    rows = store.execute(DELIVERIES).fetchall()
    assert [row for row in rows if row[0] is None or row[0] != row[1]] == []
    assert {row[2] for row in rows} == {"delivered"}
    arrived: dict[str, list[bytes]] = defaultdict(list)
    webhook = Webhook(fetch_value(store, "SELECT secret FROM automations_endpoint"))
    for request in one.requests:
        message_id = request.headers["webhook-id"]
        at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
        signature = webhook.sign(message_id, at, request.body.decode())
        assert request.headers["webhook-signature"] == signature
        arrived[message_id].append(request.body)
    attempts = fetch_value(store, "SELECT count(*)::int FROM automations_attempt")
    times = dict(sorted(Counter(map(len, arrived.values())).items()))
    report = (
        f"{len(rows)} deliveries, and how many arrived so many times: {times}. "
        f"Arrivals whose attempt was killed: {len(one.requests) - attempts}."
    )
    print(report)
    sent = {message_id: {body.encode()} for *_, message_id, body in rows}
    assert {message_id: {*bodies} for message_id, bodies in arrived.items()} == sent, report
