"""Find contacts by the e-mails and ids of other contacts that were merged into them.

An alias is looked up only where no contact has the e-mail or the id, so that other calls about one
contact cost no more. crm/merging.py makes aliases. No contact gets an e-mail that is another one's.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Literal

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, Expression, F, Func, Q

from config.database import fetch_row, fetch_rows
from crm.models import Identity

# What names a contact: the kind of an identity, and its value.
Kind = Literal["contact", "email", "user"]
Name = tuple[Kind, str]

# Also by the e-mail of a contact and by a user_id, because the contact that had it may just have
# been merged into another one, which has it now.
HOLDERS = """
SELECT i.kind, i.value, s.id
FROM unnest(%(kinds)s::text[], %(sources)s::text[], %(values)s::text[]) sent(kind, source, value)
    JOIN crm_identity i USING (kind, source, value) JOIN crm_subscriber s ON s.id = i.subscriber_id
UNION ALL
SELECT 'email', email_key, id FROM crm_subscriber WHERE email_key = ANY(%(emails)s::text[])
"""
# An own alias changes places with the e-mail, so that both still find the contact.
EXCHANGE = """
UPDATE crm_identity SET value = %(before)s
WHERE kind = 'email' AND source = '' AND value = %(key)s AND subscriber_id = %(contact)s
RETURNING id
"""
IS_ALIAS = "SELECT id FROM crm_identity WHERE kind = 'email' AND source = '' AND value = %(key)s"


def find_holders(names: Collection[Name], user_source: str = "") -> dict[Name, int]:
    """Return the ids of the contacts that have these names now, aliases among them, by name.

    Args:
        names: the names.
        user_source: the source of user_ids among them.
    """
    parameters = {
        "kinds": [kind for kind, _ in names],
        "sources": [user_source if kind == "user" else "" for kind, _ in names],
        "values": [value for _, value in names],
        "emails": [value for kind, value in names if kind == "email"],
    }
    return {(kind, value): holder for kind, value, holder in fetch_rows(HOLDERS, parameters)}


def find_holder(name: Name, user_source: str = "") -> int | None:
    """Return the id of the contact that has this name now, or None, as `find_holders`."""
    return find_holders([name], user_source).get(name)


def current_ids(contact_ids: Sequence[int]) -> list[int]:
    """Return ids, where an id of a merged contact is replaced by that of its survivor."""
    names: list[Name] = [("contact", str(contact_id)) for contact_id in contact_ids]
    holders = find_holders(names) if names else {}
    return [holders.get(name, each) for name, each in zip(names, contact_ids, strict=True)]


def exchange_email(contact_id: int, key: str, before: str) -> bool:
    """Let the alias `key` of a contact that now has it as its e-mail become the e-mail before.

    Args:
        contact_id: id of the contact, which was written in this transaction.
        key: the key of its e-mail.
        before: the key of the e-mail that it had.

    Returns:
        Whether the contact may have the e-mail: whether it is no alias of another contact.
    """
    parameters = {"contact": contact_id, "key": key, "before": before}
    return bool(fetch_rows(EXCHANGE, parameters)) or fetch_row(IS_ALIAS, parameters) is None


class IsAnyOf(Func):
    """Whether a column is among the values of an array, which PostgreSQL makes before."""

    template = "(%(expressions)s))"
    arg_joiner = " = ANY("
    output_field = BooleanField()


def has_alias(test: Callable[[F], Expression | Q]) -> Q:
    """Match contacts with an alias that is an e-mail, and whose key passes a test."""
    aliases = Identity.objects.filter(**Identity.EMAIL).filter(test(F("value")))
    return Q(IsAnyOf(F("id"), ArraySubquery(aliases.values("subscriber_id"))))
