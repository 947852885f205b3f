from django.db import migrations

# The first form of 0001_initial, which was edited a day later, let Django make the foreign key.
REPAIR = """
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'events_trackedevent'::regclass AND
               conname = 'events_trackedevent_subscriber_id_2a33b167_fk_crm_subscriber_id') THEN
        ALTER TABLE events_trackedevent RENAME CONSTRAINT
            events_trackedevent_subscriber_id_2a33b167_fk_crm_subscriber_id
            TO events_trackedevent_subscriber;
        ALTER TABLE events_trackedevent ALTER CONSTRAINT events_trackedevent_subscriber
            NOT DEFERRABLE;
    END IF;
END
$$
"""


class Migration(migrations.Migration):
    dependencies = [("events", "0010_watched_keys")]

    operations = [migrations.RunSQL(REPAIR, migrations.RunSQL.noop)]
