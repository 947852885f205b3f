"""Admin pages of automations, of the runs of contacts, and of outgoing webhooks."""

from automations.admin import automations, contacts, deliveries, endpoints, runs

__all__ = ["automations", "contacts", "deliveries", "endpoints", "runs"]
