"""Admin pages of labels, notes, fields, segments, webhooks, jobs, users; contacts' base."""

from crm.admin import (
    custom_fields,
    history,
    jobs,
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
    "jobs",
    "labels",
    "notes",
    "passwords",
    "segments",
    "users",
    "webhooks",
]
