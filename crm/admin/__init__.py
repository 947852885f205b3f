"""Admin pages of labels, segments, application passwords and users; the base of contacts'."""

from crm.admin import history, labels, passwords, segments, users, webhooks

__all__ = ["history", "labels", "passwords", "segments", "users", "webhooks"]
