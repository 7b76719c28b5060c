"""Everybody there is counts as verified, and one's own audit entries are found by an index."""

from django.db import migrations, models

AT_ONCE = 1_000


def verify_everybody(apps, schema_editor):
    User = apps.get_model('accounts', 'User')
    EmailAddress = apps.get_model('account', 'EmailAddress')
    last = 0
    while users := list(User.objects.filter(pk__gt=last).order_by('pk')[:AT_ONCE]):
        last = users[-1].pk
        known = set(EmailAddress.objects.filter(user__in=users).values_list('user_id', flat=True))
        EmailAddress.objects.bulk_create(
            EmailAddress(user=user, email=user.email, verified=True, primary=True)
            for user in users
            if user.pk not in known
        )


def compare_byte_by_byte(apps, schema_editor):
    """MariaDB's default collation holds josé@ = jose@: one would be verified in place of the other."""
    connection = schema_editor.connection
    if connection.vendor != 'mysql':
        return
    column = apps.get_model('account', 'EmailAddress')._meta.get_field('email')
    collation = 'utf8mb4_nopad_bin' if connection.mysql_is_mariadb else 'utf8mb4_0900_bin'
    schema_editor.execute(
        f'ALTER TABLE account_emailaddress MODIFY email varchar({column.max_length}) '
        f'CHARACTER SET utf8mb4 COLLATE {collation} NOT NULL'
    )


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_revision_and_rates'),
        ('account', '0009_emailaddress_unique_primary_email'),
    ]

    operations = [
        migrations.RunPython(compare_byte_by_byte, migrations.RunPython.noop, atomic=False),
        migrations.RunPython(verify_everybody, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['actor_id', 'id'], name='accounts_audit_by_actor'),
        ),
    ]
