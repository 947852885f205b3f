from django.db import migrations, models

from config.indexes import AddIndexWhileWriting


class Migration(migrations.Migration):
    """Take about a second for 1,000,000 contacts."""

    atomic = False

    dependencies = [
        ("crm", "0009_shared_key"),
    ]

    operations = [
        AddIndexWhileWriting(
            "subscriber",
            models.Index(
                condition=models.Q(("status", "subscribed"), _negated=True),
                fields=["id"],
                name="crm_subscriber_unsubscribed",
            ),
        ),
    ]
