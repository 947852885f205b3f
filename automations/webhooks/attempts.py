"""Make attempts to deliver: claim a delivery by a lease, post it, and record what came of it.

No transaction is open while a receiver answers. A process that dies leaves a lease that ends, and
then another one delivers the same message again. All times are those of PostgreSQL's clock, because
several hosts may deliver.
"""

import logging
import time
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from django.db import InterfaceError, OperationalError

from automations.webhooks.client import Answer, post
from automations.webhooks.deliveries import cancel
from automations.webhooks.endpoints import BREAKER_FAILURES, DISABLE_AFTER_DAYS
from automations.webhooks.signing import signed_headers
from config.database import fetch_row, fetch_rows

logger = logging.getLogger(__name__)

# Longer than an attempt: client.DEADLINE_SECONDS.
LEASE_SECONDS = 60
# The pause before each attempt, by Standard Webhooks: 75.6 hours together.
SCHEDULE_SECONDS = (0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 5.0, 3600.0
# The receiver, or what stands before it, has too much to do.
THROTTLED = (429, 502, 504)
GONE = 410

# The oldest due delivery of each endpoint that may be sent to, and tests, which may always be sent.
# Endpoints that were not served go first, and then those that were served longest ago.
# Two processes may find the same delivery: the second finds it locked, or no longer due.
# statement_timestamp() can be compared by an index, and clock_timestamp() cannot.
CLAIM = """
WITH due AS (
    SELECT next.id, array_position(%(served)s::bigint[], p.id) AS place
    FROM automations_endpoint p CROSS JOIN LATERAL (
        SELECT d.id, d.next_at FROM automations_delivery d
        WHERE d.endpoint_id = p.id AND d.status = 'pending' AND d.next_at <= statement_timestamp()
        ORDER BY d.next_at, d.id LIMIT 1
    ) next
    WHERE p.enabled AND p.deleted_at IS NULL AND p.retry_at <= statement_timestamp()
        AND NOT p.id = ANY(%(busy)s::bigint[])
        AND (%(among)s::bigint[] IS NULL OR p.id = ANY(%(among)s::bigint[]))
    ORDER BY place NULLS FIRST, next.next_at, next.id LIMIT %(free)s
), tests AS (
    SELECT id FROM automations_delivery
    WHERE status = 'pending' AND run_id IS NULL AND next_at <= statement_timestamp()
        AND NOT endpoint_id = ANY(%(busy)s::bigint[])
        AND (%(among)s::bigint[] IS NULL OR endpoint_id = ANY(%(among)s::bigint[]))
        AND EXISTS (SELECT FROM automations_endpoint p
                    WHERE p.id = endpoint_id AND p.deleted_at IS NULL)
    ORDER BY next_at LIMIT 1
), locked AS (
    SELECT d.id FROM automations_delivery d LEFT JOIN due ON due.id = d.id
    WHERE d.id IN (SELECT id FROM tests UNION SELECT id FROM due)
        AND status = 'pending' AND next_at <= statement_timestamp()
    ORDER BY run_id IS NOT NULL, due.place NULLS FIRST, next_at LIMIT %(free)s
    FOR UPDATE OF d SKIP LOCKED
), claimed AS (
    UPDATE automations_delivery d
    SET attempts = d.attempts + 1, tries = d.tries + 1,
        next_at = statement_timestamp() + make_interval(secs => %(lease)s)
    FROM locked WHERE d.id = locked.id
    RETURNING d.id, d.endpoint_id, d.step_id, d.attempts, d.message_id, d.body
), probed AS (
    UPDATE automations_endpoint p
    SET retry_at = statement_timestamp() + make_interval(secs => %(lease)s)
    FROM claimed WHERE p.id = claimed.endpoint_id AND p.failures >= %(breaker)s
)
SELECT c.id, c.endpoint_id, c.attempts, c.message_id, c.body, p.url, p.secret,
       CASE WHEN p.old_secret_until > statement_timestamp() THEN p.old_secret ELSE '' END,
       statement_timestamp(),
       EXISTS (SELECT FROM automations_step s
                   JOIN automations_automation a ON a.id = s.automation_id
               WHERE s.id = c.step_id AND a.deleted_at IS NOT NULL)
FROM claimed c JOIN automations_endpoint p ON p.id = c.endpoint_id
"""
RECORD_ATTEMPT = """
INSERT INTO automations_attempt (delivery_id, number, at, took_ms, http_status, error, answer)
SELECT id, %(number)s, %(at)s, %(took_ms)s, %(status)s::int, %(error)s, %(answer)s
FROM automations_delivery WHERE id = %(delivery)s
ON CONFLICT DO NOTHING
"""
# An accepted message is recorded whichever attempt reports it.
RECORD_SUCCESS = f"""
WITH delivered AS (
    UPDATE automations_delivery SET status = 'delivered', delivered_at = statement_timestamp()
    WHERE id = %(delivery)s AND status <> 'delivered'
    RETURNING endpoint_id, run_id IS NULL AS is_test
), recorded AS ({RECORD_ATTEMPT})
UPDATE automations_endpoint p
SET failures = 0, failing_since = NULL, retry_at = LEAST(p.retry_at, statement_timestamp()),
    enabled = p.enabled OR is_test,
    disabled_reason = CASE WHEN is_test THEN '' ELSE p.disabled_reason END
FROM delivered WHERE p.id = delivered.endpoint_id AND (p.failing_since IS NOT NULL OR is_test)
RETURNING p.enabled, p.disabled_reason
"""  # noqa: S608
# A failure counts only if no other attempt has begun since, and the delivery has not ended. A test
# that fails tells nothing new about the endpoint.
RECORD_FAILURE = f"""
WITH failed AS (
    UPDATE automations_delivery
    SET status = CASE WHEN run_id IS NULL OR tries >= %(max_tries)s OR %(is_gone)s
                      THEN 'failed' ELSE 'pending' END,
        next_at = statement_timestamp() + make_interval(secs => GREATEST(
            (%(schedule)s::float8[])[LEAST(tries, %(max_tries)s - 1) + 1] * (0.9 + 0.2 * random()),
            %(retry_after)s))
    WHERE id = %(delivery)s AND status = 'pending' AND attempts = %(number)s
    RETURNING endpoint_id, run_id
), recorded AS ({RECORD_ATTEMPT}), dead AS (
    SELECT statement_timestamp() - make_interval(days => %(days)s) AS since
)
UPDATE automations_endpoint p
SET failures = p.failures + 1, failing_since = COALESCE(p.failing_since, statement_timestamp()),
    retry_at = CASE
        WHEN p.failures + 1 >= %(breaker)s OR %(is_throttled)s OR %(retry_after)s > 0
        THEN statement_timestamp() + make_interval(secs => GREATEST(
            LEAST(%(first_pause)s * 2.0 ^ LEAST(p.failures, 20), %(max_pause)s)
                * (0.9 + 0.2 * random()),
            %(retry_after)s))
        ELSE p.retry_at END,
    enabled = p.enabled AND NOT (%(is_gone)s OR COALESCE(p.failing_since <= dead.since, false)),
    disabled_reason = CASE
        WHEN NOT p.enabled THEN p.disabled_reason
        WHEN %(is_gone)s THEN %(reason)s
        WHEN p.failing_since <= dead.since
        THEN format('All attempts since %%s UTC have failed. The last one: %%s',
            to_char(p.failing_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), %(reason)s::text)
        ELSE '' END
FROM failed CROSS JOIN dead WHERE p.id = failed.endpoint_id AND failed.run_id IS NOT NULL
RETURNING p.enabled, p.disabled_reason
"""  # noqa: S608


class Claimed(NamedTuple):
    """A delivery whose attempt this process makes, and what is sent to where."""

    delivery: int
    endpoint: int
    number: int
    message_id: str
    body: str
    url: str
    secret: str
    old_secret: str
    at: datetime
    # Whether its automation was deleted, so that it is not sent.
    is_deleted: bool = False


def claim(
    free: int,
    busy: Collection[int] = (),
    among: Collection[int] | None = None,
    served: Collection[int] = (),
) -> list[Claimed]:
    """Claim due deliveries for LEASE_SECONDS, at most one of each endpoint.

    Args:
        free: how many at most.
        busy: ids of endpoints that are left out.
        among: ids of the endpoints that are looked at, or None for all.
        served: ids of endpoints in the order in which they were served, the last one at the end.
            Those that are missing go first.
    """
    parameters = {
        "free": free,
        "busy": list(busy),
        "among": None if among is None else list(among),
        "served": list(served),
        "lease": LEASE_SECONDS,
        "breaker": BREAKER_FAILURES,
    }
    return [Claimed(*row) for row in fetch_rows(CLAIM, parameters)]


def deliver(claimed: Claimed) -> None:
    """Make one attempt, and record what came of it. Whatever fails, the attempt counts.

    A delivery whose automation was deleted is cancelled instead.

    Raises:
        django.db.OperationalError, django.db.InterfaceError: the database is unavailable.
    """
    if claimed.is_deleted:
        cancel([claimed.delivery])
        return
    body = claimed.body.encode()
    signing_secrets = [secret for secret in (claimed.secret, claimed.old_secret) if secret]
    headers = signed_headers(claimed.message_id, int(claimed.at.timestamp()), body, signing_secrets)
    began = time.monotonic()
    try:
        answer = post(claimed.url, headers, body)
    except Exception:
        logger.exception("An attempt to deliver a webhook failed by an error of Tallybook.")
        answer = Answer(None, "The attempt failed by an error of Tallybook, which its log has.")
    took_ms = round(1000 * (time.monotonic() - began))
    try:
        _record(claimed, answer, took_ms)
    except (OperationalError, InterfaceError):
        # The database is unavailable, so that nothing else can be recorded either.
        raise
    except Exception:
        # An attempt that is not recorded would be repeated for ever, because only records end that.
        logger.exception("The response to a webhook cannot be stored.")
        unstorable = "The response cannot be stored. The log of Tallybook has the reason."
        _record(claimed, Answer(answer.status, unstorable, "", answer.retry_after), took_ms)


def _record(claimed: Claimed, answer: Answer, took_ms: int) -> None:
    error = answer.error
    if answer.status and 300 <= answer.status < 400:
        error = "It is a redirect, which is not followed. Use the URL that it leads to."
    if answer.status == GONE:
        error = "The receiver asks for no more webhooks."
    parameters = {
        "delivery": claimed.delivery,
        "number": claimed.number,
        "at": claimed.at,
        "took_ms": took_ms,
        "status": answer.status,
        "error": error,
        "answer": answer.text,
    }
    if answer.status and 200 <= answer.status < 300:
        fetch_rows(RECORD_SUCCESS, parameters)
        return
    parameters |= {
        "reason": error or f"status {answer.status}.",
        "is_gone": answer.status == GONE,
        "is_throttled": answer.status in THROTTLED,
        "retry_after": float(answer.retry_after or 0),
        "schedule": [float(seconds) for seconds in SCHEDULE_SECONDS],
        "max_tries": len(SCHEDULE_SECONDS),
        "breaker": BREAKER_FAILURES,
        "first_pause": FIRST_PAUSE_SECONDS,
        "max_pause": MAX_PAUSE_SECONDS,
        "days": DISABLE_AFTER_DAYS,
    }
    row = fetch_row(RECORD_FAILURE, parameters)
    if row and not row[0]:
        logger.warning("Endpoint %d of webhooks is switched off. %s", claimed.endpoint, row[1])


def deliver_due() -> int:
    """Deliver what is due now, one after the other, and return the number of attempts."""
    number = 0
    while claimed := claim(1):
        deliver(claimed[0])
        number += 1
    return number
