"""Advanced filters as requests send them, and the contacts that they find."""

import json
from typing import Any
from urllib.parse import urlencode

from rest_framework.test import APIClient

CONTACTS = "/subscribers"
FIRST_NAME = ("subscriber", "first_name")
USER_ID = ("subscriber", "user_id")
CREATED = ("subscriber", "created_at")
TAGS = ("segment", "tags")
LISTS = ("segment", "lists")
KEY = ("event_tracking", "event_tracking_key")
COUNT = ("event_tracking", "event_tracking_key_count")
VALUE = ("event_tracking", "event_tracking_value")
TITLE = ("event_tracking", "event_tracking_title")
TOTAL = ("event_tracking", "event_tracking_total")
WITHIN = ("event_tracking", "event_tracking_count_within")
FIRST_SEEN = ("event_tracking", "event_tracking_first_seen")
LAST_SEEN = ("event_tracking", "event_tracking_last_seen")
NOT_DONE = ("event_tracking", "event_tracking_not_done")
PROVIDER = ("event_tracking", "event_tracking_provider")
PROPERTY = ("event_tracking", "event_tracking_property")
ANY_VALUE = ("event_tracking", "event_tracking_any_value")
ANY_TITLE = ("event_tracking", "event_tracking_any_title")
ANY_PROVIDER = ("event_tracking", "event_tracking_any_provider")
ANY_PROPERTY = ("event_tracking", "event_tracking_any_property")
SINCE_LAST = ("event_tracking", "event_tracking_since_last")
SINCE_FIRST = ("event_tracking", "event_tracking_since_first")


def condition(source: Any, operator: Any, value: Any = None, **more: Any) -> dict[str, Any]:
    """Return a condition as JSON."""
    return {"source": source, "operator": operator, "value": value, **more}


def ask(api: APIClient, filters: Any, **more: str) -> Any:
    """Send an advanced filter, as an object or as its text, with other parameters."""
    text = filters if isinstance(filters, str) else json.dumps(filters)
    query = {"filter_type": "advanced", "advanced_filters": text, **more}
    return api.get(f"{CONTACTS}?{urlencode(query)}")


def get_with_body(api: APIClient, fields: Any) -> Any:
    """Ask for contacts with the parameters in a JSON body."""
    return api.generic("GET", CONTACTS, json.dumps(fields), content_type="application/json")


def names_of(response: Any) -> list[str]:
    """Return the part before the @ of the e-mails on a page of contacts."""
    assert response.status_code == 200, response.content
    page = response.json()["subscribers"]
    return [row["email"].partition("@")[0] for row in page["data"]]


def found(api: APIClient, *conditions: dict[str, Any]) -> list[str]:
    """Return the names of the contacts that match all conditions, the oldest contact first."""
    return names_of(ask(api, [list(conditions)], sort_type="ASC"))
