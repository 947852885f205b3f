"""Write the audit log: who was refused, and who deleted, exported, or changed rights or many rows.

Each entry is one line of JSON of the logger `tallybook.audit`. It has no secrets and no e-mails of
contacts. JSON escapes control characters, so that no text can fake a line.
"""

import json
import logging
import time
from threading import Lock
from typing import Any

from django.db import transaction
from django.http import HttpRequest

from config.addresses import client_address

logger = logging.getLogger("tallybook.audit")

# Refusals of one process that are written in a minute, because strangers cause them.
MAX_REFUSALS = 60
REFUSAL_SECONDS = 60.0
MAX_IDS = 20
MAX_PATH_LENGTH = 200


class RefusalLimit:
    """Count the refusals of a minute in this process."""

    def __init__(self) -> None:
        """Begin with the first refusal."""
        self._lock = Lock()
        self.reset()

    def reset(self) -> None:
        """Begin again."""
        self._ends_at = 0.0
        self._number = 0

    def count(self) -> tuple[bool, int]:
        """Count a refusal.

        Returns:
            Whether it is written, and how many of the minute before were not written.
        """
        with self._lock:
            omitted = 0
            if time.monotonic() >= self._ends_at:
                omitted = max(0, self._number - MAX_REFUSALS)
                self._ends_at = time.monotonic() + REFUSAL_SECONDS
                self._number = 0
            self._number += 1
            return self._number <= MAX_REFUSALS, omitted


refusal_limit = RefusalLimit()


def record(request: HttpRequest, action: str, **fields: Any) -> None:
    """Write what a user did, once it is committed.

    Args:
        request: the request of an API client or of an admin user.
        action: deleted, taken back, merged, erased, exported, added or changed.
        fields: what, and how many.
    """
    user = {"by": request.user.get_username()}
    # Of an API client. Other requests have no `auth`.
    if password := getattr(request, "auth", None):
        user["application_password"] = password.pk
    line = _line({"action": action, **fields, **user, "address": client_address(request)})
    transaction.on_commit(lambda: logger.info(line), robust=True)


def record_job(action: str, kind: str, job_id: int, **fields: Any) -> None:
    """Write what became of a job, once it is committed. `fields` are its numbers."""
    line = _line({"action": action, "what": kind, "job": job_id, **fields})
    transaction.on_commit(lambda: logger.info(line), robust=True)


def record_refusal(request: HttpRequest, status: int, credential: str | None) -> None:
    """Write that a credential was refused, at most MAX_REFUSALS a minute.

    Args:
        request: the request.
        status: 401, it is wrong, or 403, it permits less.
        credential: the beginning of it that is no secret, if it has one.
    """
    is_written, omitted = refusal_limit.count()
    if omitted:
        logger.info(_line({"action": "refused", "omitted": omitted}))
    if is_written:
        path = f"{request.method} {request.path[:MAX_PATH_LENGTH]}"
        fields = {"action": "refused", "status": status, "credential": credential, "request": path}
        logger.info(_line({**fields, "address": client_address(request)}))


def of_ids(ids: Any) -> dict[str, Any]:
    """Return the fields of an entry about rows: how many, and the ids of the first."""
    return {"number": len(ids), "ids": list(ids)[:MAX_IDS]}


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields)
