"""Admin pages of labels, notes, segments, passwords and users; the base of contacts'."""

from crm.admin import history, labels, notes, passwords, segments, users

__all__ = ["history", "labels", "notes", "passwords", "segments", "users"]
