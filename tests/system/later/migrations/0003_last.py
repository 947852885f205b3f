import os

from django.db import migrations


def run(apps, schema_editor):
    schema_editor.execute(os.environ.get("LAST_MIGRATION", "SELECT 1"))


class Migration(migrations.Migration):
    """Run the SQL of a test, such as a statement that fails."""

    dependencies = [("transfers", "0002_later")]
    operations = [migrations.RunPython(run)]
