"""Find contacts by the key of their e-mail, and by the id that the calling program gave them."""

from collections import defaultdict

import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Lower

import crm.models
from crm.emails import email_key

ASCII_KEYS = """
UPDATE crm_subscriber SET email_key = lower(email COLLATE "C")
WHERE octet_length(email) = char_length(email)
"""


def set_email_keys(apps, schema_editor):
    """Set the keys. Of contacts with equal keys, the others keep the e-mail in lower case.

    The key is the contact's whose e-mail it is, else the oldest's. `manage.py check_database` lists
    the others. In pure SQL where the e-mail is ASCII, because a store may have millions.
    """
    database = schema_editor.connection.alias
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(ASCII_KEYS)
    contacts = apps.get_model("crm", "Subscriber").objects.using(database)
    rows = contacts.filter(email_key=None).order_by("id")
    by_key = defaultdict(list)
    for contact_id, email in rows.values_list("id", "email"):
        by_key[email_key(email)].append((contact_id, email))
    taken = set(contacts.filter(email_key__in=by_key).values_list("email_key", flat=True))
    for key, group in by_key.items():
        # False sorts before True.
        group.sort(key=lambda row: (row[1].lower() != key, row[0]))
        for contact_id, email in group:
            free = (each for each in (key, email.lower(), email) if each not in taken)
            chosen = next(free, f"{email} {contact_id}")
            taken.add(chosen)
            contacts.filter(id=contact_id).update(email_key=chosen)


class Migration(migrations.Migration):

    dependencies = [("crm", "0004_erasure")]

    operations = [
        migrations.AddField("subscriber", "email_key", models.TextField(null=True)),
        migrations.RunPython(set_email_keys, migrations.RunPython.noop),
        migrations.AlterField("subscriber", "email_key", crm.models.EmailKeyField(editable=False)),
        migrations.RemoveConstraint("subscriber", "crm_subscriber_email"),
        migrations.AddIndex(
            "subscriber", models.Index(Lower("email"), name="crm_subscriber_by_email")
        ),
        migrations.AddConstraint(
            "subscriber",
            models.UniqueConstraint(
                fields=("email_key",),
                name="crm_subscriber_email_key",
                violation_error_message="Another contact has this e-mail.",
            ),
        ),
        migrations.AddField(
            "subscriber",
            "made_by_track",
            models.BooleanField(db_default=False, default=False, editable=False),
        ),
        migrations.AddField(
            "applicationpassword",
            "new_contacts",
            models.CharField(
                blank=True,
                choices=[
                    ("none", "none: the event is refused"),
                    ("pending", "pending contacts"),
                    ("transactional", "transactional contacts"),
                ],
                db_default="",
                help_text="What an event of an unknown e-mail does. Empty: as the setting says.",
                max_length=20,
                verbose_name="contacts that events make",
            ),
        ),
        migrations.CreateModel(
            name="Identity",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "subscriber",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="identities",
                        to="crm.subscriber",
                    ),
                ),
                ("kind", models.CharField(max_length=20)),
                ("source", models.CharField(blank=True, max_length=192)),
                ("value", models.CharField(max_length=192)),
            ],
            options={"verbose_name_plural": "identities"},
        ),
        migrations.AddConstraint(
            "identity",
            models.UniqueConstraint(fields=("kind", "source", "value"), name="crm_identity_value"),
        ),
    ]
