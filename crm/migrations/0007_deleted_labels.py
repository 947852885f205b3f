from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("crm", "0006_history")]

    operations = [
        migrations.AddField(
            model_name="segment",
            name="deleted_labels",
            field=models.JSONField(db_default={}, default=dict, editable=False),
        )
    ]
