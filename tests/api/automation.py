"""Make automations, and let them run in the test's own transaction."""

from typing import Any

from automations.models import Automation, Run, RunStep
from automations.worker import run_once
from automations.writing import create_automation, publish
from config.database import fetch_rows
from crm.models import Subscriber
from events.tracking import track

CHECKOUT = {"type": "event", "event_key": "checkout"}
HOUR: dict[str, Any] = {"type": "wait", "wait": {"hours": 1}}
MARK = {"type": "track_event", "event_key": "marked", "title": "Marked"}
ARM = (
    "UPDATE automations_automation SET armed_at = clock_timestamp() WHERE id = %(id)s RETURNING id"
)


def published(*steps: dict[str, Any], **document: Any) -> Automation:
    """An automation that starts by the event checkout, or by what the document says."""
    automation = create_automation(
        {"title": "Test", "trigger": CHECKOUT, "steps": list(steps), **document}
    )
    publish(automation.pk)
    # The worker arms it once the test's transaction has ended.
    fetch_rows(ARM, {"id": automation.pk})
    automation.refresh_from_db()
    return automation


def happens(contact: Subscriber, event_key: str = "checkout", **fields: Any) -> None:
    """Track an event of a contact."""
    track({"subscriber_id": contact.pk, "event_key": event_key, "title": "Order", **fields})


def work() -> None:
    """Do all that the worker would do now."""
    while run_once():
        pass


def pass_time(run: Run) -> None:
    """Let the time of a wait end."""
    Run.objects.filter(pk=run.pk).update(due_at="2020-01-01T00:00:00Z")


def path(run: Run) -> list[tuple[int, str]]:
    """The steps of a run, in their order, with their outcomes."""
    return list(RunStep.objects.filter(run=run).order_by("id").values_list("step_id", "outcome"))


def outcomes(run: Run) -> list[str]:
    """The outcomes of the steps of a run, in their order."""
    return [outcome for _, outcome in path(run)]
