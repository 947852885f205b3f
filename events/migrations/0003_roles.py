from copy import copy

from django.contrib.auth.management import create_permissions
from django.db import migrations

SEEN = {
    "crm": ("subscriber", "tag", "list", "savedsegment"),
    "events": ("trackedevent", "eventoccurrence", "eventname", "trackingswitch"),
}
VIEWER = [
    f"{app}.view_{model}" for app, models in SEEN.items() for model in models
]
# What lets programs in, tracking keys and application passwords, is the manager's to see.
MANAGER = [
    *VIEWER,
    *(f"crm.{verb}_{model}" for model in SEEN["crm"] for verb in ("add", "change", "delete")),
    *(f"crm.{verb}_applicationpassword" for verb in ("view", "add", "delete")),
    "events.add_trackedevent",
    *("events.add_eventname", "events.delete_eventname"),
    *("events.add_trackingswitch", "events.change_trackingswitch"),
    *("events.view_trackingkey", "events.change_trackingkey"),
]
ROLES = {"viewer": VIEWER, "manager": MANAGER}


def make_roles(apps, schema_editor):
    """Groups that are there keep what they have."""
    database = schema_editor.connection.alias
    for app in SEEN:
        # Django makes permissions after all migrations, and of apps with this mark alone.
        config = copy(apps.get_app_config(app))
        config.models_module = True
        create_permissions(config, verbosity=0, using=database, apps=apps)
    permissions = {
        f"{permission.content_type.app_label}.{permission.codename}": permission
        for permission in apps.get_model("auth", "Permission")
        .objects.using(database)
        .filter(content_type__app_label__in=SEEN)
        .select_related("content_type")
    }
    for name, granted in ROLES.items():
        group, _ = apps.get_model("auth", "Group").objects.using(database).get_or_create(name=name)
        group.permissions.add(*(permissions[permission] for permission in granted))


class Migration(migrations.Migration):

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("crm", "0002_saved_segments"),
        ("events", "0002_every_occurrence"),
    ]

    # It names the permissions of models as they were called before.
    run_before = [("crm", "0003_segment")]

    operations = [
        # Backwards the groups stay: people are in them.
        migrations.RunPython(make_roles, migrations.RunPython.noop),
    ]
