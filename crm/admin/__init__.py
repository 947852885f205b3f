"""Admin pages of labels, notes, segments, application passwords and users; the base of contacts'."""

from crm.admin import history, labels, notes, passwords, segments, users

__all__ = ["history", "labels", "notes", "passwords", "segments", "users"]
