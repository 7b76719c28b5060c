"""What an account is alerted of, and who is told: the defaults, and what its managers made of them.

Every change is one transaction under the account's lock, which whoever looks for
crossings shares: what was decided by the old rules is decided again by the new ones.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.errors import DomainError, Invalid
from accounts.models import Account, Member, User
from accounts.pages import MANAGING_ROLES
from usage.fields import COST_PLACES, LARGEST_STORED, cost_text, scale_up
from usage.models import AlertRule, AlertSettings, Meter, Terms
from usage.models.alerts import DEFAULT_PERCENTAGES
from usage.queue import enqueue
from usage.quotas import balances

PERCENTAGE_AT_MOST = 1_000  # beyond what a soft quota allows, too
THRESHOLDS_AT_MOST = 10
CROSSINGS_JOB = "usage.find_crossings"
COSTS_JOB = "usage.check_costs"
MailTo = AlertSettings.MailTo


@dataclass(frozen=True, slots=True)
class By:
    """Who changes rules, and in which request; both go into the audit trail."""

    actor: User | str
    request: HttpRequest | None = None


def settings_of(account_id: int) -> AlertSettings:
    """The account's settings as they are stored, else the defaults, which are not."""
    stored = AlertSettings.objects.filter(account_id=account_id).first()
    return stored or AlertSettings(account_id=account_id)


def are_on(account_id: int) -> bool:
    """Whether the account's agreement has alerts at all."""
    return Terms.objects.filter(account_id=account_id).values_list("alerts", flat=True).first() is not False


def percentages(account_id: int, meter_id: int) -> Sequence[int]:
    """The thresholds of one meter, in per cent, ascending."""
    rule = AlertRule.objects.filter(account_id=account_id, meter_id=meter_id).first()
    return DEFAULT_PERCENTAGES if rule is None else rule.percentages


def all_percentages(account_id: int) -> dict[int, Sequence[int]]:
    """What the account's managers decided, by meter id; the other meters have the defaults."""
    return dict(AlertRule.objects.filter(account_id=account_id).values_list("meter_id", "percentages"))


def cost_thresholds(settings: AlertSettings) -> list[int]:
    """The thresholds of the month's cost in 10⁻¹⁰ USD, ascending."""
    return sorted(scale_up(amount, COST_PLACES) for amount in settings.cost_amounts)


def parsed_percentages(text: str, field: str = "percentages") -> list[int]:
    """Per cent as people write them: `80, 95, 100`, or nothing for no alert.

    Raises:
        Invalid: one is not a whole number in range, or there are too many.
    """
    found = set()
    for part in _parts(text):
        number = part.removesuffix("%").strip()
        if not re.fullmatch("[0-9]{1,4}", number) or not 1 <= int(number) <= PERCENTAGE_AT_MOST:
            message = f"{part!r} is not a whole number of per cent from 1 to {PERCENTAGE_AT_MOST}."
            raise Invalid(field, message)
        found.add(int(number))
    return _few(found, field)


def parsed_amounts(text: str, field: str = "cost") -> list[str]:
    """USD as people write them: `25, 100.50`, or nothing for no alert.

    Raises:
        Invalid: one is not an amount above zero that can be stored, or there are too many.
    """
    found = set()
    for part in _parts(text):
        number = part.removeprefix("$").strip()
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,10})?", number):
            raise Invalid(field, f"{part!r} is not an amount in USD such as 25 or 100.50.")
        scaled = scale_up(number, COST_PLACES) if Decimal(number) * 10**COST_PLACES <= LARGEST_STORED else 0
        if not scaled:
            raise Invalid(field, f"{part!r} is not an amount from $0.0000000001 to $900,000,000.")
        found.add(scaled)
    return [_plain(amount) for amount in _few(found, field)]


def _parts(text: str) -> list[str]:
    joined = re.sub(r"\s+%|(?<=\$)\s+", lambda found: found[0].strip(), text)  # 80 %, $ 25
    return [part for part in re.split(r"[,;\s]+", joined) if part]


def _few(found: set[int], field: str) -> list[int]:
    if len(found) > THRESHOLDS_AT_MOST:
        raise Invalid(field, f"At most {THRESHOLDS_AT_MOST} thresholds.")
    return sorted(found)


