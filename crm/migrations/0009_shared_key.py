from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("crm", "0007_deleted_labels")]

    operations = [
        migrations.CreateModel(
            name="SharedKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.TextField()),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="crm_one_shared_key"
                    )
                ],
            },
        )
    ]
