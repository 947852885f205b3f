"""Admin pages of labels, segments, application passwords and users; the base of contacts'."""

from crm.admin import labels, passwords, segments, users

__all__ = ["labels", "passwords", "segments", "users"]
