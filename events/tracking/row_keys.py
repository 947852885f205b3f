"""Give a key to each row of a file, so that the same row again is the same event."""

import hashlib
from datetime import UTC

import orjson

from crm.emails import email_key
from events.tracking.fields import EventFields
from events.tracking.retries import canonical_json

# The rows among which equal ones are counted.
BLOCK = 100_000


def content_of(fields: EventFields) -> bytes:
    """Return the SHA-256 of what happened to whom, without the idempotency key.

    Stores keep it, and keys are made of it. So a field that is added later must only be part of it
    where it has another value than its default.
    """
    parts = (
        *(fields.subscriber_id, email_key(fields.email), fields.user_id),
        *(fields.event_key, fields.title, fields.value, fields.provider),
        *(canonical_json(fields.properties), canonical_json(fields.context)),
        *(fields.occurred_at and fields.occurred_at.astimezone(UTC), fields.repeatable),
    )
    return hashlib.sha256(orjson.dumps(parts)).digest()


class RowKeys:
    """Keys for the rows of one file, in their order.

    A row that says when it happened has a key of its content, and of its ordinal among equal rows,
    because two equal rows a second are two events. So a corrected or an overlapping file counts
    only what is new. A row without a time has a key of the file and its number, because the same
    row in the file of tomorrow is another event.

    An equal row is found in the same block of BLOCK rows and in the block before, so that memory is
    bounded by 40 MB.
    """

    def __init__(self, file_digest: bytes) -> None:
        """Begin a file, or go on in it.

        Args:
            file_digest: the SHA-256 of the file.
        """
        self._file = file_digest.hex()
        self._block = 0
        # How often a content was there until now, if in this block, and if in the one before.
        self._counts: dict[bytes, int] = {}
        self._counts_before: dict[bytes, int] = {}

    @staticmethod
    def first_needed(number: int) -> int:
        """Return the number of the row from which on rows are keyed again to go on at a row."""
        return max(number // BLOCK - 1, 0) * BLOCK

    def keyed(self, fields: EventFields, number: int) -> tuple[str, bytes]:
        """Return the key of a row that is one event, its own if it has one, and its content.

        Args:
            fields: the fields of the row.
            number: of the row in the file, from 0. Each is above the one before.
        """
        content = content_of(fields)
        if fields.idempotency_key:
            return fields.idempotency_key, content
        if fields.occurred_at is None:
            return f"{self._file}-{number}", content
        # The time comes first, so that the keys of a chunk are near each other in the index.
        seconds = int(fields.occurred_at.timestamp())
        return f"{seconds:x}-{content[:16].hex()}-{self._ordinal(content, number)}", content

    def counted(self, fields: EventFields, number: int) -> str:
        """Return the key of a row with a counter, its own if it has one.

        It stays the same while the counter grows, with which value and time change.

        Args:
            fields: the fields of the row.
            number: as for `keyed`.
        """
        if fields.idempotency_key:
            return fields.idempotency_key
        content = content_of(
            fields._replace(value="", provider="", occurred_at=None, properties="", context="")
        )
        return f"{content.hex()}-{self._ordinal(content, number)}"

    def _ordinal(self, content: bytes, number: int) -> int:
        """Return how often a content was there, and count it."""
        block = number // BLOCK
        if block != self._block:
            self._counts_before = self._counts if block == self._block + 1 else {}
            self._counts = {}
            self._block = block
        ordinal = self._counts.get(content)
        if ordinal is None:
            ordinal = self._counts_before.get(content, 0)
        self._counts[content] = ordinal + 1
        return ordinal
