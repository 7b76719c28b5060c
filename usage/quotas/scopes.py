"""Whose usage a quota counts: from what people call it to the id that is stored, and back."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from django.db.models import Q

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
    """What people call each of these, with one query for each kind; the id where the row is gone."""
    ids: dict[str, set[int]] = {}
    for scope, scope_id in scoped:
        ids.setdefault(scope, set()).add(scope_id)
    found: dict[Scoped, str] = {}
    for scope, wanted in ids.items():
        known = _known(scope, wanted)
        found |= {Scoped(scope, pk): known.get(pk, "" if pk == 0 else str(pk)) for pk in wanted}
    return found


def text(scoped: Scoped, named: dict[Scoped, str]) -> str:
    """`account`, or `member:bob@example.com`, as the API writes a scope; `named` is what `names` gave."""
    return scoped.scope if scoped.scope == Scope.ACCOUNT else f"{scoped.scope}:{named[scoped]}"


def _known(scope: str, ids: set[int]) -> dict[int, str]:
    if scope == Scope.MEMBER:
        return dict(User.objects.filter(pk__in=ids).values_list("pk", "email"))
    if scope == Scope.CAMPAIGN:
        return dict(Campaign.objects.filter(pk__in=ids).values_list("pk", "name"))
    if scope == Scope.KEY:
        return dict(Key.objects.filter(pk__in=ids).values_list("pk", "prefix"))
    return {}
