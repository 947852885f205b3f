from copy import copy

from django.contrib.auth.management import create_permissions
from django.db import migrations

VIEWER = ("view_automation", "view_run")
MANAGER = (*VIEWER, "add_automation", "change_automation", "delete_automation", "change_run")


def grant(apps, schema_editor):
    """Let viewers see automations, and managers write them."""
    database = schema_editor.connection.alias
    # Django makes permissions after all migrations, and of apps with this mark alone.
    config = copy(apps.get_app_config("automations"))
    config.models_module = True
    create_permissions(config, verbosity=0, using=database, apps=apps)
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    groups = apps.get_model("auth", "Group").objects.using(database)
    for name, codenames in (("viewer", VIEWER), ("manager", MANAGER)):
        own = permissions.filter(
            content_type__app_label="automations", codename__in=codenames
        )
        for group in groups.filter(name=name):
            group.permissions.add(*own)


class Migration(migrations.Migration):

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("automations", "0001_initial"),
        # It makes the groups.
        ("events", "0003_roles"),
    ]

    operations = [migrations.RunPython(grant, migrations.RunPython.noop)]
