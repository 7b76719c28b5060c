"""Everything that is held of an account, or of a user, as one archive to take away.

Each app contributes its files by registering a Part: what is above registers here, and
nothing here knows of it. Files are written a page at a time, so that memory does not grow
with what is held.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet

from accounts.models import Account, AuditEntry, Invitation, Key, Member, User

PAGE = 1_000
LINES_AT_ONCE = 500
Read = Callable[[Any], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Part:
    """One file of an archive: its name, a line that says what it holds, and its content in pieces."""

    name: str
    about: str
    read: Read


parts_of_an_account: list[Part] = []
parts_of_a_user: list[Part] = []


def part(parts: list[Part], name: str, about: str) -> Callable[[Read], Read]:
    """Register a function as a file of an archive; the archive holds files in the order of registering."""

    def register(read: Read) -> Read:
        parts.append(Part(name, about, read))
        return read

    return register


def lines(rows: Iterable[dict[str, object]]) -> Iterator[bytes]:
    """Rows as JSON lines, some at once."""
    rows = iter(rows)
    while some := list(islice(rows, LINES_AT_ONCE)):
        yield "".join(f"{_json(row)}\n" for row in some).encode()


def document(value: dict[str, object]) -> Iterator[bytes]:
    """One object as a JSON file."""
    yield f"{_json(value, indent=2)}\n".encode()


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, ensure_ascii=False, indent=indent)


def by_key(rows: QuerySet) -> Iterator[Any]:
    """All rows of a query, read in pages by primary key."""
    after = 0
    while page := list(rows.filter(pk__gt=after).order_by("pk")[:PAGE]):
        yield from page
        after = page[-1].pk


class _Outlet:
    """A file that the archive is written into, and emptied of what has been written."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def flush(self) -> None:
        """There is nothing beneath."""

    def take(self) -> bytes:
        taken = b"".join(self._pieces)
        self._pieces.clear()
        return taken


def archive(parts: Iterable[Part], subject: Any, title: str) -> Iterator[bytes]:
    """A ZIP file with what the parts hold of `subject`, in pieces as it comes to be."""
    parts = list(parts)
    outlet = _Outlet()
    with ZipFile(outlet, "w", ZIP_DEFLATED) as file:  # type: ignore[call-overload]
        file.writestr("README.txt", readme(parts, title))
        for piece in parts:
            with file.open(piece.name, "w", force_zip64=True) as content:
                for chunk in piece.read(subject):
                    content.write(chunk)
                    if taken := outlet.take():
                        yield taken
    yield outlet.take()


def readme(parts: Iterable[Part], title: str) -> str:
    """What stands in the archive first: which file holds what."""
    described = "".join(f"{part.name}\n    {part.about}\n" for part in parts)
    return (
        f"{title}\n\n{described}\nFiles that end in .jsonl hold one JSON object on each line."
        " Amounts and quantities are strings, so that no digit is lost; instants are in UTC.\n"
    )


@part(parts_of_an_account, "account.json", "The account itself.")
def _account(account: Account) -> Iterator[bytes]:
    deletion = getattr(account, "deletion", None)
    return document(
        {
            "id": account.public_id,
            "kind": account.kind,
            "name": account.name,
            "external_id": account.external_id,
            "person": account.person.email if account.person else None,
            "time_zone": account.time_zone,
            "currency": account.currency,
            "created_at": account.created_at,
            "deletion_due_at": deletion.due_at if deletion else None,
        }
    )


@part(parts_of_an_account, "members.jsonl", "Who is in the account, and with which role.")
def _members(account: Account) -> Iterator[bytes]:
    members = Member.objects.filter(account=account).select_related("user")
    return lines(
        {"email": m.user.email, "name": m.user.name, "role": m.role, "since": m.created_at}
        for m in by_key(members)
    )


@part(parts_of_an_account, "invitations.jsonl", "Invitations that are open.")
def _invitations(account: Account) -> Iterator[bytes]:
    return lines(_invitation(row) for row in by_key(Invitation.objects.filter(account=account)))


def _invitation(invitation: Invitation) -> dict[str, object]:
    return {
        "email": invitation.email,
        "role": invitation.role,
        "created_at": invitation.created_at,
        "sent_at": invitation.sent_at,
        "expires_at": invitation.expires_at,
    }


@part(
    parts_of_an_account, "keys.jsonl", "API keys by how they begin; the keys themselves are stored nowhere."
)
def _keys(account: Account) -> Iterator[bytes]:
    keys = Key.objects.filter(account=account).select_related("created_by", "account")
    return lines(_key(key) for key in by_key(keys))


def _key(key: Key) -> dict[str, object]:
    return {
        "prefix": key.prefix,
        "name": key.name,
        "account": key.account.public_id if key.account else None,
        "scopes": key.scopes,
        "created_at": key.created_at,
        "created_by": key.created_by.email if key.created_by else None,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }


@part(parts_of_an_account, "audit.jsonl", "The audit trail: who did what to the account, when and why.")
def _audit(account: Account) -> Iterator[bytes]:
    entries = AuditEntry.objects.filter(account_public_id=account.public_id)
    return lines(_entry(entry) for entry in by_key(entries))


def _entry(entry: AuditEntry) -> dict[str, object]:
    return {
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "account": entry.account_public_id,
        "subject": entry.subject,
        "reason": entry.reason,
        "before": entry.before,
        "after": entry.after,
        "ip_address": entry.ip_address,
    }


@part(parts_of_a_user, "user.json", "You, as the sign-in knows you.")
def _user(user: User) -> Iterator[bytes]:
    return document(
        {
            "email": user.email,
            "name": user.name,
            "joined_at": user.date_joined,
            "last_signed_in_at": user.last_login,
            "is_staff": user.is_staff,
        }
    )


@part(
    parts_of_a_user, "memberships.jsonl", "The accounts that you are in; each owner downloads its data there."
)
def _memberships(user: User) -> Iterator[bytes]:
    places = Member.objects.filter(user=user).select_related("account")
    return lines(
        {"account": m.account.public_id, "name": m.account.name, "role": m.role, "since": m.created_at}
        for m in by_key(places)
    )


@part(parts_of_a_user, "invitations.jsonl", "Invitations to your address that are open.")
def _invited(user: User) -> Iterator[bytes]:
    return lines(_invitation(row) for row in by_key(Invitation.objects.filter(email=user.email)))


@part(parts_of_a_user, "keys.jsonl", "API keys that you made, by how they begin.")
def _keys_made(user: User) -> Iterator[bytes]:
    keys = Key.objects.filter(created_by=user).select_related("created_by", "account")
    return lines(_key(key) for key in by_key(keys))


@part(parts_of_a_user, "activity.jsonl", "What you did, as the audit trail has it.")
def _activity(user: User) -> Iterator[bytes]:
    return lines(_entry(entry) for entry in by_key(AuditEntry.objects.filter(actor_id=user.pk)))
