"""The audit trail as the people of an account read it: what happened, who did it, from where."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import Account, AuditEntry, Member, User

PAGE = 50
FIELDS_SHOWN = 6
VALUE_AT_MOST = 60  # characters
THE_TEAM = "The team that runs Tollgate"

KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sign-ins": ("Sign-ins", ("user.signed_", "user.sign_in_failed", "session.")),
    "security": ("Password and two-step", ("user.password_", "user.email_", "two_step.", "recovery_codes.")),
    "keys": ("Keys", ("key.",)),
    "plan": ("Plan and limits", ("plan.", "subscription.", "quota.")),
    "members": ("Members", ("member.", "invitation.")),
    "account": ("Account and profile", ("account.", "profile.", "user.added", "user.changed")),
}
"""What the page can be narrowed down to: its word, and how the actions of that kind begin."""

SENTENCES = {
    "user.signed_up": "Signed up",
    "user.signed_in": "Signed in",
    "user.signed_out": "Signed out",
    "user.sign_in_failed": "Sign-in refused",
    "user.email_verified": "E-mail verified",
    "user.password_changed": "Password changed",
    "user.password_reset": "Password reset by e-mail",
    "user.added": "User added",
    "user.changed": "User changed",
    "session.ended": "Signed out elsewhere",
    "two_step.turned_on": "Two-step sign-in turned on",
    "two_step.turned_off": "Two-step sign-in turned off",
    "recovery_codes.made": "New recovery codes",
    "key.made": "Key created",
    "plan.change_undone": "Change of plan undone",
    "quota.overridden": "Limit set",
    "quota.override_ended": "Limit back to the plan’s",
}
"""Where an action's own words would not do."""


@dataclass(frozen=True, slots=True)
class Line:
    """One entry as it is shown."""

    id: int
    at: datetime
    what: str
    about: str
    who: str
    ip_address: str
    changes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Page:
    """Lines newest first, and the ids that the pages beside begin from; None where there is no more."""

    lines: list[Line]
    older: int | None
    newer: int | None


def read(
    account: Account,
    user: User,
    *,
    everybody: bool,
    kind: str = "",
    before: int | None = None,
    after: int | None = None,
) -> Page:
    """A page of what happened in an account, or of what this user did.

    Args:
        everybody: whether all of the account's entries are shown, for who manages it; else one's own.
        before, after: only entries older or newer than the one with this id.
    """
    found = _entries(account, user, everybody, kind, before, after)
    more, entries = len(found) > PAGE, found[:PAGE]
    if after is not None:
        entries.reverse()
    if not entries:
        return Page([], older=None, newer=None)
    has_older = more if after is None else True
    has_newer = more if after is not None else before is not None
    return Page(
        _lines(entries, account, user),
        older=entries[-1].pk if has_older else None,
        newer=entries[0].pk if has_newer else None,
    )


def _entries(
    account: Account, user: User, everybody: bool, kind: str, before: int | None, after: int | None
) -> list[AuditEntry]:
    """One row more than a page, from two indexes: an OR of both would read the whole table."""
    personal = Account.objects.filter(person=user).values_list("public_id", flat=True).first() or ""
    own = AuditEntry.objects.filter(actor_id=user.pk, account_public_id__in={account.public_id, personal})
    sources = [own, AuditEntry.objects.filter(account_public_id=account.public_id)] if everybody else [own]
    rows: dict[int, AuditEntry] = {}
    for source in sources:
        rows.update({entry.pk: entry for entry in _narrowed(source, kind, before, after)})
    newest_first = after is None
    return sorted(rows.values(), key=lambda entry: entry.pk, reverse=newest_first)[: PAGE + 1]


def _narrowed(
    entries: QuerySet[AuditEntry], kind: str, before: int | None, after: int | None
) -> QuerySet[AuditEntry]:
    if kind:
        begins = Q()
        for start in KINDS[kind][1]:
            begins |= Q(action__startswith=start)
        entries = entries.filter(begins)
    if before is not None:
        entries = entries.filter(pk__lt=before)
    if after is not None:
        entries = entries.filter(pk__gt=after)
    return entries.order_by("-pk" if after is None else "pk")[: PAGE + 1]


def _lines(entries: list[AuditEntry], account: Account, user: User) -> list[Line]:
    actors = {entry.actor_id for entry in entries if entry.actor_id is not None}
    staff = set(User.objects.filter(pk__in=actors, is_staff=True).values_list("pk", flat=True))
    members = set(Member.objects.filter(account=account, user__in=actors).values_list("user_id", flat=True))
    outsiders = staff - members - {user.pk}
    lines = []
    for entry in entries:
        is_team = entry.actor_id is None or entry.actor_id in outsiders
        lines.append(
            Line(
                id=entry.pk,
                at=entry.at,
                what=sentence(entry.action),
                about=_about(entry, is_team),
                who=_who(entry, user, is_team),
                ip_address="" if is_team else entry.ip_address,
                changes=_changes(entry.before, entry.after),
            )
        )
    return lines


def sentence(action: str) -> str:
    noun, _, verb = action.partition(".")
    return SENTENCES.get(action) or f"{noun} {verb}".replace("_", " ").strip().capitalize()


def _about(entry: AuditEntry, is_team: bool) -> str:
    """What it was about; why it was done only where one's own people wrote that, not the team's notes."""
    if entry.action == "session.ended" and isinstance(entry.after, dict):
        return ", ".join(map(str, entry.after.get("devices", [])))
    subject = "" if entry.subject == entry.actor else entry.subject
    return " · ".join(part for part in (subject, "" if is_team else entry.reason) if part)


def _who(entry: AuditEntry, user: User, is_team: bool) -> str:
    if is_team:
        return THE_TEAM
    name = "You" if entry.actor_id == user.pk else entry.actor
    return f"Somebody, as {entry.actor}" if entry.action == "user.sign_in_failed" else name


def _changes(before: Any, after: Any) -> list[str]:
    """Each field that was changed, in a few words: `name: Acme → Acme Ltd`."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return []
    return [
        f"{name.replace('_', ' ')}: {_short(before[name])} → {_short(after[name])}"
        for name in list(after)[:FIELDS_SHOWN]
        if name in before and before[name] != after[name] and _is_plain(before[name], after[name])
    ]


def _is_plain(*values: Any) -> bool:
    return all(value is None or isinstance(value, str | int) for value in values)


def _short(value: Any) -> str:
    text = "–" if value in (None, "") else str(value)
    return text if len(text) <= VALUE_AT_MOST else f"{text[: VALUE_AT_MOST - 1]}…"
