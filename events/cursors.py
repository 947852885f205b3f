"""Where a page of a timeline ended."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Self

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
WRITTEN = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")


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
        found = WRITTEN.fullmatch(text)
        if not found:
            raise ValueError(text)
        return cls(EPOCH + int(found[1]) * MICROSECOND, int(found[2]))
