"""Find contacts that may be one person: the same phone, or nearly the same e-mail."""

from typing import NamedTuple

from config.database import fetch_rows
from crm.models import Subscriber

MAX_PAIRS = 100
# PostgreSQL compares the newest so many in 0.4 seconds, without indexes that each write would pay.
MAX_CONTACTS = 100_000
# Shorter ones are extensions and placeholders.
MIN_DIGITS = 7
# Dots and a part after a plus reach the same mailbox at many providers. Small groups come first,
# because a phone that many contacts share says little about two of them.
DUPLICATES = """
WITH newest AS MATERIALIZED (
    SELECT id, phone, email_key FROM crm_subscriber ORDER BY id DESC LIMIT %(contacts)s
)
SELECT reason, min(id), max(id), count(*) FROM (
    -- Its digits, without all characters that are none. A regular expression takes twice as long.
    SELECT id, 'phone' AS reason, translate(phone, translate(phone, '0123456789', ''), '') AS value
    FROM newest WHERE phone <> ''
    UNION ALL
    SELECT id, 'e-mail', replace(split_part(split_part(email_key, '@', 1), '+', 1), '.', '')
        || '@' || split_part(email_key, '@', 2)
    FROM newest
) compared
GROUP BY reason, value
HAVING count(*) > 1 AND CASE reason WHEN 'phone' THEN length(value) >= %(digits)s
                                    ELSE left(value, 1) <> '@' END
ORDER BY count(*), min(id) LIMIT %(pairs)s
"""


class Duplicate(NamedTuple):
    """Two contacts that may be one person.

    Attributes:
        reason: what they have in common: "phone" or "e-mail".
        first: the oldest of the contacts that have it.
        other: the newest of them.
        more: how many others have it.
    """

    reason: str
    first: Subscriber
    other: Subscriber
    more: int

    @property
    def contacts(self) -> tuple[Subscriber, Subscriber]:
        """Both contacts."""
        return self.first, self.other


def find_duplicates() -> list[Duplicate]:
    """Return up to MAX_PAIRS pairs among the newest MAX_CONTACTS contacts."""
    limits = {"contacts": MAX_CONTACTS, "digits": MIN_DIGITS, "pairs": MAX_PAIRS}
    rows = fetch_rows(DUPLICATES, limits)
    contacts = Subscriber.objects.in_bulk([each for row in rows for each in row[1:3]])
    return [
        Duplicate(reason, contacts[first], contacts[other], number - 2)
        for reason, first, other, number in rows
        if first in contacts and other in contacts  # deleted since
    ]
