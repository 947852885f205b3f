from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("automations", "0003_rights")]

    operations = [
        migrations.AddField("automation", "deleted_at", models.DateTimeField(null=True)),
        migrations.AddField(
            "endpoint", "deleted_at", models.DateTimeField(editable=False, null=True)
        ),
        # Without this, a URL would stay reserved until the deliveries are deleted.
        migrations.AlterField(
            "endpoint", "url", models.TextField(editable=False, verbose_name="URL")
        ),
        migrations.AddConstraint(
            "endpoint",
            models.UniqueConstraint(
                condition=models.Q(deleted_at=None),
                fields=("url",),
                name="automations_endpoint_url",
            ),
        ),
    ]
