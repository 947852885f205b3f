"""Where a page of a timeline ended."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Cursor(NamedTuple):
    """The time, to the microsecond, and the id of the last row that was shown."""

    occurred_at: datetime
    occurrence_id: int

    def __str__(self) -> str:
        """Microseconds since 1970 and the id: `1700000000000000-42`."""
        return f"{(self.occurred_at - EPOCH) // MICROSECOND}-{self.occurrence_id}"

    @classmethod
    def read(cls, text: str) -> Self:
        """The cursor that `text` writes. Raises ValueError and OverflowError."""
        microseconds, _, occurrence_id = text.partition("-")
        if not (f"{microseconds}{occurrence_id}".isascii() and len(occurrence_id) < 19):
            raise ValueError
        return cls(EPOCH + int(microseconds) * MICROSECOND, int(occurrence_id))
