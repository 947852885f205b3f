from copy import copy

from django.contrib.auth.management import create_permissions
from django.db import migrations, models

SEEN = ("view_automation", "view_run")
GRANTED = {
    "viewer": SEEN,
    "manager": (
        *SEEN,
        *("add_automation", "change_automation", "delete_automation", "change_run"),
    ),
}


def grant(apps, schema_editor):
    """Let viewers see automations and runs, and managers write them."""
    database = schema_editor.connection.alias
    # Django makes permissions after all migrations, and of apps with this mark alone.
    config = copy(apps.get_app_config("automations"))
    config.models_module = True
    create_permissions(config, verbosity=0, using=database, apps=apps)
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    groups = apps.get_model("auth", "Group").objects.using(database)
    for name, codenames in GRANTED.items():
        found = permissions.filter(
            content_type__app_label="automations", codename__in=codenames
        )
        for group in groups.filter(name=name):
            group.permissions.add(*found)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("automations", "0002_webhooks"),
        # It makes the groups.
        ("events", "0003_roles"),
    ]

    operations = [
        migrations.RemoveIndex(model_name="run", name="automations_run_inside"),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["automation", "status", "step_id"], name="automations_run_report"
            ),
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
