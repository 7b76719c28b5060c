from django.db import migrations
from django.db.models import F


def let_accounts_follow(apps, schema_editor):
    """Whether a plan has alerts is written to its accounts' terms from now on: those without follow once more."""
    plans = apps.get_model('billing', 'Plan').objects.filter(alerts=False)
    plans.update(revision=F('revision') + 1)


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0002_plan_changes'),
        ('usage', '0004_alerts'),
    ]

    operations = [migrations.RunPython(let_accounts_follow, migrations.RunPython.noop)]
