import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

COPY = """
INSERT INTO crm_bulkchange (id, job_id, field, before, after, contact_ids)
OVERRIDING USER VALUE
SELECT id, job_id, kind, CASE WHEN NOT is_attached THEN to_jsonb(label_id) END,
       CASE WHEN is_attached THEN to_jsonb(label_id) END, contact_ids
FROM crm_labelchange ORDER BY id;
UPDATE crm_job SET kind = 'change_contacts' WHERE kind = 'change_labels'
"""


class Migration(migrations.Migration):
    """Changes of labels become changes of contacts, which can still be undone."""

    dependencies = [
        ("crm", "0017_user_source"),
    ]

    operations = [
        migrations.AddField(
            model_name="subscriber",
            name="status_change",
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.CreateModel(
            name="BulkChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("field", models.CharField(max_length=20)),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                (
                    "contact_ids",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.BigIntegerField(), size=None
                    ),
                ),
                (
                    "job",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="changes",
                        to="crm.job",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    django.contrib.postgres.indexes.GinIndex(
                        condition=models.Q(("field__in", ("avatar", "custom_values"))),
                        fields=["contact_ids"],
                        name="crm_bulkchange_values",
                    )
                ],
            },
        ),
        migrations.RunSQL(COPY, migrations.RunSQL.noop),
        migrations.DeleteModel(name="LabelChange"),
    ]
