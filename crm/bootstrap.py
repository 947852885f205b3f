"""Create the first user of an empty store, a password to call with, and a contact to track."""

import secrets

from django.conf import settings
from django.contrib.auth.models import User

from config.database import in_transaction
from config.server.bootstrap import DEMO_EMAIL, FirstLogin
from crm.contacts import create_or_update
from crm.models import ApplicationPassword, Scope, SharedKey, Status
from crm.passwords import create_application_password

USERNAME, EMAIL = "admin", "admin@example.com"


def shared_secret_key() -> str:
    """Return the secret key of all servers on this database: that of the first one.

    An operator's SECRET_KEY stays in the environment.
    """
    if settings.SECRET_KEY_IS_CHOSEN:
        return settings.SECRET_KEY
    row, _ = SharedKey.objects.get_or_create(id=1, defaults={"key": settings.SECRET_KEY})
    return row.key


def first_login_is_unused() -> bool:
    """Return whether the first user is the only one, and none of its passwords was ever used."""
    users = User.objects.values_list("username", "last_login")[:2]
    used = ApplicationPassword.objects.exclude(last_used_at=None)
    return list(users) == [(USERNAME, None)] and not used.exists()


def create_first_login() -> FirstLogin | None:
    """Create the superuser "admin" with an application password, and a demo contact.

    Returns:
        The passwords, or None if there is a user already.
    """
    if User.objects.exists():
        return None
    password = secrets.token_urlsafe(12)
    user = User.objects.create_superuser(USERNAME, EMAIL, password)
    _, secret = create_application_password(user, "first start", Scope.MANAGE)
    name = {"first_name": "Ada", "last_name": "Lovelace"}
    in_transaction(create_or_update)({"email": DEMO_EMAIL, "status": Status.SUBSCRIBED, **name})
    return FirstLogin(USERNAME, password, secret)
