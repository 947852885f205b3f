"""Admin pages of automations and of the runs of contacts through them."""

from automations.admin import automations, contacts, runs

__all__ = ["automations", "contacts", "runs"]
