"""Admin pages of contacts with their events, of the log, and of what lets events in."""

from events.admin import contacts, events, tracking

__all__ = ["contacts", "events", "tracking"]
