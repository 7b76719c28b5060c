from django.db import migrations, models

import usage.fields


def sum_up_what_is_there(apps, schema_editor):
    """The days of the records from before, as they would have been added up when they came."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_rollupday (account_id, local_day, records, cost)"
            " SELECT account_id, local_day, SUM(records), SUM(cost) FROM usage_rollup"
            " GROUP BY account_id, local_day"
        )


class Migration(migrations.Migration):

    dependencies = [
        ('usage', '0006_references_and_reversals'),
    ]

    operations = [
        migrations.CreateModel(
            name='RollupDay',
            fields=[
                ('account_id', models.BigIntegerField()),
                ('local_day', models.DateField()),
                ('pk', models.CompositePrimaryKey('account_id', 'local_day', blank=True, editable=False, primary_key=True, serialize=False)),
                ('records', models.BigIntegerField()),
                ('cost', usage.fields.CostField(places=10)),
            ],
        ),
        migrations.RunPython(sum_up_what_is_there, migrations.RunPython.noop),
    ]
