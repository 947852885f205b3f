from django.db import migrations, models

from config.indexes import AddIndexWhileWriting


class Migration(migrations.Migration):
    """Take about half a minute for 10,000,000 events."""

    atomic = False

    dependencies = [
        ("events", "0003_roles"),
    ]

    operations = [
        AddIndexWhileWriting(
            "trackedevent",
            models.Index(
                fields=["provider", "title", "subscriber"], name="events_trackedevent_by_kind"
            ),
        ),
    ]
