from copy import copy

from django.contrib.auth.management import create_permissions
from django.db import migrations


def let_managers_see(apps, schema_editor):
    database = schema_editor.connection.alias
    # Django makes permissions after all migrations, and of apps with this mark alone.
    config = copy(apps.get_app_config("crm"))
    config.models_module = True
    create_permissions(config, verbosity=0, using=database, apps=apps)
    permission = (
        apps.get_model("auth", "Permission")
        .objects.using(database)
        .get(content_type__app_label="crm", codename="view_historyentry")
    )
    groups = apps.get_model("auth", "Group").objects.using(database)
    for group in groups.filter(name="manager"):
        group.permissions.add(permission)


class Migration(migrations.Migration):

    dependencies = [
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("crm", "0005_contact_identity"),
        # It makes the groups.
        ("events", "0003_roles"),
    ]

    operations = [
        migrations.CreateModel(
            name="HistoryEntry",
            fields=[],
            options={
                "verbose_name": "history entry",
                "verbose_name_plural": "history entries",
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("admin.logentry",),
        ),
        migrations.RunPython(let_managers_see, migrations.RunPython.noop),
    ]
