from django.db import migrations, models
from django.db.models.functions import Lower

VERBS = ("add", "change", "delete", "view")


def rename_permissions(old, new):
    """Rename the codenames: Django renames the table and the content type only."""

    def rename(apps, schema_editor):
        permissions = apps.get_model("auth", "Permission").objects.using(
            schema_editor.connection.alias
        )
        for verb in VERBS:
            permissions.filter(content_type__app_label="crm", codename=f"{verb}_{old}").update(
                codename=f"{verb}_{new}"
            )

    return rename


class Migration(migrations.Migration):

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("crm", "0002_saved_segments"),
    ]

    operations = [
        migrations.RemoveConstraint("savedsegment", "crm_savedsegment_slug"),
        migrations.RenameModel("SavedSegment", "Segment"),
        migrations.AlterModelOptions("segment", {"ordering": (Lower("title"), "id")}),
        migrations.AddConstraint(
            "segment",
            models.UniqueConstraint(
                Lower("slug"),
                name="crm_segment_slug",
                violation_error_message="Another one has this slug.",
            ),
        ),
        migrations.RunPython(
            rename_permissions("savedsegment", "segment"),
            rename_permissions("segment", "savedsegment"),
        ),
    ]
