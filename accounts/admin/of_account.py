"""What accounts tells on an account's page: who it is, its people and keys, and what was done to it."""

from collections.abc import Iterator, Sequence
from urllib.parse import urlencode

from django.db.models import Case, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from accounts.admin.display import NONE, badge, code, linked, moment, shortened
from accounts.admin.dossier import Fact, Panel, Table, panels
from accounts.admin.keys import state_badge
from accounts.models import Account, AuditEntry, Invitation, Key, Member

OWNERS_SHOWN = 3
MEMBERS_SHOWN = 20
KEYS_SHOWN = 20
INVITATIONS_SHOWN = 20
ENTRIES_SHOWN = 10


def list_of(model: str, **query: object) -> str:
    """A list of the admin, searched or filtered."""
    return f"{reverse(f'admin:{model}_changelist')}?{urlencode(query)}"


@panels("overview", 10)
def who(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """The account by its ids, its owners, and since when it is there."""
    if account.person is not None:
        owners: Sequence[str] = (linked(account.person),)
    else:
        found = account.members.filter(role=Member.Role.OWNER).select_related("user").order_by("pk")
        owners = [linked(member.user) for member in found[: OWNERS_SHOWN + 1]]
    more = ["and more"] if len(owners) > OWNERS_SHOWN else []
    facts: list[Fact] = [
        ("Account id", copyable(account.public_id)),
        ("External id", code(account.external_id)),
        ("Owner" if len(owners) == 1 else "Owners", joined([*owners[:OWNERS_SHOWN], *more])),
        ("Kind", badge(account.kind)),
        ("Time zone", account.time_zone),
        ("Currency", f"{account.currency}, beside USD" if account.currency != "USD" else "USD"),
        ("Opened", moment(account.created_at)),
    ]
    yield Panel("Account", facts)


def copyable(text: str) -> str:
    """An id that one click selects whole, and a button copies."""
    return format_html(
        '<span class="tg-copy" x-data="{{ copied: false }}">'
        '<input readonly value="{}" aria-label="Account id" x-ref="text" x-on:focus="$el.select()">'
        '<button type="button" x-cloak x-on:click="$refs.text.select(); (navigator.clipboard ?'
        " navigator.clipboard.writeText($refs.text.value) : Promise.resolve(document.execCommand('copy')))"
        ".then(() => {{ copied = true }})\" x-text=\"copied ? 'Copied' : 'Copy'\">Copy</button></span>",
        text,
    )


def joined(parts: Sequence[str]) -> str:
    result = format_html("{}", parts[0]) if parts else NONE
    for part in parts[1:]:
        result = format_html("{}, {}", result, part)
    return result


@panels("overview", 5)
def deletion(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """That it is to be deleted stands above everything else."""
    wish = getattr(account, "deletion", None)
    if wish is None or not request.user.has_perm("accounts.view_accountdeletion"):
        return
    day = timezone.localtime(wish.due_at)
    page = reverse("admin:accounts_accountdeletion_change", args=[wish.pk])
    text = f"To be deleted on {day:%-d %b %Y, %H:%M}; {wish.asked_by} asked for it."
    yield Panel("", alarms=[("bad", text, page)])


@panels("people", 10)
def members(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """Who belongs to it: owners first."""
    if not request.user.has_perm("accounts.view_member"):
        return
    rank = Case(When(role=Member.Role.OWNER, then=0), When(role=Member.Role.ADMIN, then=1), default=2)
    found = Member.objects.filter(account=account).select_related("user").order_by(rank, "pk")
    ranked = list(found[: MEMBERS_SHOWN + 1])
    rows = [
        (linked(m.user), m.user.name or NONE, m.role, moment(m.created_at), linked(m, "change"))
        for m in ranked[:MEMBERS_SHOWN]
    ]
    links = [("All members", list_of("accounts_member", q=account.public_id))]
    if request.user.has_perm("accounts.add_member") and account.kind == Account.Kind.BUSINESS:
        links.append(("Add a member", f"{reverse('admin:accounts_member_add')}?account={account.pk}"))
    note = f"The first {MEMBERS_SHOWN}; there are more." if len(ranked) > MEMBERS_SHOWN else ""
    table = Table(("E-mail", "Name", "Role", "Member since", "Place"), rows)
    yield Panel("Members", empty="Nobody belongs to it.", links=links, table=table, note=note)


@panels("people", 20)
def invitations(request: HttpRequest, account: Account) -> Iterator[Panel]:
    if not request.user.has_perm("accounts.view_invitation"):
        return
    found = Invitation.objects.filter(account=account).select_related("invited_by").order_by("-pk")
    rows = [
        (
            linked(row, row.email),
            row.role,
            str(row.invited_by or NONE),
            badge("expired", "warn") if row.is_expired else badge("open", "good"),
            moment(row.expires_at),
        )
        for row in found[:INVITATIONS_SHOWN]
    ]
    table = Table(("Invited", "Role", "By", "State", "Link expires"), rows)
    links = [("All invitations", list_of("accounts_invitation", q=account.public_id))] if rows else []
    yield Panel("Invitations", empty="Nobody is invited.", table=table, links=links)


@panels("people", 30)
def keys(request: HttpRequest, account: Account) -> Iterator[Panel]:
    if not request.user.has_perm("accounts.view_key"):
        return
    found = list(Key.objects.filter(account=account).order_by("-pk")[: KEYS_SHOWN + 1])
    rows = [
        (
            linked(key, f"{key.prefix}…"),
            key.name or NONE,
            state_badge(key),
            ", ".join(key.scopes),
            moment(key.last_used_at),
            moment(key.expires_at),
        )
        for key in found[:KEYS_SHOWN]
    ]
    table = Table(("Key", "Name", "State", "Scopes", "Last used", "Expires"), rows)
    links = [("All keys", list_of("accounts_key", q=account.public_id))] if rows else []
    note = f"The newest {KEYS_SHOWN}; there are more." if len(found) > KEYS_SHOWN else ""
    yield Panel("API keys", empty="It has no key of its own.", table=table, links=links, note=note)


@panels("trail", 10)
def trail(request: HttpRequest, account: Account) -> Iterator[Panel]:
    """What was done to the account last, by whom and why."""
    if not request.user.has_perm("accounts.view_auditentry"):
        return
    found = AuditEntry.objects.filter(account_public_id=account.public_id).order_by("-pk")
    rows = [
        (
            linked(entry, entry.action),
            moment(entry.at, seconds=True),
            entry.actor,
            shortened(entry.subject),
            shortened(entry.reason),
        )
        for entry in found[:ENTRIES_SHOWN]
    ]
    table = Table(("Action", "When", "Who", "What", "Why"), rows)
    links = [("The whole audit trail", list_of("accounts_auditentry", q=account.public_id))]
    yield Panel("Audit trail", empty="Nothing was done to it yet.", table=table, links=links)
