"""Admin pages of labels, fields, segments, application passwords and users; contacts' base."""

from crm.admin import custom_fields, history, labels, passwords, segments, users, webhooks

__all__ = [
    "custom_fields",
    "history",
    "labels",
    "passwords",
    "segments",
    "users",
    "webhooks",
]
