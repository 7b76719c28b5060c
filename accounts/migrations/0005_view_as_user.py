"""Staff may be given the right to see an account's pages as its user does."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0004_people'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='account',
            options={'ordering': ('name', 'id'), 'permissions': (('view_as_user', "Can see an account's pages as its user does"),)},
        ),
    ]
