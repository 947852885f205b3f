"""Write automations: save a version, publish, pause, resume, copy and delete.

A contact that is inside goes on in the current version: automations/moving.py looks its step up
there. docs/decisions/automations.md tells why.
"""

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from automations.documents import labels_in, places, read_document, walk
from automations.models import (
    Automation,
    AutomationStatus,
    Run,
    RunStatus,
    Step,
    Version,
)
from automations.watching import refresh_watches
from config.api.errors import ApiError, InvalidFields, Unprocessable
from config.api.validation import MAX_NAME_LENGTH
from config.database import fetch_one, in_transaction
from crm.labels import LabelKind

# Draws a number for the transaction, if it has none.
TRANSACTION = "SELECT pg_current_xact_id()::text::bigint"


class Outdated(ApiError):
    """409: another version was saved since the caller read the automation."""

    status_code = 409

    def __init__(self, version: Version) -> None:
        self.version = version
        message = f"Version {version.number} was saved meanwhile."
        super().__init__({"message": message, "version": version.number})


@in_transaction
def create_automation(
    data: Any, created_by: User | None = None, *, create_labels: bool = False
) -> Automation:
    """Create a draft.

    Args:
        data: the document as sent. The ids of its steps are ignored, because they are another
            automation's.
        created_by: the user.
        create_labels: whether labels that do not exist are created.

    Raises:
        InvalidFields: 422 with every error by its place.
    """
    document = read_document(data, create_labels=create_labels)
    for step in walk(document["steps"]):
        step["id"] = None
    automation = Automation.objects.create(
        title=document["title"], description=document["description"], created_by=created_by
    )
    _save_version(automation, document, created_by)
    return automation


@in_transaction
def update_automation(
    automation_id: int, data: Any, user: User | None = None, *, version: int | None = None
) -> Automation:
    """Save a new version. Contacts that are inside go on in it.

    Args:
        automation_id: id of the automation.
        data: the whole document as sent. A step with an id is the one that it was, one without is
            new, and one that is missing is removed.
        user: the user.
        version: the number of the version that the user has changed, or None if any will do.

    Raises:
        InvalidFields: 422 with every error by its place.
        Outdated: 409, `version` is not the current one.
        Automation.DoesNotExist: there is no such automation.
    """
    automation = _lock(automation_id)
    if version is not None and automation.version and automation.version.number != version:
        raise Outdated(automation.version)
    document = read_document(data)
    own = {*automation.steps.values_list("pk", flat=True)}
    errors = {
        f"{place}.id": {"exists": f"The {place}.id is no step of this automation."}
        for place, step in places(document["steps"])
        if step["id"] is not None and step["id"] not in own
    }
    if errors:
        raise InvalidFields(errors)
    before = automation.version.document if automation.version else {}
    automation.title, automation.description = document["title"], document["description"]
    automation.updated_at = timezone.now()
    has_other_trigger = document["trigger"] != before.get("trigger")
    if has_other_trigger and automation.status != AutomationStatus.DRAFT:
        _disarm(automation)
    _save_version(automation, document, user)
    # Those at a removed step go on behind it.
    kept = [step["id"] for step in walk(document["steps"])]
    inside = automation.runs.filter(status=RunStatus.ACTIVE)
    inside.exclude(step_id__in=kept).update(due_at=Now())
    if automation.status != AutomationStatus.DRAFT:
        refresh_watches()
    return automation


def _save_version(automation: Automation, document: dict[str, Any], user: User | None) -> None:
    new = [step for step in walk(document["steps"]) if step["id"] is None]
    rows = Step.objects.bulk_create(Step(automation=automation) for _ in new)
    for step, row in zip(new, rows, strict=True):
        step["id"] = row.pk
    number = automation.version.number + 1 if automation.version else 1
    stored = {name: value for name, value in document.items() if name != "description"}
    automation.version = Version.objects.create(
        automation=automation, number=number, document=stored, created_by=user
    )
    automation.save()


def _lock(automation_id: int) -> Automation:
    return (
        Automation.objects.select_for_update(of=("self",))
        .select_related("version")
        .get(pk=automation_id)
    )


@in_transaction
def publish(automation_id: int) -> Automation:
    """Let an automation start, or go on after a pause. What happened before starts nothing.

    Raises:
        Unprocessable: 422, it is published already.
        Automation.DoesNotExist: there is no such automation.
    """
    automation = _lock(automation_id)
    if automation.status == AutomationStatus.PUBLISHED:
        raise Unprocessable("The automation is published already.")
    # Everything that its document names has to exist still.
    read_document(document_of(automation))
    automation.status, automation.paused_reason = AutomationStatus.PUBLISHED, ""
    automation.updated_at = timezone.now()
    _disarm(automation)
    automation.save()
    refresh_watches()
    return automation


