"""Filters and other calls about many contacts, over HTTP on a large store."""

import json
from operator import attrgetter
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.system.server import API
from tools.bench.turns import Bench, heading, line

# The longest that a call may take on a store of 1,000,000 contacts, in seconds.
MOST_SECONDS = 1.0


def condition(name: str, operator: str, value: Any, **more: Any) -> dict[str, Any]:
    """A condition about events."""
    source = ["event_tracking", f"event_tracking_{name}"]
    return {"source": source, "operator": operator, "value": value, **more}


def of_field(slug: str, operator: str, value: Any) -> dict[str, Any]:
    """A condition about a custom field."""
    return {"source": ["custom_fields", slug], "operator": operator, "value": value}


# Each contact has a value of each field.
FIELDS = [
    {"type": "select-one", "label": "Plan", "slug": "plan", "options": ["Gold", "Silver"]},
    {"type": "checkbox", "label": "Colours", "slug": "colours", "options": ["Red", "Blue"]},
    {"type": "number", "label": "Points", "slug": "points"},
    {"type": "text", "label": "Remark", "slug": "remark"},
    {"type": "date", "label": "Renewal", "slug": "renewal"},
]
FILL = """
UPDATE crm_subscriber SET custom_values = jsonb_build_object(
    'plan', CASE WHEN id % 3 = 0 THEN 'Gold' ELSE 'Silver' END,
    'colours', CASE WHEN id % 5 = 0 THEN '["Red"]'::jsonb ELSE '["Blue", "Green"]' END,
    'points', (id % 1000)::text, 'remark', md5(id::text),
    'renewal', (current_date - (id % 400)::int)::text)
WHERE custom_values = '{}'
"""
PURCHASE = {"extra_value": "purchase"}
SAME_CURRENCY = {"same": "currency", "within_days": 30}
BOUGHT = condition("key", "in", ["purchase"])
OFTEN = condition("key_count", ">", 8, extra_value="login")
DEAR = condition("value", ">", 990, **PURCHASE)
TAGGED = {"source": ["segment", "tags"], "operator": "in", "value": [1]}
# What is asked, what FluentCRM takes on such a machine, and how long we may on a store of 100,000
# contacts; in seconds.
FILTERS: list[tuple[str, str, float, list[list[dict[str, Any]]]]] = [
    ("key in one of 40", "0.54", 0.10, [[BOUGHT]]),
    ("key not in", "0.52", 0.15, [[condition("key", "not_in", ["purchase"])]]),
    ("count > 8 of a key", "0.45", 0.08, [[condition("key_count", ">", 8, **PURCHASE)]]),
    ("value > 990 of a key", "0.44", 0.15, [[DEAR]]),
    ("title contains", "1.47", 0.15, [[condition("title", "contains", "order")]]),
    ("title contains, no event", "", 0.15, [[condition("title", "contains", "no title has it")]]),
    ("title does not contain", "", 0.15, [[condition("title", "not_contains", "order")]]),
    ("two conditions AND", "0.84", 0.10, [[BOUGHT, OFTEN]]),
    ("three groups OR", "0.51", 0.15, [[BOUGHT], [OFTEN], [DEAR]]),
    (
        "occurrences within 30 days >= 3",
        "cannot",
        0.10,
        [[condition("count_within", ">=", 3, **PURCHASE, within_days=30)]],
    ),
    ("total >= 3 of a key", "cannot", 0.15, [[condition("total", ">=", 3, **PURCHASE)]]),
    (
        "last seen within 30 days",
        "cannot",
        0.15,
        [[condition("last_seen", "days_within", 30, **PURCHASE)]],
    ),
    (
        "not done within 30 days",
        "cannot",
        0.15,
        [[condition("not_done", "days_within", 30, **PURCHASE)]],
    ),
    (
        "property > 900 of the latest",
        "cannot",
        0.30,
        [[condition("property", ">", 900, **PURCHASE, path="total")]],
    ),
    (
        "occurrences within 36 hours >= 1",
        "cannot",
        0.15,
        [[condition("count_within", ">=", 1, **PURCHASE, within_hours=36)]],
    ),
    (
        "property > 900 of any, 30 days",
        "cannot",
        0.30,
        [[condition("any_property", ">", 900, **PURCHASE, path="total", within_days=30)]],
    ),
    (
        "no login since the last purchase",
        "cannot",
        0.15,
        [[condition("since_last", "not_done", "login", **PURCHASE)]],
    ),
    (
        "no refund since, same currency, 30 days",
        "cannot",
        0.30,
        [[condition("since_last", "not_done", "refund", **PURCHASE, **SAME_CURRENCY)]],
    ),
    ("provider in one of 4", "cannot", 0.30, [[condition("provider", "in", ["custom"])]]),
    ("tag, and a key", "", 0.15, [[TAGGED, BOUGHT]]),
    ("custom field, a choice", "", 0.20, [[of_field("plan", "in", ["Gold"])]]),
    ("custom field, not of the checkboxes", "", 0.20, [[of_field("colours", "not_in", ["Red"])]]),
    ("custom field, number", "", 0.20, [[of_field("points", ">", 990)]]),
    ("custom field, text of no contact", "", 0.20, [[of_field("remark", "=", "nothing")]]),
    ("custom field, within 30 days", "", 0.20, [[of_field("renewal", "days_within", 30)]]),
    ("custom field, empty", "", 0.20, [[of_field("remark", "is_null", "")]]),
]


