"""Filters over HTTP on a large store."""

import json
import statistics
import time
from typing import Any
from urllib.parse import urlencode

from tests.system.server import API, Client

TRIES = 9


def condition(name: str, operator: str, value: Any, **more: Any) -> dict[str, Any]:
    """A condition about events."""
    source = ["event_tracking", f"event_tracking_{name}"]
    return {"source": source, "operator": operator, "value": value, **more}


PURCHASE = {"extra_value": "purchase"}
BOUGHT = condition("key", "in", ["purchase"])
OFTEN = condition("key_count", ">", 8, extra_value="login")
DEAR = condition("value", ">", 990, **PURCHASE)
# What is asked, what FluentCRM takes on such a machine, and how long we may; in seconds.
FILTERS: list[tuple[str, str, float, list[list[dict[str, Any]]]]] = [
    ("key in one of 40", "0.54", 0.10, [[BOUGHT]]),
    ("key not in", "0.52", 0.15, [[condition("key", "not_in", ["purchase"])]]),
    ("count > 8 of a key", "0.45", 0.08, [[condition("key_count", ">", 8, **PURCHASE)]]),
    ("value > 990 of a key", "0.44", 0.15, [[DEAR]]),
    ("title contains", "1.47", 0.60, [[condition("title", "contains", "order")]]),
    ("two conditions AND", "0.84", 0.10, [[BOUGHT, OFTEN]]),
    ("three groups OR", "0.51", 0.15, [[BOUGHT], [OFTEN], [DEAR]]),
    (
        "occurrences within 30 days >= 3",
        "cannot",
        0.10,
        [[condition("count_within", ">=", 3, **PURCHASE, within_days=30)]],
    ),
]


def measure(client: Client) -> list[str]:
    """Print a line for each filter. Returns what took longer than it may."""
    print(
        f"{'filter: first page with total':35}{'matches':>8}{'seconds':>9}{'wanted':>8}  FluentCRM"
    )
    missed = []
    for what, theirs, wanted, filters in FILTERS:
        query = urlencode({"filter_type": "advanced", "advanced_filters": json.dumps(filters)})
        seconds = []
        for _ in range(TRIES):
            began = time.monotonic()
            answer = client("GET", f"{API}/subscribers?{query}")
            seconds.append(time.monotonic() - began)
            assert answer.status == 200, answer.body
        median = statistics.median(seconds)
        total = answer.json()["subscribers"]["total"]
        print(f"{what:35}{total:8}{median:9.3f}{wanted:8.2f}  {theirs}", flush=True)
        if median > wanted:
            missed.append(f"{what} took {median:.3f} s, not {wanted}")
    return missed
