"""Tracked events, each occurrence of them, and the switch."""

from django.contrib.auth.models import User
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from crm.models import Subscriber

# What people need to see what contacts did; a page or a file that has one of them has both.
VIEW_EVENTS = ("events.view_trackedevent", "events.view_eventoccurrence")


class TrackedEvent(models.Model):
    """What a contact did, counted: one row per contact, key and title.

    Written by the statements of events/tracking/statements.py.

    Always: counter = unlogged + number of occurrences.
    """

    subscriber = models.ForeignKey(
        Subscriber,
        # Contacts go through crm.contacts.delete_contacts, which takes their events along.
        on_delete=models.DO_NOTHING,
        related_name="tracked_events",
        db_index=False,
        # There is one, made in the migration: Django's are checked at commit, and the server counts
        # that as a statement of its own.
        db_constraint=False,
    )
    event_key = models.CharField(max_length=192)
    title = models.CharField(max_length=192)
    value = models.TextField()
    provider = models.CharField(max_length=50)
    counter = models.BigIntegerField()
    # Counts that have no occurrence: imported, or pruned.
    unlogged = models.BigIntegerField(default=0, db_default=0)
    repeatable = models.BooleanField()
    # No constraint: it would check the user's row at every new event. Deleting a user nulls it.
    created_by = models.ForeignKey(
        User,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    # The first and the last occurrence.
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = (
            # What ON CONFLICT of the tracking statement counts up; rows that do not repeat are
            # outside it.
            models.UniqueConstraint(
                fields=("subscriber", "event_key", "title"),
                condition=Q(repeatable=True),
                name="events_trackedevent_repeatable",
            ),
        )
        # None on a column that a repeat changes: it would switch HOT updates off.
        indexes = (
            models.Index(fields=("event_key", "subscriber"), name="events_trackedevent_by_key"),
            models.Index(fields=("subscriber", "-id"), name="events_trackedevent_page"),
        )

    # Whether track() gave it back for a retry: the answer of the first call, not a new count.
    replayed = False

    def __str__(self) -> str:
        return f"{self.event_key}: {self.title}"


class EventOccurrence(models.Model):
    """One time that an event happened; append-only. The title stands on the event."""

    # No database constraints: a check on the hot event row deadlocks with deletion.
    event = models.ForeignKey(
        TrackedEvent,
        on_delete=models.DO_NOTHING,
        related_name="occurrences",
        db_constraint=False,
        db_index=False,
    )
    subscriber = models.ForeignKey(
        Subscriber,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    event_key = models.CharField(max_length=192)
    # As sent with this occurrence; the event keeps the first one's.
    provider = models.CharField(max_length=50)
    value = models.TextField()
    # The count it made.
    counter = models.BigIntegerField()
    properties = models.JSONField(default=dict)
    context = models.JSONField(default=dict)
    occurred_at = models.DateTimeField()
    received_at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index(
                fields=("subscriber", "-occurred_at", "-id"), name="events_occurrence_timeline"
            ),
            models.Index(
                fields=("event_key", "subscriber", "-occurred_at", "-id"),
                name="events_occurrence_by_key",
            ),
            BrinIndex(fields=("received_at",), name="events_occurrence_received"),
        )

    def __str__(self) -> str:
        return f"{self.event_key} at {self.occurred_at:%Y-%m-%d %H:%M:%S}"


class IdempotencyKey(models.Model):
    """The claim of an event that was sent with a key: a retry finds it and does not count again."""

    # Drawn before the occurrence was written, by the statement that wrote both. No foreign key: it
    # may be gone with its contact, and then a retry is told so.
    occurrence_id = models.BigIntegerField(primary_key=True)
    # Whose key it is: two callers may choose the same.
    credential = models.CharField(max_length=40)
    key = models.CharField(max_length=255)
    # SHA-256 of the fields sent.
    content = models.BinaryField(max_length=32)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("credential", "key"), name="events_idempotency_key"),
        )

    def __str__(self) -> str:
        return self.key


class EventName(models.Model):
    """The catalogue of event keys, by any protocol; written by the tracking statement."""

    name = models.CharField(max_length=192)
    first_seen_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("name",), name="events_eventname_name"),)
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class TrackingKey(models.Model):
    """The credential of ActiveCampaign's event call: one pair, shown to people, can be rotated."""

    actid = models.CharField("account id (actid)", max_length=20)
    key = models.CharField("event key (key)", max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="events_one_tracking_key"),)
        verbose_name_plural = "tracking key"

    def __str__(self) -> str:
        return self.actid


class TrackingSwitch(models.Model):
    """Whether events are taken at all; one row, or none until somebody touches it: on."""

    enabled = models.BooleanField(default=True)

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="events_one_switch"),)
        verbose_name_plural = "tracking switch"

    def __str__(self) -> str:
        return "on" if self.enabled else "off"

    @classmethod
    def is_enabled(cls) -> bool:
        """Whether events are taken."""
        return not cls.objects.filter(enabled=False).exists()

    @classmethod
    def set_enabled(cls, on: bool) -> None:
        """Switch tracking on or off, in every worker from the next request on."""
        cls.objects.update_or_create(id=1, defaults={"enabled": on})
