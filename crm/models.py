"""Contacts and what belongs to them, segments, receipts of erasures, and credentials."""

from collections.abc import Iterable
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import quote

import orjson
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q, Value
from django.db.models.functions import Greatest, Lower
from django.utils.timezone import now
from typing_extensions import override

from config.api.validation import INVISIBLE
from config.database import fetch_rows
from crm.emails import email_hashes, email_key, email_md5


class Status(models.TextChoices):
    """FluentCRM's contact statuses. `Status("Unsubscribed ")` is `Status.UNSUBSCRIBED`."""

    SUBSCRIBED = "subscribed"
    PENDING = "pending"
    UNSUBSCRIBED = "unsubscribed"
    TRANSACTIONAL = "transactional"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    SPAMMED = "spammed"

    @classmethod
    @override
    def _missing_(cls, value: object) -> "Status | None":
        # Other tools write statuses in capitals, and files have whitespace around them.
        word = str(value).strip(INVISIBLE).lower()
        return next((status for status in cls if status == word), None)


# The statuses of people who must not be mailed: they said so, or their mailbox did.
OPT_OUTS = (Status.UNSUBSCRIBED, Status.COMPLAINED, Status.BOUNCED, Status.SPAMMED)
# The statuses that a contact has after an erasure only if a program or a person restored it.
OPT_INS = (Status.SUBSCRIBED, Status.TRANSACTIONAL)


class ContactType(models.TextChoices):
    """FluentCRM's contact types."""

    LEAD = "lead"
    CUSTOMER = "customer"


def updated_now() -> Greatest:
    """Return now for the column updated_at, or its value if that is later: clocks go back."""
    return Greatest("updated_at", Value(now()))


class SluggedModel(models.Model):
    """A title, and a slug that is unique without regard to case."""

    title = models.CharField(max_length=192)
    slug = models.CharField(max_length=192)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        abstract = True
        ordering = (Lower("title"), "id")
        constraints = (
            models.UniqueConstraint(
                Lower("slug"),
                name="%(app_label)s_%(class)s_slug",
                violation_error_message="Another one has this slug.",
            ),
        )

    def __str__(self) -> str:
        return self.title


LabelRow = TypeVar("LabelRow", bound="Label")


class LabelManager(models.Manager[LabelRow]):
    """Tags or lists without their descriptions, which are read where they are shown."""

    @override
    def get_queryset(self) -> models.QuerySet[LabelRow]:
        return super().get_queryset().defer("description")


class Label(SluggedModel):
    """The common columns of tags and lists. crm/labels.py writes them."""

    description = models.TextField(null=True, blank=True)

    objects: ClassVar[LabelManager[Self]] = LabelManager()

    class Meta(SluggedModel.Meta):
        abstract = True


class Tag(Label):
    """A tag that contacts have."""


class List(Label):
    """A list that contacts are on."""

    is_public = models.BooleanField(default=False)


class SubscriberManager(models.Manager["Subscriber"]):
    """Contacts without their custom values, which may be large and are read where they are shown.

    The attribute reads them by a statement of its own. See crm/selectors.py.
    """

    @override
    def get_queryset(self) -> models.QuerySet["Subscriber"]:
        return super().get_queryset().defer("custom_values")


class EmailKeyField(models.TextField):  # type: ignore[type-arg]  # takes none at run time
    """The key of the row's e-mail, which every save computes."""

    @override
    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        assert isinstance(model_instance, Subscriber)
        key = model_instance.email_key = email_key(model_instance.email)
        return key


