import django.db.models.deletion
from django.db import migrations, models

FILL = """
UPDATE events_idempotencykey k SET subscriber_id = o.subscriber_id
FROM events_eventoccurrence o WHERE o.id = k.occurrence_id
"""
# A key whose occurrence is gone protects nothing.
DELETE_ORPHANS = "DELETE FROM events_idempotencykey WHERE subscriber_id IS NULL"


def subscriber(null):
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        null=null,
        on_delete=django.db.models.deletion.DO_NOTHING,
        related_name="+",
        to="crm.subscriber",
    )


class Migration(migrations.Migration):
    dependencies = [("events", "0005_autovacuum")]

    operations = [
        migrations.AddField("idempotencykey", "subscriber", subscriber(null=True)),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RunSQL(DELETE_ORPHANS, migrations.RunSQL.noop),
        migrations.AlterField("idempotencykey", "subscriber", subscriber(null=False)),
    ]
