"""Which addresses are verified. allauth keeps that in rows of its own, one for each user here.

Who signs up has to type the code that was mailed. Everybody else was made by somebody who may
(staff, the command line, the demo), and counts as verified; so does an address that staff change.
"""

from allauth.account.models import EmailAddress
from django.db import transaction

from accounts.models import User

SIGNS_UP = "signs_up"  # attribute of a new user whose address is going to be verified by its code


def keep_in_step(
    instance: User, created: bool, raw: bool = False, update_fields: frozenset[str] | None = None, **_: object
) -> None:
    """Give a user's address its row, in the transaction that saves the user; receives post_save.

    A row that names the address already stays as it is: saving somebody verifies nobody.
    """
    if (
        raw
        or getattr(instance, SIGNS_UP, False)
        or (update_fields is not None and "email" not in update_fields)
    ):
        return
    if created or not EmailAddress.objects.filter(user=instance, email=instance.email).exists():
        EmailAddress.objects.filter(user=instance).delete()
        EmailAddress.objects.create(user=instance, email=instance.email, verified=True, primary=True)


@transaction.atomic
def verify(user: User) -> None:
    """Count a user's address as verified from now on."""
    row, _ = EmailAddress.objects.get_or_create(user=user, email=user.email)
    if not (row.verified and row.primary):
        EmailAddress.objects.filter(pk=row.pk).update(verified=True, primary=True)


def is_verified(user: User) -> bool:
    return EmailAddress.objects.filter(user=user, email=user.email, verified=True).exists()
