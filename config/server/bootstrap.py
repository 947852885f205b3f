"""What a store is given at its first start: tables, a user, a way in, and somebody to track."""

import secrets
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from config.database import in_transaction
from crm.contacts import create_or_update
from crm.models import Scope, Status
from crm.passwords import create_application_password
from events.activecampaign.credentials import tracking_key

# Any number, the same in every process: whoever comes second waits for the first.
MIGRATION_LOCK = 0x7A11_B00C
USERNAME, EMAIL = "admin", "admin@example.com"
DEMO_EMAIL = "ada@example.com"


@dataclass(frozen=True)
class FirstLogin:
    """What is told once: the admin's password and the application password."""

    username: str
    password: str
    secret: str


def bootstrap() -> FirstLogin | None:
    """Migrate, and make the first user where there is none. Safe to run in several places at once.

    Returns the first user's secrets if it was made now.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        try:
            if migrations_are_missing():
                call_command("migrate", verbosity=0, interactive=False)
            tracking_key()
            return None if User.objects.exists() else _first_login()
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])


def migrations_are_missing() -> bool:
    """Whether the database lacks a migration. Raises Django's DatabaseError if it is away."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _first_login() -> FirstLogin:
    password = secrets.token_urlsafe(12)
    user = User.objects.create_superuser(USERNAME, EMAIL, password)
    _, secret = create_application_password(user, "first start", Scope.MANAGE)
    name = {"first_name": "Ada", "last_name": "Lovelace"}
    demo = {"email": DEMO_EMAIL, "status": Status.SUBSCRIBED, **name}
    in_transaction(create_or_update)(demo)
    return FirstLogin(USERNAME, password, secret)
