from copy import copy

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models


VERBS = ("view", "add", "change", "delete")


def let_managers_use_them(apps, schema_editor):
    database = schema_editor.connection.alias
    # Django makes permissions after all migrations, and of apps with this mark alone.
    config = copy(apps.get_app_config("crm"))
    config.models_module = True
    create_permissions(config, verbosity=0, using=database, apps=apps)
    permissions = (
        apps.get_model("auth", "Permission")
        .objects.using(database)
        .filter(
            content_type__app_label="crm",
            codename__in=[f"{verb}_incomingwebhook" for verb in VERBS],
        )
    )
    groups = apps.get_model("auth", "Group").objects.using(database)
    for group in groups.filter(name="manager"):
        group.permissions.add(*permissions)


class Migration(migrations.Migration):
    dependencies = [
        ("crm", "0011_custom_fields"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="IncomingWebhook",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=192)),
                ("secret", models.CharField(editable=False, max_length=32, unique=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("subscribed", "Subscribed"),
                            ("pending", "Pending"),
                            ("unsubscribed", "Unsubscribed"),
                            ("transactional", "Transactional"),
                            ("bounced", "Bounced"),
                            ("complained", "Complained"),
                            ("spammed", "Spammed"),
                        ],
                        default="subscribed",
                        help_text="The status of contacts that it makes. Contacts that opted out stay so.",
                        max_length=50,
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False),
                ),
                ("last_used_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "lists",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Contacts get them unless the post names lists.",
                        to="crm.list",
                    ),
                ),
                (
                    "tags",
                    models.ManyToManyField(
                        blank=True,
                        help_text="Contacts get them unless the post names tags.",
                        to="crm.tag",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="incoming_webhooks",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.RunPython(let_managers_use_them, migrations.RunPython.noop),
    ]