def _plain(amount: int) -> str:
    return cost_text(amount).rstrip("0").rstrip(".")


@contextmanager
def locked(account: Account) -> Iterator[datetime]:
    """A transaction in which nobody looks for crossings of the account, nor changes its rules.

    Raises:
        DomainError: 404 when the account has been deleted.
    """
    with transaction.atomic():
        if balances.lock(account.pk) is None:
            raise DomainError("unknown_account", "This account has been deleted.", 404)
        yield timezone.now()


def save_thresholds(
    account: Account, wanted: Mapping[int, Sequence[int]], amounts: Sequence[str], by: By
) -> bool:
    """Write the thresholds of meters (by id) and of the month's cost; False when nothing is different."""
    with locked(account) as now:
        settings = settings_of(account.pk)
        slugs = dict(Meter.objects.filter(pk__in=wanted).values_list("pk", "slug"))
        known = all_percentages(account.pk)
        before: dict[str, Sequence] = {}
        after: dict[str, Sequence] = {}
        for meter_id, slug in slugs.items():
            old, new = list(known.get(meter_id, DEFAULT_PERCENTAGES)), list(wanted[meter_id])
            if old != new:
                AlertRule.objects.update_or_create(
                    account=account, meter_id=meter_id, defaults={"percentages": new}
                )
                before[slug], after[slug] = old, new
        if list(amounts) != settings.cost_amounts:
            before["cost"], after["cost"] = settings.cost_amounts, list(amounts)
            write(settings, cost_amounts=list(amounts), cost_due_at=now if amounts else None, cost_seen="")
        if not after:
            return False
        look_again(account.pk, now)
        log("alerts.thresholds_changed", account, by, before, after)
        return True


def look_again(account_id: int, now: datetime) -> None:
    """Decide anew what the account is alerted of, soon; it must be locked alone."""
    balances.rearm(account_id, now)
    enqueue(CROSSINGS_JOB, key=CROSSINGS_JOB)
    enqueue(COSTS_JOB, key=COSTS_JOB)


def save_mail(account: Account, mail_to: str, user_ids: Collection[int], by: By) -> bool:
    """Say who gets mail; False when nothing is different.

    Raises:
        Invalid: nobody is chosen, or somebody who is no member.
    """
    if mail_to not in MailTo.values:
        raise Invalid("mail_to", "Choose who gets mail.")
    chosen = sorted(set(user_ids)) if mail_to == MailTo.CHOSEN else []
    if mail_to == MailTo.CHOSEN and not chosen:
        raise Invalid("users", "Choose at least one member.", "required")
    members = Member.objects.filter(account=account, user_id__in=chosen)
    if members.count() != len(chosen):
        raise Invalid("users", "Somebody whom you chose is not a member any more.", "unknown_user")
    with locked(account):
        settings = settings_of(account.pk)
        before = {"mail_to": settings.mail_to, "users": settings.mail_user_ids}
        after = {"mail_to": mail_to, "users": chosen}
        if before == after:
            return False
        write(settings, mail_to=mail_to, mail_user_ids=chosen)
        log("alerts.mail_changed", account, by, before, after)
        return True


def recipients(settings: AlertSettings) -> list[User]:
    """Who gets the account's mail now: managers, or the chosen who are still members; all may sign in."""
    if settings.mail_to == MailTo.NOBODY:
        return []
    members = Member.objects.filter(account_id=settings.account_id, user__is_active=True)
    if settings.mail_to == MailTo.CHOSEN:
        members = members.filter(user_id__in=settings.mail_user_ids)
    else:
        members = members.filter(role__in=MANAGING_ROLES)
    return [member.user for member in members.select_related("user").order_by("id")]


def write(settings: AlertSettings, **values: object) -> None:
    """Write some settings of an account that is locked."""
    stored = AlertSettings.objects.filter(account_id=settings.account_id)
    if not stored.update(**values) and not stored.exists():
        AlertSettings.objects.create(account_id=settings.account_id, **values)


def log(action: str, account: Account, by: By, before: object, after: object) -> None:
    audit.write(action, actor=by.actor, account=account, before=before, after=after, request=by.request)
