import json
from copy import copy
from datetime import datetime

from django.contrib.auth.management import create_permissions
from django.db import migrations, models

# How the receipts began that earlier versions kept as messages in Django's log.
RECEIPT_START = '{"contact_id":'
DELETION = 3


def log_entries(apps, schema_editor):
    return (
        apps.get_model("admin", "LogEntry")
        .objects.using(schema_editor.connection.alias)
        .filter(
            content_type__app_label="crm",
            content_type__model="subscriber",
            action_flag=DELETION,
        )
    )


def receipts_from_log(apps, schema_editor):
    erasures = apps.get_model("crm", "Erasure").objects.using(schema_editor.connection.alias)
    entries = log_entries(apps, schema_editor).filter(change_message__startswith=RECEIPT_START)
    for entry in entries.order_by("id"):
        receipt = json.loads(entry.change_message)
        erasures.create(
            contact_id=receipt["contact_id"],
            email_sha256=receipt["email_sha256"],
            erased_at=datetime.fromisoformat(receipt["erased_at"]),
            erased_by=receipt["erased_by"],
            version=receipt["tallybook"],
            counts={name: receipt[name] for name in ("deleted", "made_nameless")},
        )
        entry.change_message = ""
        entry.save(update_fields=["change_message"])


def receipts_into_log(apps, schema_editor):
    erasures = apps.get_model("crm", "Erasure").objects.using(schema_editor.connection.alias)
    for erasure in erasures.order_by("id"):
        receipt = {
            "contact_id": erasure.contact_id,
            "email_sha256": erasure.email_sha256,
            "erased_at": erasure.erased_at.isoformat(),
            "erased_by": erasure.erased_by,
            "tallybook": erasure.version,
            **erasure.counts,
        }
        entries = log_entries(apps, schema_editor).filter(object_id=str(erasure.contact_id))
        entries.update(change_message=json.dumps(receipt, separators=(",", ":")))


def let_managers_see(apps, schema_editor):
    """Permit managers to see receipts, because they saw those of the log."""
    database = schema_editor.connection.alias
    # Django makes permissions after all migrations, and of apps with this mark alone.
    config = copy(apps.get_app_config("crm"))
    config.models_module = True
    create_permissions(config, verbosity=0, using=database, apps=apps)
    permission = (
        apps.get_model("auth", "Permission")
        .objects.using(database)
        .get(content_type__app_label="crm", codename="view_erasure")
    )
    groups = apps.get_model("auth", "Group").objects.using(database)
    for group in groups.filter(name="manager"):
        group.permissions.add(permission)


class Migration(migrations.Migration):

    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("crm", "0003_segment"),
    ]

    operations = [
        migrations.CreateModel(
            name="Erasure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("contact_id", models.BigIntegerField(db_index=True, verbose_name="contact")),
                ("email_sha256", models.CharField(db_index=True, max_length=64, verbose_name="SHA-256 of the e-mail")),
                ("erased_at", models.DateTimeField()),
                ("erased_by", models.CharField(max_length=192)),
                ("counts", models.JSONField()),
                ("version", models.CharField(max_length=20)),
            ],
            options={"ordering": ("-id",)},
        ),
        migrations.RunPython(receipts_from_log, receipts_into_log),
        migrations.RunPython(let_managers_see, migrations.RunPython.noop),
    ]