class Subscriber(models.Model):
    """A contact, with FluentCRM's columns.

    `hash`, `full_name`, `photo` and `user_id` are computed. Written by crm/contacts.py.
    """

    prefix = models.CharField(max_length=192, null=True, blank=True)
    first_name = models.CharField(max_length=192, null=True, blank=True)
    last_name = models.CharField(max_length=192, null=True, blank=True)
    email = models.CharField(max_length=254)
    # By which the contact is found. The e-mail itself is kept as it was sent.
    email_key = EmailKeyField(editable=False)
    timezone = models.CharField(max_length=192, null=True, blank=True)
    address_line_1 = models.CharField(max_length=192, null=True, blank=True)
    address_line_2 = models.CharField(max_length=192, null=True, blank=True)
    postal_code = models.CharField(max_length=192, null=True, blank=True)
    city = models.CharField(max_length=192, null=True, blank=True)
    state = models.CharField(max_length=192, null=True, blank=True)
    country = models.CharField(max_length=192, null=True, blank=True)
    ip = models.CharField(max_length=40, null=True, blank=True)
    latitude = models.DecimalField(max_digits=11, decimal_places=8, null=True, blank=True)
    longitude = models.DecimalField(max_digits=11, decimal_places=8, null=True, blank=True)
    total_points = models.PositiveBigIntegerField(default=0)
    life_time_value = models.PositiveBigIntegerField(default=0)
    phone = models.CharField(max_length=50, null=True, blank=True)
    status = models.CharField(max_length=50, choices=Status, default=Status.SUBSCRIBED)
    contact_type = models.CharField(max_length=50, default=ContactType.LEAD)
    source = models.CharField(max_length=50, null=True, blank=True)
    avatar = models.CharField(max_length=192, null=True, blank=True)
    date_of_birth = models.DateField(null=True, blank=True)
    contact_owner = models.BigIntegerField(null=True, blank=True, editable=False)
    company_id = models.BigIntegerField(null=True, blank=True, editable=False)
    custom_values = models.JSONField(default=dict, blank=True)
    # Whether an event made the contact, and no program has written it since.
    made_by_track = models.BooleanField(default=False, db_default=False, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    last_activity = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(default=now, editable=False)
    tags = models.ManyToManyField(Tag, blank=True, related_name="subscribers")
    lists = models.ManyToManyField(List, blank=True, related_name="subscribers")

    objects = SubscriberManager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("email_key",),
                name="crm_subscriber_email_key",
                violation_error_message="Another contact has this e-mail.",
            ),
        )
        indexes = (
            # For lists in the order of the e-mail.
            models.Index(Lower("email"), name="crm_subscriber_by_email"),
            # For the numbers of subscribed contacts of tags and lists.
            models.Index(
                fields=("id",),
                condition=~Q(status="subscribed"),
                name="crm_subscriber_unsubscribed",
            ),
        )
        verbose_name = "contact"

    def __str__(self) -> str:
        return self.email

    @property
    def hash(self) -> str:
        """The md5 of the e-mail as sent, as in FluentCRM. It is no secret."""
        return email_md5(self.email)

    @property
    def full_name(self) -> str:
        """First and last name, or the empty text."""
        return full_name(self.first_name, self.last_name)

    @property
    def photo(self) -> str:
        """The URL of the avatar, or of Gravatar's picture for the e-mail."""
        return self.avatar or gravatar(self.email, self.full_name)


def full_name(first_name: str | None, last_name: str | None) -> str:
    """Return first and last name, or the empty text."""
    return f"{first_name or ''} {last_name or ''}".strip()


def gravatar(email: str, full_name: str) -> str:
    """Return the URL of Gravatar's picture for an e-mail, which shows the initials without one."""
    name = quote(full_name)
    fallback = f"https%3A%2F%2Fui-avatars.com%2Fapi%2F{name}/128" if name else "mp"
    digest = email_md5(email.strip().lower())
    return f"https://www.gravatar.com/avatar/{digest}?s=128&d={fallback}"


# The `user_id` of the contact s, or null.
USER_ID_OF_CONTACT = """
(SELECT value FROM crm_identity
 WHERE subscriber_id = s.id AND kind = 'user' AND source = '' LIMIT 1)
"""


class Identity(models.Model):
    """What a program calls a contact, besides the e-mail. Written by crm/contacts.py.

    The kind `user` with the source "" is `user_id` on the wire: the id that the calling program
    gave the contact. It is never the id of a user of Tallybook.
    """

    USER = {"kind": "user", "source": ""}  # noqa: RUF012

    subscriber = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="identities")
    kind = models.CharField(max_length=20)
    source = models.CharField(max_length=192, blank=True)
    value = models.CharField(max_length=192)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("kind", "source", "value"), name="crm_identity_value"),
        )
        verbose_name_plural = "identities"

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


class FieldType(models.TextChoices):
    """FluentCRM's types of custom fields: app/Models/CustomContactField.php, getFieldTypes."""

    TEXT = "text", "Single Line Text"
    TEXTAREA = "textarea", "Multi Line Text"
    NUMBER = "number", "Numeric Field"
    SELECT_ONE = "select-one", "Select choice"
    SELECT_MULTI = "select-multi", "Multiple Select choice"
    RADIO = "radio", "Radio Choice"
    CHECKBOX = "checkbox", "Checkboxes"
    DATE = "date", "Date"
    DATE_TIME = "date_time", "Date and Time"


# The types that have options, and those of them whose values are lists.
CHOICE_TYPES = (FieldType.SELECT_ONE, FieldType.SELECT_MULTI, FieldType.RADIO, FieldType.CHECKBOX)
LIST_TYPES = (FieldType.SELECT_MULTI, FieldType.CHECKBOX)


class CustomField(models.Model):
    """The definition of a custom field: the type of a key of contacts' custom values.

    Written by crm/custom_fields.py. Without a definition, a key may have any value.
    """

    label = models.CharField(max_length=192)
    # The key, compared exactly.
    slug = models.CharField(max_length=192)
    type = models.CharField(max_length=20, choices=FieldType, default=FieldType.TEXT)
    # Texts, in the order in which forms show them.
    options = models.JSONField(default=list, blank=True)
    # The heading under which forms show the field.
    group = models.CharField(max_length=192, blank=True)
    position = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("position", "id")
        constraints = (
            models.UniqueConstraint(
                fields=("slug",),
                name="crm_customfield_slug",
                violation_error_message="Another one has this slug.",
            ),
        )

    def __str__(self) -> str:
        return self.label


