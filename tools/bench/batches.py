"""The batch statement run directly with psycopg, as the batch call runs it, for comparison."""

import random
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import orjson
import psycopg

from config.server.postgres import USER
from events.tracking.item_statements import TRACK_MANY

SIZE = 500
CONTACTS = 500
KEYS = 10


def payload() -> str:
    """The events of a batch; their idempotency keys begin with the word KEY."""
    return orjson.dumps(
        [
            {
                "n": number,
                "subscriber_id": 0,
                "email": f"contact{random.randint(1, CONTACTS)}@example.com",
                "user_id": "",
                "event_key": f"key_{random.randint(1, KEYS)}",
                "title": "Order placed",
                "value": "42",
                "provider": "bench",
                "repeatable": True,
                "properties": "{}",
                "context": "{}",
                "occurred_at": datetime.now(UTC),
                "idempotency_key": f"KEY-{number}",
                "created_by": 1,
                "credential": "bench",
                "user_source": "",
                "content": "0" * 64,
            }
            for number in range(SIZE)
        ]
    ).decode()


def direct(socket_dir: Path, database: str, connections: int, seconds: float) -> float:
    """Events a second by so many connections, each running the statement again and again."""
    payloads = [payload() for _ in range(20)]
    counts = [0] * connections
    ends = time.monotonic() + seconds

    def work(index: int) -> None:
        with psycopg.connect(
            host=str(socket_dir), user=USER, dbname=database, autocommit=True
        ) as connection:
            while time.monotonic() < ends:
                parameters = {
                    "events": random.choice(payloads).replace("KEY", uuid.uuid4().hex),
                    "now": datetime.now(UTC),
                }
                rows = connection.execute(TRACK_MANY, parameters).fetchall()
                assert len(rows) == SIZE
                assert all(counter for *_, counter in rows)
                counts[index] += SIZE

    threads = [threading.Thread(target=work, args=[index]) for index in range(connections)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)
