"""Suggest event keys and providers for filters. Forms accept any others, too."""

from config.api.validation import MAX_ITEMS
from crm.filters.types import Choices
from events.models import EventName, TrackedEvent

VIEW_PERMISSION = "events.view_trackedevent"


def known_keys() -> list[tuple[str, str]]:
    """Return the event keys of the catalogue, at most 1,000."""
    return [(name, name) for name in EventName.objects.values_list("name", flat=True)[:MAX_ITEMS]]


def latest_providers() -> list[tuple[str, str]]:
    """Return the providers of the newest 1,000 events, because there is no table of providers."""
    newest = TrackedEvent.objects.order_by("-id").values_list("provider", flat=True)[:MAX_ITEMS]
    return [(name, name) for name in sorted(set(newest))]


EVENT_KEYS = Choices("event_keys", known_keys, VIEW_PERMISSION)
EVENT_PROVIDERS = Choices("event_providers", latest_providers, VIEW_PERMISSION)