class CustomKey(models.Model):
    """The catalogue of keys that custom values of contacts ever had, written with the values."""

    # The primary key, because a sequence would count up with each key that is there already.
    name = models.CharField(max_length=192, primary_key=True)

    class Meta:
        # No page shows it.
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class SubscriberNote(models.Model):
    """A note about a contact, such as a call or a meeting. Written by crm/notes.py.

    Who may see, change or delete the contact may do so with its notes.
    """

    subscriber = models.ForeignKey(
        Subscriber,
        # crm.contacts.delete_contacts deletes notes before their contact.
        on_delete=models.DO_NOTHING,
        related_name="notes",
        db_index=False,
        verbose_name="contact",
    )
    type = models.CharField(max_length=50, default="note")
    title = models.CharField(max_length=192)
    # Markup is kept as sent, and escaped where it is shown.
    description = models.TextField()
    created_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, editable=False, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(default=now)
    updated_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        default_permissions = ()
        indexes = (models.Index(fields=("subscriber", "-id"), name="crm_subscribernote_page"),)
        verbose_name = "note"

    def __str__(self) -> str:
        # Not the title, because the admin's history keeps this text after an erasure.
        return f"note {self.pk}"


class JSONTextField(models.TextField):  # type: ignore[type-arg]  # takes none at run time
    """JSON in a text column, because jsonb writes 1e20 as a whole number that cannot be read back.

    Forms give it the parsed value.
    """

    def from_db_value(self, value: str, *_: object) -> Any:
        """Parse the stored text."""
        return orjson.loads(value)

    @override
    def to_python(self, value: Any) -> Any:
        return value

    @override
    def get_prep_value(self, value: Any) -> str:
        return orjson.dumps(value).decode()


class Segment(SluggedModel):
    """A saved filter: FluentCRM's dynamic segment. Written by crm/segments.py."""

    # As read_filters (crm/filters) accepts it.
    filters = JSONTextField(default=list)
    # The titles of deleted labels, for errors: {"tags": {"7": "Do not contact"}}.
    deleted_labels = models.JSONField(default=dict, db_default={}, editable=False)


ERASED = "SELECT email_sha256 FROM crm_erasure WHERE email_sha256 = ANY(%(hashes)s::text[])"


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
        keys = {sha256: email_key(email) for email in emails for sha256 in email_hashes(email)}
        return {keys[sha256] for (sha256,) in fetch_rows(ERASED, {"hashes": list(keys)})}

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


class Scope(models.TextChoices):
    """The most that an application password permits."""

    TRACK = "track", "post events"
    READ = "read", "read everything"
    MANAGE = "manage", "read and change everything"


class NewContacts(models.TextChoices):
    """What an event of an unknown e-mail does: refused, or the status of the contact it makes."""

    NONE = "none", "none: the event is refused"
    PENDING = "pending", "pending contacts"
    TRANSACTIONAL = "transactional", "transactional contacts"


class ApplicationPassword(models.Model):
    """A secret of an API client, as WordPress has them. Written by crm/passwords.py."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="application_passwords")
    name = models.CharField(max_length=192)
    scope = models.CharField(max_length=10, choices=Scope)
    prefix = models.CharField(max_length=8, unique=True, editable=False)
    secret_hash = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    new_contacts = models.CharField(
        "contacts that events make",
        max_length=20,
        choices=NewContacts,
        blank=True,
        db_default="",
        help_text="What an event of an unknown e-mail does. Empty: as the setting says.",
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class IncomingWebhook(models.Model):
    """An address to which forms and other tools post contacts. Written by crm/webhooks.py.

    Who knows the secret may do what the user may, about the contacts that the posts name.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="incoming_webhooks")
    name = models.CharField(max_length=192)
    # FluentCRM's `hash`. It is stored readable, because the address is shown again.
    secret = models.CharField(max_length=32, unique=True, editable=False)
    status = models.CharField(
        max_length=50,
        choices=Status,
        default=Status.SUBSCRIBED,
        help_text="The status of contacts that it makes. Contacts that opted out stay so.",
    )
    tags = models.ManyToManyField(
        Tag, blank=True, help_text="Contacts get them unless the post names tags."
    )
    lists = models.ManyToManyField(
        List, blank=True, help_text="Contacts get them unless the post names lists."
    )
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        """The path and query of the address, as FluentCRM's app/Models/Webhook.php makes it."""
        return f"{settings.FORCE_SCRIPT_NAME or ''}/?fluentcrm=1&route=contact&hash={self.secret}"


class SharedKey(models.Model):
    """The key that signs the sessions of all servers on this database: a single row.

    Backups leave it out, as they leave out sessions. Written by crm/bootstrap.py.
    """

    key = models.TextField()

    class Meta:
        constraints = (models.CheckConstraint(condition=Q(id=1), name="crm_one_shared_key"),)
        # No page shows it.
        default_permissions = ()

    def __str__(self) -> str:
        return "shared key"
