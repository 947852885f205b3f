"""What forms offer where a filter asks for events; any other key or provider can be typed."""

from config.api.validation import MAX_ITEMS
from crm.filters import Choices
from events.models import EventName, TrackedEvent

VIEW_EVENTS = "events.view_trackedevent"


def known_keys() -> list[tuple[str, str]]:
    """Keys of the catalogue."""
    return [(name, name) for name in EventName.objects.values_list("name", flat=True)[:MAX_ITEMS]]


def latest_providers() -> list[tuple[str, str]]:
    """Who sent the newest events first: there is no list of all providers."""
    newest = TrackedEvent.objects.order_by("-id").values_list("provider", flat=True)[:MAX_ITEMS]
    return [(name, name) for name in sorted(set(newest))]


KNOWN_KEYS = Choices("event_keys", known_keys, VIEW_EVENTS)
LATEST_PROVIDERS = Choices("event_providers", latest_providers, VIEW_EVENTS)
