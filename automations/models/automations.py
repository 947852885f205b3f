"""Automations and their versions. Written by automations/writing.py."""

from typing import ClassVar, Self, TypeVar

from django.contrib.auth.models import User
from django.db import models
from django.utils.timezone import now
from typing_extensions import override

from config.api.validation import MAX_NAME_LENGTH
from crm.models import Subscriber

Row = TypeVar("Row", bound=models.Model)


class NotDeleted(models.Manager[Row]):
    """The rows that are not deleted. Those that are wait for automations/deletion.py."""

    @override
    def get_queryset(self) -> models.QuerySet[Row]:
        return super().get_queryset().filter(deleted_at=None)


class AutomationStatus(models.TextChoices):
    """Whether an automation starts, and whether the contacts inside move on."""

    DRAFT = "draft", "draft"
    PUBLISHED = "published", "published"
    PAUSED = "paused", "paused"


class Automation(models.Model):
    """Steps for the contacts to whom something happens. Versions have what they do."""

    title = models.CharField(max_length=MAX_NAME_LENGTH)
    description = models.TextField(blank=True)
    status = models.CharField(
        max_length=20, choices=AutomationStatus, default=AutomationStatus.DRAFT
    )
    # Why it is paused if no person did so.
    paused_reason = models.TextField(blank=True)
    # The current one.
    version = models.ForeignKey("Version", models.DO_NOTHING, null=True, related_name="+")
    # What happened before starts nothing. Null until every transaction has ended that may not
    # record what the trigger waits for, which are those that are older than `arm_after`.
    armed_at = models.DateTimeField(null=True)
    arm_after = models.BigIntegerField(null=True)
    # When the segment of the trigger was looked at last.
    segment_read_at = models.DateTimeField(null=True)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now)
    # Its rows are deleted later, because they may be millions. It is a draft meanwhile, so that
    # nothing of it starts or goes on.
    deleted_at = models.DateTimeField(null=True)

    objects: ClassVar[NotDeleted[Self]] = NotDeleted()
    with_deleted: ClassVar[models.Manager[Self]] = models.Manager()

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.title


class Version(models.Model):
    """What an automation does. It is never changed, so that processes may keep it in memory."""

    automation = models.ForeignKey(Automation, models.CASCADE, related_name="versions")
    # 1, 2, … of the automation.
    number = models.IntegerField()
    # As automations/documents.py returns it: trigger, conditions, rules, and steps with their ids.
    document = models.JSONField()
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=now)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("automation", "number"), name="automations_version_number"
            ),
        )

    def __str__(self) -> str:
        return f"version {self.number}"


class Step(models.Model):
    """The identity of a step, which stays the same in all versions of its automation."""

    automation = models.ForeignKey(Automation, models.CASCADE, related_name="steps")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"step {self.pk}"


class Member(models.Model):
    """A contact that was in the segment of an automation's trigger when it was looked at last."""

    automation = models.ForeignKey(Automation, models.CASCADE, related_name="+", db_index=False)
    # Without a constraint, because its check would lock the contact.
    subscriber = models.ForeignKey(
        Subscriber, models.DO_NOTHING, related_name="+", db_constraint=False
    )

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("automation", "subscriber"), name="automations_member_contact"
            ),
        )

    def __str__(self) -> str:
        return f"contact {self.subscriber_id}"
