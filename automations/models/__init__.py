"""Outgoing webhooks."""

from automations.models.webhooks import Attempt, Delivery, DeliveryStatus, Endpoint

__all__ = ["Attempt", "Delivery", "DeliveryStatus", "Endpoint"]
