from django.db import migrations

# By the defaults, autovacuum waits for a fifth of a table, which may be millions of rows. Vacuuming
# puts new occurrences into the BRIN index, and makes pages all-visible for index-only scans. For
# events it takes 5 s at ten million, so that a tenth costs each event 5 µs.
SHARES = {
    "events_trackedevent": {
        "autovacuum_vacuum_scale_factor": 0.1,
        "autovacuum_vacuum_insert_scale_factor": 0.1,
        "autovacuum_analyze_scale_factor": 0.02,
    },
    "events_eventoccurrence": {
        "autovacuum_vacuum_scale_factor": 0.1,
        "autovacuum_vacuum_insert_scale_factor": 0.02,
        "autovacuum_analyze_scale_factor": 0.02,
    },
}


def alter(table: str, action: str, parameters: str) -> str:
    return f"ALTER TABLE {table} {action} ({parameters})"


class Migration(migrations.Migration):
    dependencies = [("events", "0004_by_kind")]

    # Each takes a lock for a moment that tracking does not wait for (SHARE UPDATE EXCLUSIVE).
    operations = [
        migrations.RunSQL(
            alter(table, "SET", ", ".join(f"{name} = {share}" for name, share in shares.items())),
            alter(table, "RESET", ", ".join(shares)),
        )
        for table, shares in SHARES.items()
    ]
