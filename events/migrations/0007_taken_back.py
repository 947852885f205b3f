from django.db import migrations, models


def let_managers_take_back(apps, schema_editor):
    database = schema_editor.connection.alias
    # 0003_roles has made the permissions of the app.
    permissions = (
        apps.get_model("auth", "Permission")
        .objects.using(database)
        .filter(content_type__app_label="events", codename="delete_eventoccurrence")
    )
    groups = apps.get_model("auth", "Group").objects.using(database)
    for group in groups.filter(name="manager"):
        group.permissions.add(*permissions)


class Migration(migrations.Migration):
    dependencies = [("events", "0006_key_contact")]

    operations = [
        migrations.AddField("idempotencykey", "event_id", models.BigIntegerField(null=True)),
        migrations.AddField("idempotencykey", "counter", models.BigIntegerField(null=True)),
        migrations.RunPython(let_managers_take_back, migrations.RunPython.noop),
    ]
