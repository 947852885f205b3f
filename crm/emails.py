"""Compare e-mails: by the key that finds a contact, and by the hashes that receipts keep."""

import hashlib
import unicodedata
from contextlib import suppress
from typing import Any

import idna

from config.api.validation import INVISIBLE


def email_key(email: str) -> str:
    """Return the form of an e-mail by which a contact is found, and unique.

    Invisible characters around it do not count. Two e-mails that reach one mailbox have one key:
    `JÖRG@Bücher.example` in any normal form of Unicode and `jörg@xn--bcher-kva.example` are
    `jörg@xn--bcher-kva.example`.
    """
    email = email.strip(INVISIBLE)
    if email.isascii():
        return email.lower()
    name, at, domain = unicodedata.normalize("NFC", email).rpartition("@")
    if not domain.isascii():
        # A name that no host can have is compared as it is.
        with suppress(idna.IDNAError):
            domain = idna.encode(domain, uts46=True).decode()
    return unicodedata.normalize("NFC", f"{name}{at}{domain}".lower())


def email_md5(email: str) -> str:
    """Return the md5 of an e-mail, by which FluentCRM and Gravatar name it. It is no secret."""
    return hashlib.md5(email.encode(), usedforsecurity=False).hexdigest()


def email_sha256(email: str) -> str:
    """Return the SHA-256 of an e-mail's key, by which a receipt recognizes it."""
    return _sha256(email_key(email))


def email_hashes(email: str) -> set[str]:
    """Return the hashes that a receipt of this e-mail may have.

    Earlier versions hashed the e-mail as it was sent, in lower case, and not its key.
    """
    return {*map(_sha256, email_spellings(email))}


def email_spellings(email: str) -> set[str]:
    """Return the spellings of an e-mail that have one key, in lower case.

    They have the domain in Unicode or in punycode, in any normal form.
    """
    key = email_key(email)
    spellings = {email, key}
    if "@xn--" in key or ".xn--" in key:
        name, at, domain = key.rpartition("@")
        # A name that no host can have has no other spelling.
        with suppress(UnicodeError):
            spellings.add(f"{name}{at}{idna.decode(domain)}")
    forms = (unicodedata.normalize(form, each) for each in spellings for form in ("NFC", "NFD"))
    return {form.lower() for form in (email, *forms)}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def without_email(value: Any, email: str, replacement: str) -> Any:
    """Return a JSON value in which a text stands in place of an e-mail, however it is spelled.

    A part of the e-mail, as `contains` of a filter may have it, is not recognized.
    """
    if isinstance(value, list):
        return [without_email(each, email, replacement) for each in value]
    if isinstance(value, dict):
        return {key: without_email(each, email, replacement) for key, each in value.items()}
    is_email = isinstance(value, str) and email_key(value) == email_key(email)
    return replacement if is_email else value
