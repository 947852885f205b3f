"""Events for people: to be seen, never to be written here; and what lets them in."""

from events.admin import contacts, events, tracking

__all__ = ["contacts", "events", "tracking"]
