"""Events for people: to be seen, never to be written here; and what lets them in."""

from events.admin import contacts, log, tracking

__all__ = ["contacts", "log", "tracking"]
