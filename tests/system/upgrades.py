"""Upgrade a store in process, and read a whole store."""

import json
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from django.db import connection

from config.database import fetch_rows
from config.server.backup import TABLES
from config.server.programs import program
from config.server.upgrade import upgrade_store
from tests.system.server import ROOT
from tests.system.stores import GRACE

OLD_STORES = ROOT / "tests" / "system" / "old_stores"
LATER_MIGRATIONS = {"transfers": "tests.system.later.migrations"}
# What the client of an old store tracked three times, with these keys.
EVENT = {"event_key": "checkout", "title": "Order placed", "value": "12.50", "email": GRACE}
IDEMPOTENCY_KEYS = ("first", "second", "third")
ROWS = "SELECT to_jsonb(row)::text FROM {} row ORDER BY row"
Rows = dict[str, list[dict[str, Any]]]


def upgraded() -> list[str]:
    """Upgrade the store that Django is connected to. Return what the operator reads."""
    sentences: list[str] = []
    assert upgrade_store(sentences.append)
    return sentences


def read_store() -> Rows:
    """Return all rows by table, in an order that migrations keep."""
    connection.close()
    return {
        table: [json.loads(row) for (row,) in fetch_rows(ROWS.format(table), {})]
        for (table,) in fetch_rows(TABLES, {})
    }


def load(sql: Path) -> None:
    """Load the dump of an old store into the empty database that Django is connected to."""
    with program("psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--file={sql}", stdout=DEVNULL):
        pass


def known(name: str) -> Any:
    """Return what a client of an old store knows: tools/old_store.py."""
    return json.loads((OLD_STORES / f"{name}.json").read_text())
