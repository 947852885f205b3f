from django.db import migrations, models
from django.db.models import Q

from config.indexes import AddIndexWhileWriting


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("events", "0007_taken_back")]

    operations = [
        AddIndexWhileWriting(
            "idempotencykey",
            models.Index(
                fields=["subscriber"],
                condition=Q(event_id__isnull=False),
                name="events_key_taken_back",
            ),
        ),
    ]
