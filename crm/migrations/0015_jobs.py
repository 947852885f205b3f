from copy import copy

import django.contrib.postgres.fields
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

import crm.models.jobs


def grant(apps, schema_editor):
    """Let viewers and managers see jobs, of those kinds that they may start."""
    database = schema_editor.connection.alias
    # Django makes permissions after all migrations, and of apps with this mark alone.
    config = copy(apps.get_app_config("crm"))
    config.models_module = True
    create_permissions(config, verbosity=0, using=database, apps=apps)
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    permission = permissions.get(content_type__app_label="crm", codename="view_job")
    groups = apps.get_model("auth", "Group").objects.using(database)
    for group in groups.filter(name__in=("viewer", "manager")):
        group.permissions.add(permission)


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('contenttypes', '0002_remove_content_type_name'),
        ('crm', '0014_aliases'),
        # It makes the groups.
        ('events', '0003_roles'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Job',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(editable=False, max_length=50)),
                ('title', models.CharField(editable=False, max_length=300)),
                ('parameters', models.JSONField(default=dict, editable=False)),
                ('state', models.CharField(choices=[('draft', 'Draft'), ('waiting', 'Waiting'), ('running', 'Running'), ('stopped', 'Stopped'), ('done', 'Done'), ('failed', 'Failed')], default='waiting', editable=False, max_length=10)),
                ('stop_requested', models.BooleanField(default=False, editable=False)),
                ('claim', models.BigIntegerField(default=0, editable=False)),
                ('lease_until', models.DateTimeField(editable=False, null=True)),
                ('done', models.BigIntegerField(default=0, editable=False)),
                ('total', models.BigIntegerField(editable=False, null=True)),
                ('position', models.JSONField(default=dict, editable=False)),
                ('counts', models.JSONField(default=dict, editable=False)),
                ('error', models.TextField(editable=False)),
                ('folder', models.CharField(default=crm.models.jobs.new_folder, editable=False, max_length=32)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('ended_at', models.DateTimeField(editable=False, null=True)),
                ('created_by', models.ForeignKey(db_index=False, editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'default_permissions': ('view',),
                'indexes': [models.Index(condition=models.Q(('state__in', ('waiting', 'running'))), fields=['id'], name='crm_job_open')],
            },
        ),
        migrations.CreateModel(
            name='LabelChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=5)),
                ('label_id', models.BigIntegerField()),
                ('is_attached', models.BooleanField()),
                ('contact_ids', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='label_changes', to='crm.job')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
