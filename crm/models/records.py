"""Receipts of erasures, and the history of the admin."""

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db import models

from config.database import fetch_rows
from crm.emails import email_hashes, email_key

# Of a contact with aliases, the e-mail counts as erased with an alias, and an alias with it.
RECEIPT = """
EXISTS (SELECT FROM crm_erasure
        WHERE email_sha256 = encode(sha256(convert_to({}, 'UTF8')), 'hex'))
"""
ALIASED = "crm_identity i JOIN crm_subscriber s ON s.id = i.subscriber_id AND i.kind = 'email'"
ERASED = f"""
SELECT email_sha256, NULL FROM crm_erasure WHERE email_sha256 = ANY(%(hashes)s::text[])
UNION ALL
SELECT NULL, i.value FROM {ALIASED}
WHERE i.value = ANY(%(keys)s::text[]) AND i.source = '' AND {RECEIPT.format("s.email_key")}
UNION ALL
SELECT NULL, s.email_key FROM {ALIASED}
WHERE s.email_key = ANY(%(keys)s::text[]) AND i.source = '' AND {RECEIPT.format("i.value")}
"""  # noqa: S608


class Erasure(models.Model):
    """The receipt of an erased contact. Of the e-mail it holds the SHA-256 of the key only.

    The key is the e-mail in lower case with its domain in punycode (crm/emails.py). Written by
    erase_contact (events/personal_data.py).
    """

    contact_id = models.BigIntegerField("contact", db_index=True)
    email_sha256 = models.CharField("SHA-256 of the e-mail", max_length=64, db_index=True)
    erased_at = models.DateTimeField()
    erased_by = models.CharField(max_length=192)
    # Numbers: {"deleted": {"contacts": 1, …}, "made_nameless": {"admin_history": 2, …}}.
    counts = models.JSONField()
    # Tallybook's version.
    version = models.CharField(max_length=20)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"contact {self.contact_id}"

    @classmethod
    def erased_keys(cls, emails: Iterable[str]) -> set[str]:
        """Return the keys of those e-mails whose contact was erased."""
        keys = cls.keys_by_hash(emails)
        parameters = {"hashes": list(keys), "keys": [*{*keys.values()}]}
        return {key or keys[sha256] for sha256, key in fetch_rows(ERASED, parameters)}

    @staticmethod
    def keys_by_hash(emails: Iterable[str]) -> dict[str, str]:
        """Return the keys of e-mails, by the hashes that their receipts may have."""
        return {sha256: email_key(email) for email in emails for sha256 in email_hashes(email)}

    @classmethod
    def latest(cls, contact_id: int) -> "Erasure | None":
        """Return the receipt of a contact, or None."""
        return cls.objects.filter(contact_id=min(contact_id, 2**63 - 1)).first()

    def receipt(self) -> dict[str, Any]:
        """Return the receipt as it is given out."""
        return {
            "contact_id": self.contact_id,
            "email_sha256": self.email_sha256,
            "erased_at": self.erased_at.isoformat(),
            "erased_by": self.erased_by,
            "tallybook": self.version,
            **self.counts,
        }


class HistoryEntry(LogEntry):
    """What an admin user did: a row of Django's history, under a name and permission of its own.

    crm/admin/history.py writes and lists them.
    """

    class Meta:
        proxy = True
        verbose_name = "history entry"
        verbose_name_plural = "history entries"
