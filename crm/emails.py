"""Compare e-mails: by the key that finds a contact, and by the hash that a receipt keeps."""

import hashlib
import unicodedata
from collections.abc import Iterable
from contextlib import suppress

import idna

from crm.models import Erasure


def email_key(email: str) -> str:
    """Return the form of an e-mail by which a contact is found, and unique.

    Two e-mails that reach one mailbox have one key: `JÖRG@Bücher.example` in any normal form of
    Unicode and `jörg@xn--bcher-kva.example` are `jörg@xn--bcher-kva.example`.
    """
    if email.isascii():
        return email.lower()
    name, at, domain = unicodedata.normalize("NFC", email).rpartition("@")
    if not domain.isascii():
        # A name that no host can have is compared as it is.
        with suppress(idna.IDNAError):
            domain = idna.encode(domain, uts46=True).decode()
    return unicodedata.normalize("NFC", f"{name}{at}{domain}".lower())


def email_sha256(email: str) -> str:
    """Return the SHA-256 of an e-mail's key, by which a receipt recognizes it."""
    return _sha256(email_key(email))


def erased_keys(emails: Iterable[str]) -> set[str]:
    """Return the keys of those e-mails whose contact was erased, by the receipts' hashes."""
    keys = {email_hash: email_key(email) for email in emails for email_hash in email_hashes(email)}
    receipts = Erasure.objects.filter(email_sha256__in=keys)
    return {keys[email_hash] for email_hash in receipts.values_list("email_sha256", flat=True)}


def email_hashes(email: str) -> set[str]:
    """Return the hashes that a receipt of this e-mail may have.

    Earlier versions hashed the e-mail as it was sent, in lower case.
    """
    if email.isascii():
        return {email_sha256(email)}
    spellings = (email, email_key(email))
    forms = (unicodedata.normalize(form, each) for each in spellings for form in ("NFC", "NFD"))
    return {_sha256(form.lower()) for form in (email, *forms)}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
