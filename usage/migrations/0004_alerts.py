import accounts.fields
import django.db.models.deletion
import django.utils.timezone
import usage.fields
from django.db import migrations, models


def arm_open_windows(apps, schema_editor):
    """Let the job work out when somebody is to be told, in windows that are still open."""
    balances = apps.get_model('usage', 'Balance').objects.order_by('pk')
    now = django.utils.timezone.now()
    last = 0
    while page := list(balances.filter(pk__gt=last).values_list('pk', 'window__ends_at')[:5000]):
        still_open = [pk for pk, ends_at in page if ends_at > now]
        balances.filter(pk__in=still_open).update(next_threshold_at=0)
        last = page[-1][0]


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_revision_and_rates'),
        ('usage', '0003_jobs'),
    ]

    operations = [
        migrations.CreateModel(
            name='Alert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('scope', models.CharField(choices=[('account', 'Account'), ('member', 'Member'), ('campaign', 'Campaign'), ('key', 'Key')], default='account', max_length=8)),
                ('scope_id', models.BigIntegerField(default=0)),
                ('watched', accounts.fields.ExactCharField(max_length=64)),
                ('window', accounts.fields.ExactCharField(max_length=32)),
                ('window_kind', models.CharField(choices=[('billing_month', 'Billing Month'), ('billing_year', 'Billing Year'), ('calendar_month', 'Calendar Month'), ('week', 'Week'), ('day', 'Day')], max_length=14)),
                ('starts_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField(verbose_name='resets')),
                ('threshold', usage.fields.WholeField(help_text='Per cent of the limit; of cost, 10⁻¹⁰ USD.')),
                ('used', usage.fields.WholeField(help_text="When it was noticed, in the meter's places.")),
                ('whole', usage.fields.WholeField(help_text='The limit, or what the plan includes; empty for cost.', null=True)),
                ('is_included', models.BooleanField(default=False)),
                ('is_covered', models.BooleanField(default=False, help_text='A higher threshold was crossed in the same step: its message told of both.')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='noticed')),
            ],
        ),
        migrations.CreateModel(
            name='AlertDelivery',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('channel', models.CharField(max_length=16)),
                ('state', models.SmallIntegerField(choices=[(0, 'waiting'), (1, 'delivered'), (2, 'failed')], default=0)),
                ('attempts', models.PositiveIntegerField(default=0)),
                ('recipient', models.CharField(blank=True, default='', max_length=500, verbose_name='sent to')),
                ('error', models.CharField(blank=True, default='', max_length=500, verbose_name='last error')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='queued')),
                ('due_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='next attempt')),
                ('sent_at', models.DateTimeField(null=True, verbose_name='sent')),
            ],
            options={
                'verbose_name_plural': 'alert deliveries',
            },
        ),
        migrations.CreateModel(
            name='AlertRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('percentages', models.JSONField(default=list, help_text='Whole numbers; none: no alert.')),
            ],
        ),
        migrations.CreateModel(
            name='AlertSettings',
            fields=[
                ('account', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='+', serialize=False, to='accounts.account')),
                ('cost_amounts', models.JSONField(default=list, help_text='USD in a calendar month, as texts.', verbose_name='cost thresholds')),
                ('mail_to', models.CharField(choices=[('managers', 'Owners and admins'), ('chosen', 'Chosen members'), ('nobody', 'Nobody')], default='managers', max_length=8)),
                ('mail_user_ids', models.JSONField(default=list, verbose_name='chosen members')),
                ('webhook_url', models.CharField(blank=True, default='', max_length=500, verbose_name='webhook')),
                ('webhook_nonce', accounts.fields.ExactCharField(blank=True, default='', max_length=32)),
                ('webhook_nonce_before', accounts.fields.ExactCharField(blank=True, default='', max_length=32)),
                ('webhook_rotated_at', models.DateTimeField(null=True, verbose_name='secret made')),
                ('webhook_tested_at', models.DateTimeField(null=True, verbose_name='tested')),
                ('cost_due_at', models.DateTimeField(help_text="When the month's cost is looked at next.", null=True)),
                ('cost_seen', accounts.fields.ExactCharField(blank=True, default='', help_text='Month and cost then.', max_length=40)),
            ],
            options={
                'verbose_name_plural': 'alert settings',
            },
        ),
        migrations.AlterField(
            model_name='balance',
            name='next_threshold_at',
            field=usage.fields.WholeField(default=0, null=True),
        ),
        migrations.RunPython(arm_open_windows, migrations.RunPython.noop),
        migrations.AddField(
            model_name='balance',
            name='is_crossed',
            field=models.GeneratedField(db_persist=True, expression=models.Q(('used__gte', models.F('next_threshold_at'))), output_field=models.BooleanField(null=True)),
        ),
        migrations.AddField(
            model_name='terms',
            name='alerts',
            field=models.BooleanField(default=True, help_text='Whether it is alerted at thresholds.'),
        ),
        migrations.AddIndex(
            model_name='balance',
            index=models.Index(fields=['is_crossed'], name='usage_balance_crossed'),
        ),
        migrations.AddField(
            model_name='alert',
            name='account',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='alert',
            name='meter',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='usage.meter'),
        ),
        migrations.AddField(
            model_name='alertdelivery',
            name='account',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='alertdelivery',
            name='alert',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='usage.alert'),
        ),
        migrations.AddField(
            model_name='alertrule',
            name='account',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='alertrule',
            name='meter',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='usage.meter'),
        ),
        migrations.AddIndex(
            model_name='alertsettings',
            index=models.Index(fields=['cost_due_at'], name='usage_alert_cost_due'),
        ),
        migrations.AddIndex(
            model_name='alert',
            index=models.Index(fields=['account'], name='usage_alert_account'),
        ),
        migrations.AddConstraint(
            model_name='alert',
            constraint=models.UniqueConstraint(fields=('account', 'watched', 'window', 'threshold'), name='usage_alert_once'),
        ),
        migrations.AddIndex(
            model_name='alertdelivery',
            index=models.Index(fields=['state', 'due_at'], name='usage_alertdelivery_due'),
        ),
        migrations.AddIndex(
            model_name='alertdelivery',
            index=models.Index(fields=['account'], name='usage_alertdelivery_account'),
        ),
        migrations.AddConstraint(
            model_name='alertdelivery',
            constraint=models.UniqueConstraint(fields=('alert', 'channel'), name='usage_alertdelivery_once'),
        ),
        migrations.AddConstraint(
            model_name='alertrule',
            constraint=models.UniqueConstraint(fields=('account', 'meter'), name='usage_alertrule_once'),
        ),
    ]
