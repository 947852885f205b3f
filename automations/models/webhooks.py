"""Outgoing webhooks: endpoints, what is delivered to them, and each attempt to deliver."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from automations.models.automations import NotDeleted


class Endpoint(models.Model):
    """A URL that webhooks are sent to. Written by automations/webhooks/.

    Receivers verify the signature by the secret. While `old_secret` is valid, messages are signed
    by both.
    """

    url = models.TextField("URL", editable=False)
    secret = models.CharField(max_length=60, editable=False)
    old_secret = models.CharField(max_length=60, default="", editable=False)
    old_secret_until = models.DateTimeField(null=True, editable=False)
    enabled = models.BooleanField(default=True, editable=False)
    # Why it is switched off, for admin users.
    disabled_reason = models.TextField(default="", editable=False)
    # In a row, until now.
    failures = models.IntegerField(default=0, editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    # Nothing is sent before, because the receiver fails or asked to wait.
    retry_at = models.DateTimeField(db_default=Now(), editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    # Its deliveries are deleted later, and none of them is sent meanwhile.
    deleted_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[NotDeleted[Self]] = NotDeleted()
    with_deleted: ClassVar[models.Manager[Self]] = models.Manager()

    class Meta:
        default_permissions = ("view", "change")
        verbose_name = "webhook endpoint"
        constraints = (
            models.UniqueConstraint(
                fields=("url",), condition=Q(deleted_at=None), name="automations_endpoint_url"
            ),
        )

    def __str__(self) -> str:
        return self.url


class DeliveryStatus(models.TextChoices):
    """What becomes of a delivery: pending, and then one of the others."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"
    # It was pending in a backup that was restored, and an admin user has not released it yet.
    HELD = "held"


class Delivery(models.Model):
    """A message for an endpoint, the same at each attempt. Written by automations/webhooks/.

    The ids of run, step and contact are no foreign keys, because their tables are busy. A row
    without a run is a test.
    """

    # The header webhook-id, by which receivers recognize a message that they have already.
    message_id = models.CharField(max_length=64, unique=True, editable=False)
    endpoint = models.ForeignKey(
        Endpoint, on_delete=models.PROTECT, db_index=False, editable=False, related_name="+"
    )
    run_id = models.BigIntegerField(null=True, editable=False)
    step_id = models.BigIntegerField(null=True, editable=False)
    subscriber_id = models.BigIntegerField(null=True, editable=False)
    # Emptied when KEEP_BODIES is over.
    body = models.TextField(editable=False)
    status = models.CharField(
        max_length=10, choices=DeliveryStatus, default=DeliveryStatus.PENDING, editable=False
    )
    # How many attempts have begun, which is the number of the current one.
    attempts = models.IntegerField(default=0, editable=False)
    # How many have begun since it was sent again, which is the place in the schedule.
    tries = models.IntegerField(default=0, editable=False)
    # Also the lease of the current attempt: another one begins after it.
    next_at = models.DateTimeField(db_default=Now(), editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    delivered_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        default_permissions = ("view", "change")
        verbose_name = "webhook delivery"
        verbose_name_plural = "webhook deliveries"
        constraints = (
            models.UniqueConstraint(
                fields=("run_id", "step_id"),
                condition=Q(run_id__isnull=False),
                name="automations_delivery_of_step",
            ),
        )
        indexes = (
            # The next one of each endpoint.
            models.Index(
                fields=("endpoint", "next_at", "id"),
                condition=Q(status="pending"),
                name="automations_delivery_due",
            ),
            models.Index(
                fields=("next_at",),
                condition=Q(status="pending", run_id__isnull=True),
                name="automations_delivery_test",
            ),
            models.Index(
                fields=("subscriber_id",),
                condition=Q(subscriber_id__isnull=False),
                name="automations_delivery_contact",
            ),
            models.Index(
                fields=("created_at",),
                condition=Q(status__in=("delivered", "failed", "cancelled")) & ~Q(body=""),
                name="automations_delivery_body",
            ),
            # Pages of admin users.
            models.Index(fields=("status", "-id"), name="automations_delivery_status"),
            models.Index(fields=("endpoint", "-id"), name="automations_delivery_endpoint"),
        )

    def __str__(self) -> str:
        return self.message_id


class Attempt(models.Model):
    """One attempt to deliver, and what the endpoint answered. Written by automations/webhooks/."""

    delivery = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, db_index=False, editable=False, related_name="results"
    )
    number = models.IntegerField(editable=False)
    at = models.DateTimeField(editable=False)
    took_ms = models.IntegerField(editable=False)
    # None: there was no response, and `error` tells why.
    http_status = models.IntegerField(null=True, editable=False)
    error = models.TextField(default="", editable=False)
    # The first kilobyte of the response.
    answer = models.TextField(default="", editable=False)

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("delivery", "number"), name="automations_attempt_of_delivery"
            ),
        )

    def __str__(self) -> str:
        return f"attempt {self.number}"
