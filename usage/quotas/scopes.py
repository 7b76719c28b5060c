"""Whose usage a quota counts: from what people call it to the id that is stored, and back."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from django.db.models import Q, QuerySet, Value

from accounts.errors import Invalid
from accounts.models import Account, Key, User, normal_email
from usage.models import Campaign, Scope


class Scoped(NamedTuple):
    """A scope and what it names; `scope_id` is 0 for the account."""

    scope: str
    scope_id: int


def find(account: Account, scope: str, who: str, *, service_keys: bool = True) -> int:
    """The id that a scope is stored with.

    Args:
        who: a member's e-mail, a campaign's whole name or the beginning of a key; empty for the account.
        service_keys: those of the team count as well; an account's own people know nothing of them.

    Raises:
        Invalid: field `who`; nothing of this account, or several things, are called so.
    """
    who = who.strip().removesuffix("…")
    if scope == Scope.ACCOUNT:
        if who:
            raise Invalid("who", "A limit for the whole account names nobody else.")
        return 0
    if not who:
        raise Invalid("who", f"Name the {scope} that is limited.", "required")
    if scope == Scope.KEY:
        return _key(account, who, service_keys=service_keys)
    return _FINDERS[Scope(scope)](account, who)


def _member(account: Account, email: str) -> int:
    found = account.members.filter(user__email=normal_email(email)).values_list("user_id", flat=True).first()
    if found is None:
        raise Invalid("who", f"{email!r} is not a member of this account.", "unknown_user")
    return found


def _campaign(account: Account, name: str) -> int:
    found = Campaign.objects.filter(account=account, name=name).values_list("pk", flat=True).first()
    if found is None:
        raise Invalid("who", f"This account has no campaign {name!r}.", "unknown_campaign")
    return found


def _key(account: Account, beginning: str, *, service_keys: bool) -> int:
    own = Key.objects.filter(Q(account=account) | Q(account=None) if service_keys else Q(account=account))
    exact = own.filter(prefix=beginning).values_list("pk", flat=True).first()
    if exact is not None:
        return exact
    found = list(own.filter(prefix__startswith=beginning).values_list("pk", flat=True)[:2])
    if not found:
        raise Invalid("who", f"This account has no key that begins with {beginning!r}.", "unknown_key")
    if len(found) > 1:
        raise Invalid("who", f"Several keys begin with {beginning!r}; write more of it.", "ambiguous_key")
    return found[0]


_FINDERS: dict[Scope, Callable[[Account, str], int]] = {
    Scope.MEMBER: _member,
    Scope.CAMPAIGN: _campaign,
}


def names(scoped: Iterable[Scoped]) -> dict[Scoped, str]:
    """What people call each of these, in one statement; the id where the row is gone, "" for the account."""
    wanted = {Scoped(*one) for one in scoped}
    found = {one: str(one.scope_id) if one.scope_id else "" for one in wanted}
    asked = [
        rows.filter(pk__in=ids).order_by().values_list(Value(scope), "pk", name)
        for scope, rows, name in _named()
        if (ids := {one.scope_id for one in wanted if one.scope == scope})
    ]
    if asked:
        found |= {Scoped(scope, pk): name for scope, pk, name in asked[0].union(*asked[1:], all=True)}
    return found


def _named() -> list[tuple[str, QuerySet, str]]:
    """Where the names of each scope stand; all of them are compared byte by byte, so they go together."""
    return [
        (Scope.MEMBER.value, User.objects.all(), "email"),
        (Scope.CAMPAIGN.value, Campaign.objects.all(), "name"),
        (Scope.KEY.value, Key.objects.all(), "prefix"),
    ]
