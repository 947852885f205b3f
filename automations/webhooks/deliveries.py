"""Deliveries: create them, send them again, hold them after a restore, and delete them."""

import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson
from django.utils import timezone

from automations.models import Delivery, DeliveryStatus, Endpoint
from automations.webhooks.endpoints import InvalidWebhook, endpoint_of
from config.database import fetch_one
from crm.contacts import Counts

# Receivers should expect 20 KB: Standard Webhooks.
MAX_BODY_BYTES = 128 * 1024
BODY_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,100}")
# How long a delivery can be sent again. Bodies hold data of contacts.
KEEP_BODIES = timedelta(days=30)
TEST_TYPE = "tallybook.test"
PER_STATEMENT = 5_000

# The lease of an attempt that goes on is respected, so that no message is sent twice at a time.
SEND_AGAIN = """
WITH again AS (
    UPDATE automations_delivery d
    SET status = 'pending', tries = 0, next_at = statement_timestamp(), delivered_at = NULL
    WHERE d.id = ANY(%(ids)s::bigint[]) AND d.body <> ''
        AND NOT (d.status = 'pending' AND d.attempts > 0 AND d.next_at > statement_timestamp()
            AND NOT EXISTS (SELECT FROM automations_attempt a
                            WHERE a.delivery_id = d.id AND a.number = d.attempts))
    RETURNING d.id
)
SELECT count(*) FROM again
"""
RELEASE = """
WITH released AS (
    UPDATE automations_delivery SET status = 'pending', next_at = statement_timestamp()
    WHERE status = 'held' RETURNING id
)
SELECT count(*) FROM released
"""
# What waits so long for an admin user is not sent any more.
EXPIRE = """
WITH expired AS (
    UPDATE automations_delivery SET status = 'failed' WHERE id IN (
        SELECT d.id FROM automations_delivery d JOIN automations_endpoint p ON p.id = d.endpoint_id
        WHERE d.next_at < statement_timestamp()
            AND d.created_at < statement_timestamp() - %(keep)s::interval
            AND (d.status = 'held' OR (d.status = 'pending' AND NOT p.enabled))
        LIMIT %(limit)s)
    RETURNING id
)
SELECT count(*) FROM expired
"""
EMPTY_BODIES = """
WITH emptied AS (
    UPDATE automations_delivery SET body = '' WHERE id IN (
        SELECT id FROM automations_delivery
        WHERE status IN ('delivered', 'failed', 'cancelled') AND body <> ''
            AND created_at < statement_timestamp() - %(keep)s::interval
        LIMIT %(limit)s)
    RETURNING id
), answers AS (
    UPDATE automations_attempt a SET answer = '' FROM emptied WHERE a.delivery_id = emptied.id
)
SELECT count(*) FROM emptied
"""
DELETE_OF_CONTACTS = """
WITH attempts AS (
    DELETE FROM automations_attempt a USING automations_delivery d
    WHERE d.subscriber_id = ANY(%(contacts)s::bigint[]) AND a.delivery_id = d.id
), deliveries AS (
    DELETE FROM automations_delivery
    WHERE subscriber_id = ANY(%(contacts)s::bigint[]) RETURNING id
)
SELECT count(*) FROM deliveries
"""
COUNT_OF_CONTACTS = """
SELECT count(*) FROM automations_delivery WHERE subscriber_id = ANY(%(contacts)s::bigint[])
"""


def create_delivery(
    url: str,
    body_type: str,
    data: Mapping[str, Any],
    *,
    run_id: int,
    step_id: int,
    contact_id: int,
) -> Delivery:
    """Create a delivery in the transaction of a step. It is sent when that is committed.

    The endpoint of the URL is created if there is none. The message is `{"type", "timestamp", "id",
    "data"}`, and stays as it is now, whatever changes before it is sent.

    Args:
        url: of the endpoint.
        body_type: what the message is about, such as automation.webhook.
        data: what the receiver gets, as JSON.
        run_id: id of the contact's run through the automation.
        step_id: id of the step. It has one delivery in a run.
        contact_id: id of the contact, with which the delivery is deleted.

    Raises:
        InvalidWebhook: the URL, the type or the data are invalid, or too long.
        django.db.IntegrityError: the step has a delivery in this run already.
    """
    message_id, body = _message(body_type, data)
    return Delivery.objects.create(
        message_id=message_id,
        body=body,
        endpoint=endpoint_of(url),
        run_id=run_id,
        step_id=step_id,
        subscriber_id=contact_id,
    )


