"""Do what a step says to one contact, whom the caller's transaction has locked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from automations.models import Run
from automations.placeholders import parse_text, render
from automations.values import contact_values, event_values
from automations.waits import CUSTOM_PREFIX
from automations.webhooks.deliveries import MAX_BODY_BYTES, create_delivery
from automations.webhooks.endpoints import InvalidWebhook
from config.api.warnings import Warnings
from crm.api.fields import contact_fields
from crm.attachments import attach, detach
from crm.contacts import create_or_update
from crm.labels import LABEL_MODELS, LabelKind
from events.tracking import track

# Of the events of steps.
PROVIDER = "automation"


class Outcome(NamedTuple):
    """What a step did: "done", or "skipped" with the reason in `detail`."""

    name: str
    detail: dict[str, Any]


@dataclass
class Context:
    """The contact, and what started its run. What placeholders name is read once."""

    run: Run

    @cached_property
    def contact(self) -> dict[str, Any]:
        """The contact as the API shows it."""
        return contact_values(self.run.subscriber_id)

    @cached_property
    def event(self) -> dict[str, Any] | None:
        """The occurrence that started the run, as the API shows it."""
        return event_values(self.run.subscriber_id, self.run.occurrence_id)

    def render(self, text: str) -> str:
        """Return a text with values in place of placeholders."""
        if "{{" not in text:
            return text
        return render(parse_text(text), self.contact, self.event)

    def changed(self) -> None:
        """Forget the contact, because a step has changed it."""
        self.__dict__.pop("contact", None)


Action = Callable[[Context, Mapping[str, Any]], Outcome]


def _labels(kind: LabelKind, is_attached: bool) -> Action:
    def change(context: Context, step: Mapping[str, Any]) -> Outcome:
        wanted = step[kind]
        write = attach if is_attached else detach
        pairs = write(kind, [context.run.subscriber_id], wanted)
        if not pairs and not LABEL_MODELS[kind].objects.filter(pk__in=wanted).exists():
            return Outcome("skipped", {"reason": f"The {kind} were deleted."})
        context.changed()
        return Outcome("done", {kind: [pair.label_id for pair in pairs]})

    return change


def _set_fields(context: Context, step: Mapping[str, Any]) -> Outcome:
    texts = {name: context.render(text) for name, text in step["fields"].items()}
    fields: dict[str, Any] = {
        name: text for name, text in texts.items() if not name.startswith(CUSTOM_PREFIX)
    }
    fields["custom_values"] = {
        name.removeprefix(CUSTOM_PREFIX): text
        for name, text in texts.items()
        if name.startswith(CUSTOM_PREFIX)
    }
    fields["email"] = context.contact["email"]
    warnings: Warnings = []
    columns = contact_fields(fields, warnings)
    # An opt-out stays, because no person decides at this moment.
    create_or_update(columns, force_status=True, keep_opt_outs=True, warnings=warnings)
    context.changed()
    detail: dict[str, Any] = {"fields": texts}
    if warnings:
        detail["warnings"] = [warning["message"] for warning in warnings]
    return Outcome("done", detail)


def _track_event(context: Context, step: Mapping[str, Any]) -> Outcome:
    fields = {name: context.render(step[name]) for name in ("event_key", "title", "value")}
    data = {**fields, "provider": PROVIDER, "subscriber_id": context.run.subscriber_id}
    event = track(data)
    return Outcome("done", {**fields, "counter": event.counter})


def _send_webhook(context: Context, step: Mapping[str, Any]) -> Outcome:
    run = context.run
    data: dict[str, Any] = {}
    length = 0
    for name, text in step["data"].items():
        data[name] = context.render(text)
        length += len(data[name])
        if length > MAX_BODY_BYTES:
            # The message is too long already, and all texts may have hundreds of megabytes.
            break
    if not data:
        data = {
            "automation_id": run.automation_id,
            "contact": context.contact,
            "event": context.event,
        }
    try:
        delivery = create_delivery(
            step["url"],
            "automation.webhook",
            data,
            run_id=run.pk,
            step_id=step["id"],
            contact_id=run.subscriber_id,
        )
    except InvalidWebhook as error:
        return Outcome("skipped", {"reason": str(error)})
    return Outcome("done", {"url": step["url"], "message_id": delivery.message_id})


# By the type of the step. Waits, conditions and the end are in automations/moving.py.
ACTIONS: dict[str, Action] = {
    "add_tags": _labels("tags", True),
    "remove_tags": _labels("tags", False),
    "add_lists": _labels("lists", True),
    "remove_lists": _labels("lists", False),
    "set_fields": _set_fields,
    "track_event": _track_event,
    "webhook": _send_webhook,
}
