"""Contacts, tags and lists, segments, receipts of erasures, and application passwords."""

import hashlib
from typing import Any
from urllib.parse import quote

import orjson
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import models
from django.db.models import OuterRef, Subquery
from django.db.models.functions import Lower
from django.utils.timezone import now
from typing_extensions import override


class Status(models.TextChoices):
    """FluentCRM's contact statuses."""

    SUBSCRIBED = "subscribed"
    PENDING = "pending"
    UNSUBSCRIBED = "unsubscribed"
    TRANSACTIONAL = "transactional"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    SPAMMED = "spammed"


class ContactType(models.TextChoices):
    """FluentCRM's contact types."""

    LEAD = "lead"
    CUSTOMER = "customer"


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


class Label(SluggedModel):
    """The common columns of tags and lists. crm/labels.py writes them."""

    description = models.TextField(null=True, blank=True)

    class Meta(SluggedModel.Meta):
        abstract = True


class Tag(Label):
    """A tag that contacts have."""


class List(Label):
    """A list that contacts are on."""

    is_public = models.BooleanField(default=False)


class SubscriberQuerySet(models.QuerySet["Subscriber"]):
    """A queryset of contacts."""

    def with_user(self) -> "SubscriberQuerySet":
        """Add `user_id`, the id of the first user with the contact's e-mail, or None."""
        users = (
            User.objects.annotate(address=Lower("email"))
            .filter(address=Lower(OuterRef("email")))
            .order_by("id")
        )
        return self.annotate(user_id=Subquery(users.values("id")[:1]))


class Subscriber(models.Model):
    """A contact, with FluentCRM's columns.

    `hash`, `full_name`, `photo` and `user_id` are computed. Written by crm/contacts.py.
    """

    prefix = models.CharField(max_length=192, null=True, blank=True)
    first_name = models.CharField(max_length=192, null=True, blank=True)
    last_name = models.CharField(max_length=192, null=True, blank=True)
    email = models.CharField(max_length=254)
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
    created_at = models.DateTimeField(default=now, editable=False)
    last_activity = models.DateTimeField(null=True, blank=True)
    updated_at = models.DateTimeField(default=now, editable=False)
    tags = models.ManyToManyField(Tag, blank=True, related_name="subscribers")
    lists = models.ManyToManyField(List, blank=True, related_name="subscribers")

    objects = SubscriberQuerySet.as_manager()

    class Meta:
        constraints = (
            # The e-mail is kept as sent, and is unique without regard to case.
            models.UniqueConstraint(
                Lower("email"),
                name="crm_subscriber_email",
                violation_error_message="Another contact has this e-mail.",
            ),
        )
        verbose_name = "contact"

    def __str__(self) -> str:
        return self.email

    @property
    def hash(self) -> str:
        """The md5 of the e-mail as sent, as in FluentCRM. It is no secret."""
        return hashlib.md5(self.email.encode(), usedforsecurity=False).hexdigest()

    @property
    def full_name(self) -> str:
        """First and last name, or the empty text."""
        return f"{self.first_name or ''} {self.last_name or ''}".strip()

    @property
    def photo(self) -> str:
        """The URL of the avatar, or of Gravatar's picture for the e-mail."""
        if self.avatar:
            return self.avatar
        digest = hashlib.md5(self.email.strip().lower().encode(), usedforsecurity=False)
        name = quote(self.full_name)
        fallback = f"https%3A%2F%2Fui-avatars.com%2Fapi%2F{name}/128" if name else "mp"
        return f"https://www.gravatar.com/avatar/{digest.hexdigest()}?s=128&d={fallback}"


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


class Erasure(models.Model):
    """The receipt of an erased contact. It holds the SHA-256 of the lower-cased e-mail only.

    Written by erase_contact (events/personal_data.py).
    """

    contact_id = models.BigIntegerField("contact", db_index=True)
    email_sha256 = models.CharField("SHA-256 of the e-mail", max_length=64, db_index=True)
    erased_at = models.DateTimeField()
    erased_by = models.CharField(max_length=192)
    # The numbers of rows: {"deleted": {"contacts": 1, …}, "made_nameless": {"admin_history": 2}}.
    counts = models.JSONField()
    # Tallybook's version.
    version = models.CharField(max_length=20)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"contact {self.contact_id}"

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


class ApplicationPassword(models.Model):
    """A secret of an API client, as WordPress has them. Written by crm/passwords.py."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="application_passwords")
    name = models.CharField(max_length=192)
    scope = models.CharField(max_length=10, choices=Scope)
    prefix = models.CharField(max_length=8, unique=True, editable=False)
    secret_hash = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(default=now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
