"""Automations, their versions, the runs of contacts through them, and outgoing webhooks."""

from automations.models.automations import Automation, AutomationStatus, Member, Step, Version
from automations.models.runs import Heartbeat, Refusal, Run, RunStatus, RunStep
from automations.models.webhooks import Attempt, Delivery, DeliveryStatus, Endpoint

__all__ = [
    "Attempt",
    "Automation",
    "AutomationStatus",
    "Delivery",
    "DeliveryStatus",
    "Endpoint",
    "Heartbeat",
    "Member",
    "Refusal",
    "Run",
    "RunStatus",
    "RunStep",
    "Step",
    "Version",
]
