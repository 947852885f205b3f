"""Tracked events, their occurrences, idempotency keys, names, the tracking key and the switch."""

from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from crm.models import Subscriber

# What an admin user needs to see events, because every page and file of them shows both.
VIEW_EVENTS = ("events.view_trackedevent", "events.view_eventoccurrence")
# What a user needs to merge contacts. One of them is deleted, and loses its occurrences.
MERGE_CONTACTS = (
    *("crm.change_subscriber", "crm.delete_subscriber"),
    "events.delete_eventoccurrence",
)


class TrackedEvent(models.Model):
    """What a contact did, counted: one row per contact, key and title.

    Written by events/tracking/statements.py. Always: counter = unlogged + number of occurrences.
    """

    subscriber = models.ForeignKey(
        Subscriber,
        # crm.contacts.delete_contacts deletes events before their contact.
        on_delete=models.DO_NOTHING,
        related_name="tracked_events",
        db_index=False,
        # The migration makes one that is not deferrable, because Django's are checked at the
        # commit, which is one statement more.
        db_constraint=False,
    )
    event_key = models.CharField(max_length=192)
    title = models.CharField(max_length=192)
    value = models.TextField()
    provider = models.CharField(max_length=50)
    counter = models.BigIntegerField()
    # The part of the counter that has no occurrences, because they were imported or pruned.
    unlogged = models.BigIntegerField(default=0, db_default=0)
    repeatable = models.BooleanField()
    # Without a constraint, because it would check the user's row at every new event. Deleting a
    # user sets it to null.
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
            # For ON CONFLICT of the tracking statement. Rows that do not repeat are outside it.
            models.UniqueConstraint(
                fields=("subscriber", "event_key", "title"),
                condition=Q(repeatable=True),
                name="events_trackedevent_repeatable",
            ),
        )
        # None on a column that counting changes, because it would prevent HOT updates.
        indexes = (
            models.Index(fields=("event_key", "subscriber"), name="events_trackedevent_by_key"),
            models.Index(fields=("subscriber", "-id"), name="events_trackedevent_page"),
            # For filters by provider or title, and for the names of all providers.
            models.Index(
                fields=("provider", "title", "subscriber"), name="events_trackedevent_by_kind"
            ),
        )

    # Whether track() returned it for a retry, with the counter of the first call.
    replayed = False

    def __str__(self) -> str:
        return f"{self.event_key}: {self.title}"


class EventOccurrence(models.Model):
    """An occurrence of an event, whose title is the event's.

    Rows are never changed, but for contact and event when contacts are merged. Its columns that
    hold what was sent are STORED_COLUMNS of events/tracking/fields.py.
    """

    # Without database constraints, because a check of the event's row deadlocks with deletion.
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
    # As sent with this occurrence. The event keeps that of the first one.
    provider = models.CharField(max_length=50)
    value = models.TextField()
    # The event's counter after this occurrence. It stays when others are taken back.
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
    """The claim on a key that an event was sent with. A retry finds it and counts nothing."""

    # Drawn by the statement that writes both. Without a foreign key, because its check would cost
    # each event a lock: delete_events_of deletes the keys of a contact.
    occurrence_id = models.BigIntegerField(primary_key=True)
    # The contact of the occurrence, beside its id.
    subscriber = models.ForeignKey(
        Subscriber,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    # The owner of the key, because two API clients may choose the same.
    credential = models.CharField(max_length=40)
    key = models.CharField(max_length=255)
    # SHA-256 of the fields sent.
    content = models.BinaryField(max_length=32)
    created_at = models.DateTimeField()
    # The response of the first request, kept here once its occurrence is taken back.
    event_id = models.BigIntegerField(null=True)
    counter = models.BigIntegerField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("credential", "key"), name="events_idempotency_key"),
        )
        indexes = (
            # For the deletion of a contact, which finds its other keys by the occurrences.
            models.Index(
                fields=("subscriber",),
                condition=Q(event_id__isnull=False),
                name="events_key_taken_back",
            ),
        )

    def __str__(self) -> str:
        return self.key


class ImportedEvent(models.Model):
    """A row of another store's events, whose counter was imported.

    The next import of the source adds what the source has counted since. Written by
    events/tracking/imported_counts.py.
    """

    # The owner of the keys of the import.
    source = models.CharField(max_length=40)
    # The id of the row in the source.
    source_id = models.CharField(max_length=255)
    # Without constraints, as those of occurrences: delete_events_of deletes it with its contact.
    subscriber = models.ForeignKey(
        Subscriber, on_delete=models.DO_NOTHING, related_name="+", db_constraint=False
    )
    # It may be gone, if all its occurrences were taken back.
    event = models.ForeignKey(
        TrackedEvent,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    # That of the source when it was imported, and how many of it have an occurrence here.
    counter = models.BigIntegerField()
    logged = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("source", "source_id"), name="events_imported_row"),
        )

    def __str__(self) -> str:
        return f"{self.source} {self.source_id}"


class EventName(models.Model):
    """The catalogue of event keys of all protocols, written by the tracking statement."""

    name = models.CharField(max_length=192)
    first_seen_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("name",), name="events_eventname_name"),)
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class TrackingKey(models.Model):
    """The credentials of ActiveCampaign's event call: a single row, stored readable."""

    actid = models.CharField("account id (actid)", max_length=20)
    key = models.CharField("event key (key)", max_length=64)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="events_one_tracking_key"),)
        verbose_name_plural = "tracking key"

    def __str__(self) -> str:
        return self.actid


class TrackingSwitch(models.Model):
    """The global tracking switch: a single row. No row means enabled."""

    enabled = models.BooleanField(default=True)
    # The event keys that are recorded in the outbox of crm, here because every tracking statement
    # reads this row. Written by events/tracking/watching.py.
    watched = ArrayField(
        models.CharField(max_length=192), default=list, db_default=[], editable=False
    )

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="events_one_switch"),)
        verbose_name_plural = "tracking switch"

    def __str__(self) -> str:
        return "on" if self.enabled else "off"

    @classmethod
    def is_enabled(cls) -> bool:
        """Return whether events are recorded."""
        return not cls.objects.filter(enabled=False).exists()

    @classmethod
    def set_enabled(cls, enabled: bool) -> None:
        """Enable or disable tracking, in every worker from the next request on."""
        cls.objects.update_or_create(id=1, defaults={"enabled": enabled})
