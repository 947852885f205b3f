from copy import copy

import django.db.models.deletion
import django.db.models.functions.datetime
from django.contrib.auth.management import create_permissions
from django.db import migrations, models

GRANTED = [f"{verb}_{model}" for verb in ("view", "change") for model in ("endpoint", "delivery")]

# Each delivery leaves dead entries at the beginning of its endpoint's part of the index, where the
# next one is looked for.
VACUUM = "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000"


def grant(apps, schema_editor):
    """Let managers see webhooks. URLs and bodies may hold secrets, so viewers may not."""
    database = schema_editor.connection.alias
    # Django makes permissions after all migrations, and of apps with this mark alone.
    config = copy(apps.get_app_config("automations"))
    config.models_module = True
    create_permissions(config, verbosity=0, using=database, apps=apps)
    permissions = apps.get_model("auth", "Permission").objects.using(database)
    granted = permissions.filter(content_type__app_label="automations", codename__in=GRANTED)
    groups = apps.get_model("auth", "Group").objects.using(database)
    for group in groups.filter(name="manager"):
        group.permissions.add(*granted)


class Migration(migrations.Migration):

    dependencies = [
        ('automations', '0001_initial'),
        ('auth', '0012_alter_user_first_name_max_length'),
        ('contenttypes', '0002_remove_content_type_name'),
        # It makes the groups.
        ('events', '0003_roles'),
    ]

    operations = [
        migrations.CreateModel(
            name='Endpoint',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('url', models.TextField(editable=False, unique=True, verbose_name='URL')),
                ('secret', models.CharField(editable=False, max_length=60)),
                ('old_secret', models.CharField(default='', editable=False, max_length=60)),
                ('old_secret_until', models.DateTimeField(editable=False, null=True)),
                ('enabled', models.BooleanField(default=True, editable=False)),
                ('disabled_reason', models.TextField(default='', editable=False)),
                ('failures', models.IntegerField(default=0, editable=False)),
                ('failing_since', models.DateTimeField(editable=False, null=True)),
                ('retry_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'verbose_name': 'webhook endpoint',
                'default_permissions': ('view', 'change'),
            },
        ),
        migrations.CreateModel(
            name='Delivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('message_id', models.CharField(editable=False, max_length=64, unique=True)),
                ('run_id', models.BigIntegerField(editable=False, null=True)),
                ('step_id', models.BigIntegerField(editable=False, null=True)),
                ('subscriber_id', models.BigIntegerField(editable=False, null=True)),
                ('body', models.TextField(editable=False)),
                ('status', models.CharField(choices=[('pending', 'Pending'), ('delivered', 'Delivered'), ('failed', 'Failed'), ('cancelled', 'Cancelled'), ('held', 'Held')], default='pending', editable=False, max_length=10)),
                ('attempts', models.IntegerField(default=0, editable=False)),
                ('tries', models.IntegerField(default=0, editable=False)),
                ('next_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('delivered_at', models.DateTimeField(editable=False, null=True)),
                ('endpoint', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='automations.endpoint')),
            ],
            options={
                'verbose_name': 'webhook delivery',
                'verbose_name_plural': 'webhook deliveries',
                'default_permissions': ('view', 'change'),
            },
        ),
        migrations.CreateModel(
            name='Attempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.IntegerField(editable=False)),
                ('at', models.DateTimeField(editable=False)),
                ('took_ms', models.IntegerField(editable=False)),
                ('http_status', models.IntegerField(editable=False, null=True)),
                ('error', models.TextField(default='', editable=False)),
                ('answer', models.TextField(default='', editable=False)),
                ('delivery', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='results', to='automations.delivery')),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.UniqueConstraint(fields=('delivery', 'number'), name='automations_attempt_of_delivery')],
            },
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('status', 'pending')), fields=['endpoint', 'next_at', 'id'], name='automations_delivery_due'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('run_id__isnull', True), ('status', 'pending')), fields=['next_at'], name='automations_delivery_test'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('subscriber_id__isnull', False)), fields=['subscriber_id'], name='automations_delivery_contact'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(condition=models.Q(('status__in', ('delivered', 'failed', 'cancelled')), models.Q(('body', ''), _negated=True)), fields=['created_at'], name='automations_delivery_body'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['status', '-id'], name='automations_delivery_status'),
        ),
        migrations.AddIndex(
            model_name='delivery',
            index=models.Index(fields=['endpoint', '-id'], name='automations_delivery_endpoint'),
        ),
        migrations.AddConstraint(
            model_name='delivery',
            constraint=models.UniqueConstraint(condition=models.Q(('run_id__isnull', False)), fields=('run_id', 'step_id'), name='automations_delivery_of_step'),
        ),
        migrations.RunSQL(
            f"ALTER TABLE automations_delivery SET ({VACUUM})", migrations.RunSQL.noop
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
