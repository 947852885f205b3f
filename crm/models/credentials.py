"""What lets programs in, and the key of sessions."""

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models
from django.db.models import Q
from django.utils.timezone import now

from config.api.validation import MAX_NAME_LENGTH
from crm.models.contacts import Status
from crm.models.labels import List, Tag


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
    # It stays, because the ids that the program has sent would mean other contacts.
    user_source = models.CharField(
        "source of user IDs",
        max_length=MAX_NAME_LENGTH,
        blank=True,
        db_default="",
        help_text="Such as shop, if several programs number their users. Passwords with the same "
        "source share its user_id. Empty: the user_id without a source.",
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class IncomingWebhook(models.Model):
    """A URL to which forms and other tools post contacts. Written by crm/webhooks.py.

    Who knows the secret may do what the user may, about the contacts that the posts name.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="incoming_webhooks")
    name = models.CharField(max_length=192)
    # FluentCRM's `hash`. It is stored readable, because the URL is shown again.
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
    def path(self) -> str:
        """The path and query of the URL, as FluentCRM's app/Models/Webhook.php makes it."""
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
