"""Admin pages of labels, notes, fields, segments, webhooks, passwords, users; contacts' base."""

from crm.admin import (
    custom_fields,
    history,
    labels,
    notes,
    passwords,
    segments,
    users,
    webhooks,
)

__all__ = [
    "custom_fields",
    "history",
    "labels",
    "notes",
    "passwords",
    "segments",
    "users",
    "webhooks",
]
