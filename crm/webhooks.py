"""Create and change incoming webhooks, and store the contacts that are posted to them."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from django.contrib.auth.models import User
from django.utils.timezone import now

from config.api.errors import InvalidFields
from config.database import in_transaction
from crm.attachments import MAX_LABELS
from crm.labels import LABEL_MODELS, LabelKind
from crm.models import IncomingWebhook, updated_now

# 128 random bits, which cannot be guessed, so that an index may compare them.
SECRET_BYTES = 16
# Each response of /webhooks has all of them.
MAX_WEBHOOKS = 500
# What a post may do, its webhook's user may do.
POST_PERMISSIONS = ("crm.add_subscriber", "crm.change_subscriber")
LAST_USED_EVERY = timedelta(minutes=1)
TOO_MANY = {"max": f"There may be {MAX_WEBHOOKS} webhooks at most."}


class WebhookFields(NamedTuple):
    """What an incoming webhook does to a contact."""

    name: str
    status: str
    labels: Mapping[LabelKind, Sequence[int]]


@in_transaction
def create_webhook(user: User, fields: WebhookFields) -> IncomingWebhook:
    """Create an incoming webhook with a new secret.

    Args:
        user: whose permissions bound those of the posts. An inactive user's are rejected.
        fields: name, status and labels.

    Raises:
        InvalidFields: 422, there are too many webhooks, or labels.
    """
    check_number()
    check_labels(fields.labels)
    webhook = IncomingWebhook.objects.create(
        user=user,
        name=fields.name,
        status=fields.status,
        secret=new_secret(),
    )
    _set_labels(webhook, fields.labels)
    return webhook


def check_number() -> None:
    """Check that there may be another webhook.

    Raises:
        InvalidFields: 422.
    """
    if IncomingWebhook.objects.count() >= MAX_WEBHOOKS:
        raise InvalidFields({"name": TOO_MANY})


def check_labels(labels: Mapping[LabelKind, Sequence[int]]) -> None:
    """Check that a contact may have the labels of a webhook.

    Raises:
        InvalidFields: 422.
    """
    for kind, ids in labels.items():
        if len(ids) > MAX_LABELS:
            message = f"A contact may have {MAX_LABELS} {kind} at most."
            raise InvalidFields({kind: {"max": message}})


def new_secret() -> str:
    """Return a random secret."""
    return secrets.token_hex(SECRET_BYTES)


@in_transaction
def update_webhook(webhook_id: int, fields: WebhookFields) -> IncomingWebhook | None:
    """Change an incoming webhook, whose secret stays. Returns None if it does not exist.

    Raises:
        InvalidFields: 422, there are too many labels.
    """
    check_labels(fields.labels)
    rows = IncomingWebhook.objects.filter(id=webhook_id)
    webhook = rows.select_for_update().first()
    if webhook is None:
        return None
    rows.update(name=fields.name, status=fields.status, updated_at=updated_now())
    _set_labels(webhook, fields.labels)
    webhook.refresh_from_db()
    return webhook


def _set_labels(webhook: IncomingWebhook, labels: Mapping[LabelKind, Sequence[int]]) -> None:
    # One that is deleted meanwhile fails, and is not found when this is tried again.
    for kind, model in LABEL_MODELS.items():
        getattr(webhook, kind).set(model.objects.filter(id__in=labels[kind]))


def find_webhook(secret: str) -> IncomingWebhook | None:
    """Return the incoming webhook with this secret, and note its use, at most once a minute.

    None, if there is none or its user is inactive.
    """
    webhook = (
        IncomingWebhook.objects.select_related("user")
        .filter(secret=secret, user__is_active=True)
        .first()
    )
    if webhook and (webhook.last_used_at is None or webhook.last_used_at < now() - LAST_USED_EVERY):
        IncomingWebhook.objects.filter(id=webhook.pk).update(last_used_at=now())
    return webhook