@in_transaction
def resume(automation_id: int, choice: str = "") -> int:
    """Let a paused automation go on.

    Args:
        automation_id: id of the automation.
        choice: what becomes of the contacts inside whose time has come meanwhile: "run" lets them
            go on at once, "cancel" ends their runs. "" is enough without such contacts.

    Returns:
        How many runs were overdue.

    Raises:
        Overdue: 422, there are such contacts, and no choice.
        Unprocessable: 422, it is not paused.
        InvalidFields: 422, something that the document names does not exist any more.
        Automation.DoesNotExist: there is no such automation.
    """
    automation = _lock(automation_id)
    if automation.status != AutomationStatus.PAUSED:
        raise Unprocessable("The automation is not paused.")
    number = overdue(automation)
    if number and not choice:
        raise Overdue(number)
    if choice == "cancel":
        cancel_overdue(automation, "It was overdue when the automation went on.")
    publish(automation_id)
    return number


class Overdue(ApiError):
    """422: contacts inside would go on at once, and the request does not say whether they shall."""

    status_code = 422

    def __init__(self, number: int) -> None:
        message = (
            f"The time of {number} contacts inside has come during the pause. "
            "Send overdue: run lets them go on now, cancel ends their runs."
        )
        super().__init__({"message": message, "error_code": "overdue", "overdue": number})


@in_transaction
def pause(automation_id: int, reason: str = "") -> Automation:
    """Let an automation start nothing, and the contacts inside stay where they are.

    What they wait for is noticed meanwhile.

    Raises:
        Unprocessable: 422, it is not published.
        Automation.DoesNotExist: there is no such automation.
    """
    automation = _lock(automation_id)
    if automation.status != AutomationStatus.PUBLISHED:
        raise Unprocessable("The automation is not published.")
    automation.status, automation.paused_reason = AutomationStatus.PAUSED, reason
    automation.updated_at = timezone.now()
    automation.save()
    return automation


def pause_users_of(kind: LabelKind, titles: Mapping[int, str]) -> None:
    """Pause the automations that name labels which are deleted, and say so.

    They would start nothing, or skip steps, and no page would tell.

    Args:
        kind: the kind of the labels.
        titles: their titles by id.
    """
    published = Automation.objects.filter(status=AutomationStatus.PUBLISHED)
    for automation in published.select_related("version").order_by("pk"):
        if names := labels_in(document_of(automation), kind) & titles.keys():
            title = titles[min(names)]
            pause(automation.pk, f"The {kind[:-1]} “{title}” was deleted.")


def pause_all(reason: str) -> int:
    """Pause all published automations. Returns how many."""
    published = Automation.objects.filter(status=AutomationStatus.PUBLISHED)
    return published.update(
        status=AutomationStatus.PAUSED, paused_reason=reason, updated_at=timezone.now()
    )


def overdue(automation: Automation) -> int:
    """Return how many contacts inside would go on at once."""
    return _due(automation).count()


@in_transaction
def cancel_overdue(automation: Automation, reason: str) -> int:
    """End the runs that would go on at once. Returns how many."""
    return _due(automation).update(
        status=RunStatus.CANCELLED, reason=reason, ended_at=Now(), due_at=None
    )


def _due(automation: Automation) -> QuerySet[Run]:
    # By PostgreSQL's clock, as automations/stepping.py finds runs.
    return automation.runs.filter(status=RunStatus.ACTIVE, due_at__lte=Now())


def copy_automation(automation: Automation, created_by: User | None = None) -> Automation:
    """Create a draft with the same document, whose title begins with "[Copy]", as FluentCRM's.

    Raises:
        InvalidFields: 422, something that the document names does not exist any more.
    """
    return create_automation(
        {**document_of(automation), "title": f"[Copy] {automation.title}"[:MAX_NAME_LENGTH]},
        created_by,
    )


def document_of(automation: Automation) -> dict[str, Any]:
    """Return the current document, with the description."""
    assert automation.version
    return {**automation.version.document, "description": automation.description}


@in_transaction
def delete_automation(automation_id: int) -> bool:
    """Let an automation start, do and send nothing any more. Returns whether there was one.

    automations/deletion.py deletes the rows within an hour, because they may be millions.
    """
    # A step that is about to commit holds the row.
    deleted = Automation.objects.filter(pk=automation_id).update(
        deleted_at=Now(), status=AutomationStatus.DRAFT, paused_reason="", armed_at=None
    )
    if deleted:
        refresh_watches()
    return bool(deleted)


def _disarm(automation: Automation) -> None:
    """Let an automation start nothing until it is armed, which the caller saves."""
    automation.armed_at = None
    [automation.arm_after] = fetch_one(TRANSACTION, {})
    automation.segment_read_at = None
