"""Erase contacts again when a backup from before their erasure replaces a store."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import psycopg

from crm.emails import email_hashes
from crm.models import Erasure, Identity, Subscriber
from events.personal_data import erase_contact

COLUMNS = ("contact_id", "email_sha256", "erased_at", "erased_by", "counts", "version")
SELECT = f"SELECT {', '.join(COLUMNS)} FROM crm_erasure ORDER BY id"  # noqa: S608


def erase_again(old: psycopg.Connection[Any]) -> Iterator[str]:
    """Copy the receipts that the restored store lacks, and erase their contacts there.

    Args:
        old: a connection to the old store. Django's leads to the restored one.

    Yields:
        What the operator has to read.
    """
    if old.execute("SELECT to_regclass('crm_erasure')").fetchone() == (None,):
        return
    known = set(Erasure.objects.values_list("contact_id", "erased_at"))
    receipts = [
        Erasure(**dict(zip(COLUMNS, row, strict=True)))
        for row in old.execute(SELECT)
        if (row[0], row[2]) not in known
    ]
    Erasure.objects.bulk_create(receipts)
    hashes = {receipt.email_sha256 for receipt in receipts}
    contacts = Subscriber.objects.values_list("id", "email") if hashes else []
    aliases = Identity.objects.filter(**Identity.EMAIL).values_list("subscriber_id", "value")
    emails = chain(contacts, aliases if hashes else [])
    erased = {contact_id for contact_id, email in emails if hashes & email_hashes(email)}
    for contact_id in sorted(erased):
        erase_contact(contact_id, "restore")
    if erased:
        yield f"{len(erased)} contacts were erased after the backup. They are erased again."
    other = {receipt.contact_id for receipt in receipts} - erased
    for contact_id in Subscriber.objects.filter(id__in=other).values_list("id", flat=True):
        yield (
            f"The contact {contact_id} was erased after the backup, with another e-mail than the "
            "backup has. Erase it again if it is the same person."
        )
