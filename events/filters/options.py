"""Suggest event keys and providers for filters. Forms accept any others, too."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, Literal

from config.api.validation import MAX_ITEMS, MAX_NAME_LENGTH, single_line
from config.database import fetch_rows
from crm.filters.types import Choices
from events.models import EventName

VIEW_PERMISSION = "events.view_trackedevent"
MAX_HINTS = 3
# A look into the index for each value, because DISTINCT reads every event.
DISTINCT_VALUES = """
WITH RECURSIVE found AS (
    (SELECT {column} AS value FROM events_trackedevent ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT following.value FROM found CROSS JOIN LATERAL (
        SELECT {column} AS value FROM events_trackedevent
        WHERE {column} > found.value ORDER BY {column} LIMIT 1
    ) following
)
SELECT value FROM found LIMIT %(limit)s
"""
MISSING_KEYS = """
SELECT key FROM unnest(%(keys)s::text[]) key
WHERE NOT EXISTS (SELECT FROM events_trackedevent WHERE event_key = key) LIMIT %(limit)s
"""


def known_keys() -> list[tuple[str, str]]:
    """Return the event keys of the catalogue, at most 1,000."""
    return [(name, name) for name in EventName.objects.values_list("name", flat=True)[:MAX_ITEMS]]


def missing_key_hints(keys: Iterable[Any]) -> list[str]:
    """Return a sentence for each event key that no contact has, at most three.

    The sentence suggests the most similar key of the catalogue, if there is one.
    """
    lines = list(dict.fromkeys(map(single_line(MAX_NAME_LENGTH), keys)))
    missing = fetch_rows(MISSING_KEYS, {"keys": lines, "limit": MAX_HINTS})
    # Found by lower case, so that a key in other capitals is suggested too.
    names = {name.lower(): name for name, _ in known_keys()} if missing else {}
    hints = []
    for (key,) in missing:
        others = [small for small, name in names.items() if name != key]
        similar = get_close_matches(key.lower(), others, n=1)
        question = f" Did you mean “{names[similar[0]]}”?" if similar else ""
        hints.append(f"There is no event “{key}”.{question}")
    return hints


def distinct_values(column: Literal["event_key", "provider"], limit: int) -> list[str]:
    """Return the first distinct keys or providers of events, at most `limit`."""
    statement = DISTINCT_VALUES.format(column=column)
    return [value for (value,) in fetch_rows(statement, {"limit": limit})]


def known_providers() -> list[tuple[str, str]]:
    """Return the providers of all events, at most 1,000."""
    return [(name, name) for name in distinct_values("provider", MAX_ITEMS)]


EVENT_KEYS = Choices("event_keys", known_keys, VIEW_PERMISSION, hints=missing_key_hints)
EVENT_PROVIDERS = Choices("event_providers", known_providers, VIEW_PERMISSION)
