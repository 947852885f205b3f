"""Contacts, what programs call them, and notes about them."""

from urllib.parse import quote

from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils.timezone import now
from typing_extensions import override

from config.api.validation import INVISIBLE
from crm.emails import email_key, email_md5
from crm.models.labels import List, Tag


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

    # The id that the calling program gave the contact, and the source of that id. crm/contacts.py
    # sets them in the contacts that it locks or creates.
    user_id: str | None = None
    user_source: str = ""

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
    # The job that wrote the status to several contacts, until the status is written again. It can
    # be undone as long.
    status_change = models.BigIntegerField(null=True, editable=False)
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


# The `user_id` of the contact s in a source, or null. A contact that another one was merged into
# may have several, of which the oldest row is its own.
USER_ID_OF_CONTACT = """
(SELECT value FROM crm_identity
 WHERE subscriber_id = s.id AND kind = 'user' AND source = %(user_source)s ORDER BY id LIMIT 1)
"""


class Identity(models.Model):
    """What a contact is called besides its e-mail and id. Written by crm/contacts.py.

    The kind `user` is `user_id` on the wire: the id that a program gave the contact. Its source is
    that of the application password, "" without one. It is never the id of a user of Tallybook.
    The kind `contact` with a source is the id of the contact in another store. The others are
    aliases, which crm/merging.py makes.
    """

    # Of passwords without a source.
    USER = {"kind": "user", "source": ""}  # noqa: RUF012
    # The key of an e-mail, and the id in digits, of a contact that was merged into this one.
    EMAIL = {"kind": "email", "source": ""}  # noqa: RUF012
    CONTACT = {"kind": "contact", "source": ""}  # noqa: RUF012

    subscriber = models.ForeignKey(Subscriber, on_delete=models.CASCADE, related_name="identities")
    kind = models.CharField(max_length=20)
    source = models.CharField(max_length=192, blank=True)
    # A user_id has 192 characters at most, an e-mail more.
    value = models.TextField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("kind", "source", "value"), name="crm_identity_value"),
        )
        verbose_name_plural = "identities"

    def __str__(self) -> str:
        return f"{self.kind} {self.value}"


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
