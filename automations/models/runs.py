"""The runs of contacts through automations, and the processes that move them on."""

from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from automations.models.automations import Automation, Version
from crm.models import Subscriber


class RunStatus(models.TextChoices):
    """Whether a contact is inside, or how its run has ended."""

    ACTIVE = "active", "inside"
    COMPLETED = "completed", "completed"
    CANCELLED = "cancelled", "left"
    FAILED = "failed", "failed"


IS_OPEN = Q(status=RunStatus.ACTIVE)


class Run(models.Model):
    """One run of a contact through an automation, and where it is.

    It is written under the lock of its contact, by automations/starting.py and
    automations/moving.py.
    """

    # Without constraints, because their checks would lock automation and contact. The deletion of
    # either deletes its runs.
    automation = models.ForeignKey(
        Automation, models.DO_NOTHING, related_name="runs", db_constraint=False, db_index=False
    )
    subscriber = models.ForeignKey(
        Subscriber, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    # 1, 2, … of the contact in the automation.
    number = models.IntegerField()
    # The one in which its step was looked up last.
    version = models.ForeignKey(
        Version, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    status = models.CharField(max_length=20, choices=RunStatus, default=RunStatus.ACTIVE)
    # Why it has ended, if the steps have not.
    reason = models.CharField(max_length=200, blank=True)
    # The step that is next or, once entered, that it waits at. Null before the first one of a
    # version without steps.
    step_id = models.BigIntegerField(null=True)
    entered_at = models.DateTimeField(null=True)
    # When it goes on. Null if only what happens can move it on.
    due_at = models.DateTimeField(null=True)
    # Whether that has happened.
    happened = models.BooleanField(default=False)
    # What it started by: a kind and key of the outbox, "segment" or "manual".
    source_kind = models.CharField(max_length=20)
    source_key = models.CharField(max_length=192, blank=True)
    occurrence_id = models.BigIntegerField(null=True)
    # When that happened.
    source_at = models.DateTimeField()
    # The ids of the automations that led to it, without this one.
    cause = ArrayField(models.BigIntegerField(), default=list)
    # How often its step has failed, and the last error.
    attempts = models.SmallIntegerField(default=0)
    error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ("view", "change")
        constraints = (
            models.UniqueConstraint(
                fields=("subscriber", "automation", "number"), name="automations_run_number"
            ),
            # A contact is inside of an automation once at a time.
            models.UniqueConstraint(
                fields=("subscriber", "automation"), condition=IS_OPEN, name="automations_run_open"
            ),
        )
        indexes = (
            # Runs that have ended cost nothing.
            models.Index(
                fields=("automation", "due_at", "id"),
                condition=IS_OPEN & Q(due_at__isnull=False),
                name="automations_run_due",
            ),
            models.Index(fields=("automation", "-created_at"), name="automations_run_newest"),
            # The report counts by it, without reading the rows.
            models.Index(fields=("automation", "status", "step_id"), name="automations_run_report"),
        )

    def __str__(self) -> str:
        return f"run {self.pk}"

    def end(self, now: datetime, status: RunStatus, reason: str) -> None:
        """End the run without saving it. `now` is PostgreSQL's time."""
        self.status, self.reason, self.ended_at, self.due_at = status, reason, now, None


class RunStep(models.Model):
    """What a step did in a run. The unique constraint keeps a step from being done twice."""

    run = models.ForeignKey(
        Run, models.DO_NOTHING, related_name="steps", db_constraint=False, db_index=False
    )
    automation = models.ForeignKey(
        Automation, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    subscriber = models.ForeignKey(
        Subscriber, models.DO_NOTHING, related_name="+", db_constraint=False
    )
    step_id = models.BigIntegerField()
    version = models.ForeignKey(
        Version, models.DO_NOTHING, related_name="+", db_constraint=False, db_index=False
    )
    # "done", "skipped", "yes", "no", "removed".
    outcome = models.CharField(max_length=20)
    detail = models.JSONField(default=dict)
    at = models.DateTimeField(default=now)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("run", "step_id"), name="automations_runstep_once"),
        )
        indexes = (
            models.Index(
                fields=("automation", "step_id", "outcome"), name="automations_runstep_report"
            ),
        )

    def __str__(self) -> str:
        return f"step {self.step_id}: {self.outcome}"


class Refusal(models.Model):
    """Why a contact did not start, counted: one row for each reason."""

    automation = models.ForeignKey(Automation, models.CASCADE, related_name="+", db_index=False)
    subscriber = models.ForeignKey(
        Subscriber, models.DO_NOTHING, related_name="+", db_constraint=False
    )
    # "conditions", "status", "too_old", "loop" or "error".
    reason = models.CharField(max_length=20)
    detail = models.TextField(blank=True)
    times = models.BigIntegerField(default=1)
    last_at = models.DateTimeField(default=now)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("automation", "subscriber", "reason"), name="automations_refusal_reason"
            ),
        )

    def __str__(self) -> str:
        return self.reason


class Heartbeat(models.Model):
    """A process that runs automations, and when it was last at work by PostgreSQL's clock."""

    name = models.CharField(max_length=200, unique=True)
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.name
