"""What happened to contacts and is watched, for the apps that act on it."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import BooleanField, Func, Value
from django.db.models.functions import Cast, Coalesce, NullIf

from crm.models.contacts import Subscriber

# Settings of a transaction: whether what it writes starts nothing, and by which automations it was
# caused. crm/outbox.py sets them.
QUIET = "tallybook.quiet"
CAUSE = "tallybook.cause"


class OutboxKind(models.TextChoices):
    """What can happen to a contact."""

    EVENT = "event"
    CREATED = "created"
    STATUS = "status"
    TAG_ADDED = "tag_added"
    TAG_REMOVED = "tag_removed"
    LIST_ADDED = "list_added"
    LIST_REMOVED = "list_removed"


class Watch(models.Model):
    """A kind and key that is recorded in the outbox. Those of events are in TrackingSwitch."""

    kind = models.CharField(max_length=20, choices=OutboxKind)
    # The id of a tag or list in digits, a status, or "".
    key = models.CharField(max_length=192, blank=True)

    class Meta:
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("kind", "key"), name="crm_watch_key"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


def _setting(name: str) -> Func:
    return Func(Value(name), Value(True), function="current_setting")


class OutboxEntry(models.Model):
    """What happened to a contact, until an app has acted on it and deletes the entry.

    It is inserted by the statement that writes the change, so that both are committed or neither.
    """

    # Without constraints, because its check would lock the contact once more.
    subscriber = models.ForeignKey(
        Subscriber,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    kind = models.CharField(max_length=20, choices=OutboxKind)
    # The event key, the id of a label in digits, a status, or "".
    key = models.CharField(max_length=192)
    # Of an event: its title, the occurrence, and the counter of key and title after it.
    title = models.CharField(max_length=192, default="", db_default="")
    occurrence_id = models.BigIntegerField(null=True)
    counter = models.BigIntegerField(null=True)
    # How much the change has added to the counters of the key, over all titles.
    amount = models.BigIntegerField(default=0, db_default=0)
    # Whether it starts nothing, because it was imported.
    quiet = models.BooleanField(
        db_default=Coalesce(Cast(NullIf(_setting(QUIET), Value("")), BooleanField()), Value(False))
    )
    # The ids of the automations that led to it, the first cause first.
    cause = ArrayField(
        models.BigIntegerField(),
        db_default=Cast(
            Coalesce(NullIf(_setting(CAUSE), Value("")), Value("{}")),
            ArrayField(models.BigIntegerField()),
        ),
    )
    occurred_at = models.DateTimeField(db_default=Func(function="clock_timestamp"))
    # By PostgreSQL's clock, because times of several machines are compared.
    created_at = models.DateTimeField(db_default=Func(function="clock_timestamp"))

    class Meta:
        default_permissions = ()
        indexes = (models.Index(fields=("subscriber", "id"), name="crm_outboxentry_contact"),)
        verbose_name_plural = "outbox entries"

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"
