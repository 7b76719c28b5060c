"""Groups of the staff that come with Tollgate, and what each is given when a version brings something new."""

from collections.abc import Iterable, Mapping

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from accounts.models import Role

Rights = Mapping[str, int]


def stored_rights(using: str) -> dict[str, int]:
    """Every right that exists, as `app.codename`, with its id."""
    rows = Permission.objects.using(using).values_list("content_type__app_label", "codename", "pk")
    return {f"{app}.{codename}": pk for app, codename, pk in rows}


@transaction.atomic
def give(name: str, wanted: Iterable[str], existing: Rights, using: str) -> None:
    """Make the group once, and give it the rights that it was never given before.

    A group that staff have renamed is still the role; one that they have deleted stays deleted.
    """
    role = Role.objects.using(using).select_for_update().filter(name=name).first()
    if role is None:
        group, _ = Group.objects.using(using).get_or_create(name=name)
        role = Role.objects.using(using).create(name=name, group=group)
    new = sorted(set(wanted) & existing.keys() - set(role.given))
    if not new or role.group is None:
        return
    role.group.permissions.add(*(existing[right] for right in new))
    role.given = sorted({*role.given, *new})
    role.save(using=using, update_fields=["given"])
