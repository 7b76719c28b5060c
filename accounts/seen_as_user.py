"""Seeing an account's pages as its user does: for staff with the right to, read-only, for half an hour.

What is seen is kept in the staff user's own session. Every page asks again whether it still may be:
the right may be taken away, the account may go, and the time runs out.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.models import Account, User

PERMISSION = "accounts.view_as_user"
LASTS = timedelta(minutes=30)
ENTRY = "seen_as_user"  # session entry: which account, by whom, until when

# The pages that show the account. What else is under /settings/ makes or changes something.
PAGES = frozenset(
    {
        *("settings_usage", "settings_usage_live", "settings_usage_chart"),
        *("settings_history", "settings_record", "settings_months", "settings_statement"),
        *("settings_campaigns", "settings_budgets", "settings_alerts"),
        *("settings_keys", "settings_key", "settings_account", "settings_member"),
    }
)
# Whoever looks stays who they are: these are about themselves, whatever account they see.
OWN_PAGES = frozenset({"settings_profile", "download_profile", "settings_security", "settings_activity"})


class ReadOnly(PermissionDenied):
    """What was asked for would act on the account that is only looked at."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The account that is looked at, and until when."""

    account: Account
    until: datetime

    @property
    def minutes_left(self) -> int:
        return max(1, -(-int((self.until - timezone.now()).total_seconds()) // 60))


def may_see(user: Any) -> bool:
    return isinstance(user, User) and user.is_active and user.is_staff and user.has_perm(PERMISSION)


@transaction.atomic
def begin(request: HttpRequest, account: Account, reason: str) -> None:
    """Let the pages of this session show an account; written into the audit trail with the reason."""
    user = request.user
    assert isinstance(user, User)
    audit.write(
        "account.seen_as_user",
        actor=user,
        account=account,
        subject=account.name,
        reason=reason,
        request=request,
    )
    until = timezone.now() + LASTS
    request.session[ENTRY] = {"account": account.pk, "user": user.pk, "until": until.isoformat()}


def leave(request: HttpRequest) -> int | None:
    """Show one's own accounts again; the id of the account that was seen, None when there was none."""
    entry = request.session.pop(ENTRY, None)
    return entry["account"] if entry else None


def seen_by(request: HttpRequest) -> Seen | None:
    """What this session looks at; what it may not look at any more, it forgets."""
    entry = request.session.get(ENTRY)
    if entry is None:
        return None
    until = datetime.fromisoformat(entry["until"])
    user: Any = request.user
    if until > timezone.now() and entry["user"] == user.pk and may_see(user):
        account = Account.objects.select_related("deletion").filter(pk=entry["account"]).first()
        if account is not None:
            return Seen(account, until)
    leave(request)
    return None


def refuse_acts(request: HttpRequest) -> None:
    """Stop whatever is no look at a page of the account.

    Raises:
        ReadOnly: a method that changes something, or a page that is there to change something.
    """
    match = request.resolver_match
    is_look = request.method in ("GET", "HEAD") and match is not None and match.url_name in PAGES
    if not is_look:
        raise ReadOnly("An account that is seen as its user does is only looked at.")


def is_own_page(request: HttpRequest) -> bool:
    match = request.resolver_match
    return match is not None and match.url_name in OWN_PAGES