class Call(NamedTuple):
    """A call, and how long it may take on a store of 100,000 and of 1,000,000 contacts."""

    what: str
    path: str
    most_seconds: float = 0.2
    most_seconds_of_million: float = MOST_SECONDS


CALLS = (
    Call("contacts", "/subscribers"),
    Call("contacts, page 5,000", "/subscribers?page=5000"),
    Call("contacts by last name", "/subscribers?sort_by=last_name"),
    Call("contacts: search", "/subscribers?search=anna"),
    Call("contacts: search, none", "/subscribers?search=no-contact-has-this"),
    Call("contacts: tag", "/subscribers?tags[]=1"),
    Call("contacts: status", "/subscribers?statuses[]=pending"),
    Call("contacts: event_key, event_since", "/subscribers?event_key=login&event_since=30d"),
    Call("contacts of a segment", "/segments/{segment}/subscribers"),
    Call("segments of a contact", "/subscribers/{contact}/segments"),
    Call("tags", "/tags", 0.1, 0.1),
    Call("lists", "/lists", 0.1, 0.1),
    Call("custom fields", "/custom-fields/contacts", 0.1, 0.1),
    Call("options: event keys", "/reports/ajax-options?option_key=event_tracking_keys", 0.1, 0.1),
    Call(
        "options: providers", "/reports/ajax-options?option_key=event_tracking_providers", 0.1, 0.1
    ),
)
SEGMENT = {"title": "Bought or dear", "slug": "bench", "filters": [[BOUGHT, OFTEN], [DEAR]]}


def measure(bench: Bench) -> list[str]:
    """Print a line for each filter and call. Returns what took longer than it may."""
    client = bench.targets[-1].client
    client("PUT", f"{API}/custom-fields/contacts", {"fields": FIELDS})
    bench.store.execute(FILL)
    bench.store.execute("VACUUM ANALYZE crm_subscriber")
    found = client("GET", f"{API}/segments?search=Bought or dear".replace(" ", "%20")).json()
    segments = found["segments"]["data"] or [
        client("POST", f"{API}/segments", SEGMENT).json()["segment"]
    ]
    [contact] = client("GET", f"{API}/subscribers?per_page=1").json()["subscribers"]["data"]
    names = {"segment": segments[0]["id"], "contact": contact["id"]}
    calls = [
        Call(
            f"filter: {what}",
            f"/subscribers?{urlencode(_parameters(filters))}",
            seconds,
        )
        for what, _, seconds, filters in FILTERS
    ]
    print(heading("matches", len(bench.targets)))
    missed = []
    for call in (*calls, *CALLS):
        path = API + call.path.format(**names) if "{" in call.path else API + call.path
        costs, answer = bench.costs(attrgetter("client"), path)
        total = answer.json().get("subscribers", {}).get("total", "")
        print(line(call.what, total, costs), flush=True)
        most = call.most_seconds_of_million if bench.is_million else call.most_seconds
        if costs[-1].ms > most * 1000:
            missed.append(f"{call.what} took {costs[-1].ms:.0f} ms, not {most * 1000:.0f}")
    return missed


def _parameters(filters: list[list[dict[str, Any]]]) -> dict[str, str]:
    return {"filter_type": "advanced", "advanced_filters": json.dumps(filters)}
