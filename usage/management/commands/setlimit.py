"""Set a limit of one account in the place of its plan's, or end it, from a shell or a script."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.errors import DomainError
from accounts.models import Account
from accounts.references import find_account
from usage.models import Enforcement, Meter, Quota, Scope, WindowKind
from usage.quotas import limits, scopes

ACTOR = "setlimit"


class Command(BaseCommand):
    help = "Override the limit of one meter for an account, or for one member, campaign or key of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", required=True, help="acc_…, external id, or the e-mail of a user.")
        parser.add_argument("--meter", required=True, help="The meter's slug.")
        act = parser.add_mutually_exclusive_group(required=True)
        act.add_argument("--limit", help="A number in the meter's unit, 0 for none at all, or unlimited.")
        act.add_argument("--end", action="store_true", help="End the override: the plan holds again.")
        parser.add_argument("--enforcement", choices=Enforcement.values, default=Enforcement.HARD)
        parser.add_argument("--window", choices=WindowKind.values, default="", help="The plan's by default.")
        who = parser.add_mutually_exclusive_group()
        who.add_argument("--member", metavar="EMAIL")
        who.add_argument("--campaign", metavar="NAME")
        who.add_argument("--key", metavar="PREFIX", help="The beginning of the key.")
        parser.add_argument("--until", metavar="ISO", help="An instant; without an offset it is in UTC.")
        parser.add_argument("--reason", required=True, help="Kept with the quota and in the audit trail.")

    def handle(self, *args: Any, **options: Any) -> None:
        account = find_account(options["account"])
        if account is None:
            raise CommandError(f"There is no account {options['account']!r}.")
        meter = Meter.objects.filter(slug=options["meter"]).first()
        if meter is None:
            known = ", ".join(Meter.objects.order_by("slug").values_list("slug", flat=True))
            raise CommandError(f"There is no meter {options['meter']!r}. Known meters: {known}.")
        try:
            scope, scope_id = _scope(account, options)
            if options["end"]:
                self._end(account, meter, scope, scope_id, options)
            else:
                self._set(account, meter, scope, scope_id, options)
        except DomainError as error:
            raise CommandError(error.message) from error

    def _set(
        self, account: Account, meter: Meter, scope: str, scope_id: int, options: dict[str, Any]
    ) -> None:
        quota = limits.override(
            account,
            meter,
            limits.parsed(options["limit"]),
            actor=ACTOR,
            reason=options["reason"],
            scope=scope,
            scope_id=scope_id,
            window=options["window"],
            enforcement=options["enforcement"],
            ends_at=_instant(options["until"]),
        )
        limit = limits.shown(quota.limit, meter)
        text = "unlimited" if limit is None else f"{limit.normalize():f} {meter.shown_as}"
        until = f" until {quota.ends_at.isoformat()}" if quota.ends_at else ""
        self.stdout.write(f"{meter.slug}: {text}, {quota.enforcement}, from now{until}")

    def _end(
        self, account: Account, meter: Meter, scope: str, scope_id: int, options: dict[str, Any]
    ) -> None:
        live = Quota.objects.filter(
            Q(ends_at=None) | Q(ends_at__gt=timezone.now()),
            account=account,
            meter=meter,
            scope=scope,
            scope_id=scope_id,
            source=Quota.Source.OVERRIDE,
        )
        found = list(live.filter(window=options["window"]) if options["window"] else live)
        if not found:
            raise CommandError(f"No override of {meter.slug} is in force there.")
        for quota in found:
            limits.end_override(quota, actor=ACTOR, reason=options["reason"])
        self.stdout.write(f"{meter.slug}: ended {len(found)}; the plan holds again")


def _scope(account: Account, options: dict[str, Any]) -> tuple[str, int]:
    for scope in (Scope.MEMBER, Scope.CAMPAIGN, Scope.KEY):
        named = options[scope.value]
        if named is not None:
            return scope.value, scopes.find(account, scope, named)
    return Scope.ACCOUNT.value, 0


def _instant(text: str | None) -> datetime | None:
    """The instant that `--until` names.

    Raises:
        CommandError: it is none.
    """
    if text is None:
        return None
    try:
        found = parse_datetime(text) or datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"--until {text!r} is no instant, such as 2026-12-31T18:00:00Z.") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
