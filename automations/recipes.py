"""Ready documents for the page that adds an automation. Each becomes a draft by one click."""

from typing import Any, NamedTuple


class Recipe(NamedTuple):
    """A document, and what it is for. Its tags are created if they do not exist."""

    name: str
    purpose: str
    document: dict[str, Any]


def _event(event_key: str, **more: Any) -> dict[str, Any]:
    return {"type": "event", "event_key": event_key, **more}


def _did(name: str, operator: str, value: Any, event_key: str) -> dict[str, Any]:
    return {
        "source": ["event_tracking", name],
        "operator": operator,
        "value": value,
        "extra_value": event_key,
    }


RECIPES = (
    Recipe(
        "welcome",
        "Track an event of each new contact, and tag the contact as new for two days.",
        {
            "title": "Welcome",
            "trigger": {"type": "contact_created"},
            "steps": [
                {"type": "add_tags", "tags": ["New"]},
                {"type": "track_event", "event_key": "welcome", "title": "Welcome"},
                {"type": "wait", "wait": {"days": 2, "at": "09:00", "zone": "contact"}},
                {"type": "remove_tags", "tags": ["New"]},
            ],
        },
    ),
    Recipe(
        "came-back",
        "Tag a contact who logs in after 30 days without a login.",
        {
            "title": "Came back",
            "trigger": _event("login"),
            "reentry": "after_end",
            # The login counts already.
            "conditions": [
                [
                    {**_did("event_tracking_count_within", "=", 1, "login"), "within_days": 30},
                    _did("event_tracking_total", ">", 1, "login"),
                ]
            ],
            "steps": [
                {"type": "remove_tags", "tags": ["Gone quiet"]},
                {"type": "add_tags", "tags": ["Came back"]},
                {"type": "track_event", "event_key": "came_back", "title": "Came back"},
                {"type": "wait", "wait": {"days": 30}},
                {"type": "remove_tags", "tags": ["Came back"]},
            ],
        },
    ),
    Recipe(
        "abandoned-cart",
        "Wait an hour for the checkout of a cart, and tag who leaves it behind.",
        {
            "title": "Abandoned cart",
            "trigger": _event("cart"),
            "reentry": "after_end",
            "steps": [
                {
                    "type": "wait_until",
                    "happens": _event("checkout"),
                    "since": "start",
                    "timeout": {"hours": 1},
                    "then": [{"type": "remove_tags", "tags": ["Abandoned cart"]}],
                    "else": [
                        {"type": "add_tags", "tags": ["Abandoned cart"]},
                        {
                            "type": "track_event",
                            "event_key": "cart_abandoned",
                            "title": "Left {{event.title|a cart}} behind",
                            "value": "{{event.value}}",
                        },
                    ],
                }
            ],
        },
    ),
    Recipe(
        "third-purchase",
        "Tag a contact as a regular customer at the third purchase.",
        {
            "title": "Third purchase",
            "trigger": _event("purchase", times=3, when="at"),
            "steps": [
                {"type": "add_tags", "tags": ["Regular customer"]},
                {"type": "track_event", "event_key": "third_purchase", "title": "Third purchase"},
            ],
        },
    ),
    Recipe(
        "gone-quiet",
        "Tag a contact who has not logged in for 30 days after a login.",
        {
            "title": "Gone quiet",
            "trigger": _event("login"),
            "reentry": "every_time",
            "steps": [
                {"type": "wait", "wait": {"days": 30}},
                {"type": "add_tags", "tags": ["Gone quiet"]},
                {"type": "track_event", "event_key": "gone_quiet", "title": "Gone quiet"},
            ],
        },
    ),
    Recipe(
        "webhook",
        "Send each order to another program.",
        {
            "title": "Webhook of each order",
            "trigger": _event("order"),
            "reentry": "every_time",
            "only_subscribed": False,
            "steps": [{"type": "webhook", "url": "https://example.com/orders"}],
        },
    ),
)
