"""Jobs: work that takes longer than a request, such as an import."""

import secrets
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.utils.timezone import now


class JobState(models.TextChoices):
    """What becomes of a job: draft, waiting, running, and then one of the others."""

    # A file is there, and an admin user has not chosen yet what becomes of it.
    DRAFT = "draft"
    WAITING = "waiting"
    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"
    FAILED = "failed"


def new_folder() -> str:
    """Return the name of a new job's folder. It is random, because ids repeat after a restore."""
    return secrets.token_hex(16)


class Job(models.Model):
    """Work that a process does beside the web server, step by step. Written by crm/jobs.py.

    The row stays when the job has ended, because it is the record of who changed how many rows.
    """

    # A name of crm.jobs.register_kind.
    kind = models.CharField(max_length=50, editable=False)
    title = models.CharField(max_length=300, editable=False)
    parameters = models.JSONField(default=dict, editable=False)
    state = models.CharField(
        max_length=10, choices=JobState, default=JobState.WAITING, editable=False
    )
    stop_requested = models.BooleanField(default=False, editable=False)
    # How often it was claimed. A process whose number is lower has lost the job to another one.
    claim = models.BigIntegerField(default=0, editable=False)
    # Until then the process that runs it is believed to live.
    lease_until = models.DateTimeField(null=True, editable=False)
    # Items done, and in total if that is known.
    done = models.BigIntegerField(default=0, editable=False)
    total = models.BigIntegerField(null=True, editable=False)
    # Where the next step goes on, in the kind's own terms.
    position = models.JSONField(default=dict, editable=False)
    # Numbers by what they are called, such as {"created": 12}.
    counts = models.JSONField(default=dict, editable=False)
    error = models.TextField(editable=False)
    folder = models.CharField(max_length=32, default=new_folder, editable=False)
    # None: a command of the operator.
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=now, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        default_permissions = ("view",)
        indexes = (
            models.Index(
                fields=("id",),
                condition=Q(state__in=("waiting", "running")),
                name="crm_job_open",
            ),
        )

    def __str__(self) -> str:
        return self.title

    @property
    def path(self) -> Path:
        """The folder of the job's files, which need not exist."""
        return settings.FILES_DIR / self.folder


class BulkChange(models.Model):
    """What one step of a job changed of contacts in the same way, for an undo.

    Written by crm/bulk_changes.py and crm/bulk_columns.py.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="changes")
    # "tags", "lists", a column, or "custom_values".
    field = models.CharField(max_length=20)
    # The value of the column, the id of the label, or {key: value} of a custom value, "" for none.
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    # Those that had the value of after before are not among them.
    contact_ids = ArrayField(models.BigIntegerField())

    class Meta:
        default_permissions = ()
        indexes = (
            # For the values of a contact that is erased.
            GinIndex(
                fields=("contact_ids",),
                condition=Q(field__in=("avatar", "custom_values")),
                name="crm_bulkchange_values",
            ),
        )

    def __str__(self) -> str:
        return f"{len(self.contact_ids)} contacts, {self.field}"
