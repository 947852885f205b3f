"""Automations, their versions, and the runs of contacts through them."""

from automations.models.automations import Automation, AutomationStatus, Member, Step, Version
from automations.models.runs import Heartbeat, Refusal, Run, RunStatus, RunStep

__all__ = [
    "Automation",
    "AutomationStatus",
    "Heartbeat",
    "Member",
    "Refusal",
    "Run",
    "RunStatus",
    "RunStep",
    "Step",
    "Version",
]
