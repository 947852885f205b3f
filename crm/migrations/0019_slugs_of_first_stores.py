"""Give the first stores the unique indexes of slugs that 0001_initial has made since.

0001_initial was edited on the day after it was published. Its first form made slugs unique by
their letters and not without regard to case.
"""

from itertools import count

from django.db import migrations

MAX_LENGTH = 192
HAS_INDEX = "SELECT to_regclass(%s) IS NOT NULL"
LATER = """
SELECT id, slug FROM (
    SELECT id, slug, row_number() OVER (PARTITION BY lower(slug) ORDER BY id) AS place FROM {}
) label WHERE place > 1 ORDER BY id
"""
IS_USED = "SELECT EXISTS (SELECT FROM {} WHERE lower(slug) = lower(%s))"
# The names that Django gave.
OLD_INDEXES = {"crm_tag": "crm_tag_slug_f3dc85c5_like", "crm_list": "crm_list_slug_54b69db6_like"}


def make_slugs_unique(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for table, old_index in OLD_INDEXES.items():
            cursor.execute(HAS_INDEX, [f"{table}_slug"])
            if cursor.fetchone()[0]:
                continue
            rename_later(cursor, table)
            cursor.execute(f"CREATE UNIQUE INDEX {table}_slug ON {table} (lower(slug))")
            cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {table}_slug_key")
            cursor.execute(f"DROP INDEX IF EXISTS {old_index}")


def rename_later(cursor, table):
    """Number the slugs that an older label has in other letters, as new labels do."""
    cursor.execute(LATER.format(table))
    for label_id, slug in cursor.fetchall():
        for number in count(2):
            suffix = f"-{number}"
            free = slug[: MAX_LENGTH - len(suffix)] + suffix
            cursor.execute(IS_USED.format(table), [free])
            if not cursor.fetchone()[0]:
                break
        cursor.execute(f"UPDATE {table} SET slug = %s WHERE id = %s", [free, label_id])


class Migration(migrations.Migration):
    dependencies = [("crm", "0018_bulk_changes")]

    operations = [migrations.RunPython(make_slugs_unique, migrations.RunPython.noop)]
