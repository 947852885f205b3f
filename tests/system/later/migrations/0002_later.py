from django.db import migrations


class Migration(migrations.Migration):
    """Add a table, and commit."""

    dependencies = [("transfers", "0001_initial")]
    operations = [
        migrations.RunSQL("CREATE TABLE later_than_all AS SELECT id, email FROM crm_subscriber")
    ]
