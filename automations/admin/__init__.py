"""Admin pages of outgoing webhooks."""

from automations.admin import deliveries, endpoints

__all__ = ["deliveries", "endpoints"]