def send_test(endpoint: Endpoint) -> Delivery:
    """Create a delivery that tests an endpoint, also one that is switched off.

    There is one attempt. If the endpoint accepts it, it is switched on.
    """
    message_id, body = _message(TEST_TYPE, {"message": "This is a test."})
    return Delivery.objects.create(message_id=message_id, body=body, endpoint=endpoint)


def _message(body_type: str, data: Mapping[str, Any]) -> tuple[str, str]:
    """Return a new id, and the text that is sent.

    Raises:
        InvalidWebhook: the type or the data are invalid, or too long.
    """
    if not BODY_TYPE.fullmatch(body_type):
        raise InvalidWebhook(
            "The type of a webhook has 1 to 100 letters and digits, and . - _ besides."
        )
    message_id = f"msg_{secrets.token_hex(16)}"
    message = {"type": body_type, "timestamp": timezone.now(), "id": message_id, "data": data}
    try:
        encoded = orjson.dumps(message)
    except orjson.JSONEncodeError as error:
        raise InvalidWebhook(f"The data of a webhook cannot be written as JSON: {error}.") from None
    if len(encoded) > MAX_BODY_BYTES:
        raise InvalidWebhook(
            f"The message of a webhook may have {MAX_BODY_BYTES:,} bytes at most, and this one has "
            "more."
        )
    return message_id, encoded.decode()


def send_again(delivery_ids: Collection[int]) -> int:
    """Send deliveries from the beginning of the schedule, with their ids and bodies as before.

    Those whose attempt goes on, and those whose body was deleted, are left as they are.

    Returns:
        The number of deliveries that are sent again.
    """
    number: int = fetch_one(SEND_AGAIN, {"ids": list(delivery_ids)})[0]
    return number


def cancel(delivery_ids: Collection[int]) -> int:
    """Cancel deliveries that are pending or held. Returns their number.

    A message whose attempt goes on arrives nevertheless, and is then delivered.
    """
    waiting = (DeliveryStatus.PENDING, DeliveryStatus.HELD)
    deliveries = Delivery.objects.filter(pk__in=list(delivery_ids), status__in=waiting)
    return deliveries.update(status=DeliveryStatus.CANCELLED)


def hold_deliveries() -> int:
    """Hold all pending deliveries until an admin user releases them. Returns their number.

    A backup has deliveries as pending that were delivered after it.
    """
    pending = Delivery.objects.filter(status=DeliveryStatus.PENDING)
    return pending.update(status=DeliveryStatus.HELD)


def hold_restored_deliveries(_: object) -> Iterator[str]:
    """Hold the deliveries of a backup, because they may have been delivered after it.

    Args:
        _: a connection to the old store.

    Yields:
        What the operator has to read.
    """
    if number := hold_deliveries():
        yield f"{number} webhooks of the backup are held. Release or cancel them in the admin."


def release_deliveries() -> int:
    """Send the deliveries that are held. Returns their number."""
    number: int = fetch_one(RELEASE, {})[0]
    return number


def prune_bodies() -> int:
    """Delete the bodies, and the texts of the responses, of deliveries that ended long ago.

    Deliveries that are held for so long, or wait for an endpoint that is switched off, fail before.
    The rows stay, because they are the record of what was sent.

    Returns:
        The number of emptied deliveries.
    """
    parameters = {"keep": KEEP_BODIES, "limit": PER_STATEMENT}
    while fetch_one(EXPIRE, parameters)[0]:
        pass
    number = 0
    while emptied := fetch_one(EMPTY_BODIES, parameters)[0]:
        number += emptied
    return number


def delete_deliveries_of(contact_ids: Sequence[int]) -> Counts:
    """Delete the deliveries about contacts that delete_contacts holds locked."""
    return {"webhook_deliveries": fetch_one(DELETE_OF_CONTACTS, {"contacts": list(contact_ids)})[0]}


def count_deliveries_of(contact_ids: Sequence[int]) -> Counts:
    """Return the number of rows that delete_deliveries_of would delete."""
    return {"webhook_deliveries": fetch_one(COUNT_OF_CONTACTS, {"contacts": list(contact_ids)})[0]}


def move_deliveries(survivor_id: int, other_id: int) -> None:
    """Move the deliveries about a contact that is merged into another one. Both are locked."""
    Delivery.objects.filter(subscriber_id=other_id).update(subscriber_id=survivor_id)


def count_moved_deliveries(_survivor_id: int, other_id: int) -> Counts:
    """Return the number of rows that move_deliveries would move."""
    return count_deliveries_of([other_id])
