from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("crm", "0013_notes")]

    operations = [
        # From varchar to text, which PostgreSQL does without writing the table or the index again.
        migrations.AlterField("identity", "value", models.TextField()),
    ]
