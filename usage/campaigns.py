"""Campaigns: usage that belongs together, and what it cost. One is made here or by the first record that
names it, archived and restored; records that name an archived one are taken, and it stays archived."""

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime

from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.errors import DomainError, Invalid, NotYours
from accounts.models import Account, User
from usage import price_book as price_books
from usage import retrying
from usage.costs import Cost
from usage.fields import ExactTotal, quantity_text
from usage.locks import lock_accounts
from usage.models import Campaign, Rollup, RollupUnit, Status
from usage.price_book import PriceBook
from usage.representation import instant_text

NAME_AT_MOST = Campaign._meta.get_field("name").max_length or 0


@dataclass(slots=True)
class CampaignUsage:
    """What one campaign used in a range of local days; quantities by unit id, in 10⁻⁴."""

    cost: Cost
    records: int = 0
    errors: int = 0
    quantities: dict[int, int] = field(default_factory=dict)
    last_used_day: date | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list, beside a campaign of this cost (10⁻¹⁰ USD) and name, and the way to read."""

    cost: int
    name: str
    backward: bool = False

    def __str__(self) -> str:
        text = f"{'p' if self.backward else 'n'}:{self.cost}:{self.name}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_place(text: str | None) -> Place | None:
    """A cursor from an earlier answer.

    Raises:
        Invalid: it is not one of ours.
    """
    if not text:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        direction, cost, name = base64.urlsafe_b64decode(padded).decode().split(":", 2)
        if direction not in ("n", "p"):
            raise ValueError(text)
        return Place(int(cost), name, direction == "p")
    except (ValueError, binascii.Error) as error:
        raise Invalid("cursor", "This cursor is not one that an answer gave.") from error


@dataclass(frozen=True, slots=True)
class Listed:
    """Campaigns of one page, and the places of the pages beside; None where there is no more."""

    campaigns: list[Campaign]
    next: Place | None
    previous: Place | None


@dataclass(frozen=True, slots=True)
class CampaignPage:
    """Campaigns as the API shows them, and the places of the pages beside; None where there is no more."""

    results: list[dict[str, object]]
    next: Place | None
    previous: Place | None


def read_page(
    account: Account, days: tuple[date, date], place: Place | None, size: int, *, archived: bool = False
) -> CampaignPage:
    """Campaigns with their usage of a range of local days, in the order of `list_page`."""
    page = list_page(account, days, place, size, archived=archived)
    return CampaignPage(represent_all(account, page.campaigns, days), page.next, page.previous)


def list_page(
    account: Account,
    days: tuple[date, date],
    place: Place | None,
    size: int,
    *,
    archived: bool = False,
    search: str = "",
) -> Listed:
    """Campaigns, those that cost most in a range of local days first, then by name.

    What they cost orders them, so that is summed for all; the rest is read for the page alone.

    Args:
        days: half-open.
        archived: the archived ones instead of the others.
        search: only those with this in their name, whatever its case.
    """
    costs: dict[int, int] = dict(
        Rollup.objects.filter(_in(account, days), campaign_id__gt=0)
        .order_by()
        .values_list("campaign_id")
        .annotate(total=ExactTotal("cost"))
    )
    wanted: Iterable[Campaign] = Campaign.objects.filter(account=account, archived_at__isnull=not archived)
    if search:  # here, since the column compares byte by byte and all names are read anyway
        wanted = [campaign for campaign in wanted if search.casefold() in campaign.name.casefold()]
    listed = sorted(wanted, key=lambda campaign: (-costs.get(campaign.pk, 0), campaign.name))
    keys = [(-costs.get(campaign.pk, 0), campaign.name) for campaign in listed]
    start, end = _slice(keys, place, size)
    shown = listed[start:end]

    def beside(position: int, *, backward: bool) -> Place:
        cost, name = keys[position]
        return Place(-cost, name, backward)

    return Listed(
        shown,
        next=beside(end - 1, backward=False) if shown and end < len(listed) else None,
        previous=beside(start, backward=True) if shown and start > 0 else None,
    )


def _slice(keys: list[tuple[int, str]], place: Place | None, size: int) -> tuple[int, int]:
    """From where to where a page goes in a list in order."""
    if place is None:
        return 0, min(size, len(keys))
    key = (-place.cost, place.name)
    if place.backward:
        end = bisect_left(keys, key)
        return max(0, end - size), end
    start = bisect_right(keys, key)
    return start, min(start + size, len(keys))


def _in(account: Account, days: tuple[date, date]) -> Q:
    return Q(account_id=account.pk, local_day__gte=days[0], local_day__lt=days[1])


def usage_of(
    account: Account, campaign_ids: Iterable[int], days: tuple[date, date], book: PriceBook
) -> dict[int, CampaignUsage]:
    """What campaigns of an account used in a range of local days, by their ids, in two statements."""
    found = {campaign_id: CampaignUsage(Cost(book)) for campaign_id in campaign_ids}
    only = _in(account, days) & Q(campaign_id__in=list(found))
    rows = Rollup.objects.filter(only).order_by().values_list("campaign_id", "local_day", "status")
    active: dict[tuple[int, date], int] = {}
    for campaign_id, day, status, count, usd in rows.annotate(
        count=ExactTotal("records"), usd=ExactTotal("cost")
    ):
        usage = found[campaign_id]
        usage.cost.add(day, usd)
        usage.records += count
        usage.errors += count if status == Status.ERROR else 0
        active[campaign_id, day] = active.get((campaign_id, day), 0) + count
    for (campaign_id, day), count in active.items():
        usage = found[campaign_id]
        if count > 0 and (usage.last_used_day is None or day > usage.last_used_day):
            usage.last_used_day = day
    units = RollupUnit.objects.filter(only, unit_id__gt=0).order_by("unit_id")
    for campaign_id, unit_id, total in units.values_list("campaign_id", "unit_id").annotate(
        total=ExactTotal("quantity")
    ):
        if total:
            found[campaign_id].quantities[unit_id] = total
    return found


def lifetime_of(
    account: Account, campaign_ids: Iterable[int], book: PriceBook
) -> dict[int, tuple[int, Cost]]:
    """How many records campaigns have ever had and what they cost, by their ids, in one statement."""
    found = {campaign_id: (0, Cost(book)) for campaign_id in campaign_ids}
    rows = Rollup.objects.filter(account_id=account.pk, campaign_id__in=list(found)).order_by()
    for campaign_id, day, count, usd in rows.values_list("campaign_id", "local_day").annotate(
        count=ExactTotal("records"), usd=ExactTotal("cost")
    ):
        records, cost = found[campaign_id]
        cost.add(day, usd)
        found[campaign_id] = (records + count, cost)
    return found


def represent_all(
    account: Account, campaigns: list[Campaign], days: tuple[date, date]
) -> list[dict[str, object]]:
    """Campaigns in the form of the API, with their usage of a range of local days."""
    book = price_books.current()
    usage = usage_of(account, [campaign.pk for campaign in campaigns], days, book)
    return [_represent(campaign, usage[campaign.pk], book) for campaign in campaigns]


def _represent(campaign: Campaign, usage: CampaignUsage, book: PriceBook) -> dict[str, object]:
    return {
        "id": campaign_id_text(campaign.pk),
        "name": campaign.name,
        "archived_at": None if campaign.archived_at is None else instant_text(campaign.archived_at),
        "records": usage.records,
        "errors": usage.errors,
        "quantities": {
            book.unit(unit_id).slug: quantity_text(quantity) for unit_id, quantity in usage.quantities.items()
        },
        "cost": usage.cost.as_json(),
        "last_used_day": None if usage.last_used_day is None else usage.last_used_day.isoformat(),
    }


def campaign_id_text(pk: int) -> str:
    return f"cmp_{pk}"


def parse_campaign_id(text: str) -> int | None:
    """The primary key behind `cmp_…`, or None when it is no campaign's id."""
    digits = text.removeprefix("cmp_")
    is_id = text.startswith("cmp_") and digits.isascii() and digits.isdigit() and len(digits) <= 18
    return int(digits) if is_id else None


def find(account: Account, name: str) -> Campaign | None:
    """The account's campaign of exactly this name, archived or not."""
    return Campaign.objects.filter(account=account, name=name).first()


def checked_name(value: object) -> str:
    """A name that a campaign can have.

    Raises:
        Invalid: it is missing, no text, blank, or longer than NAME_AT_MOST characters.
    """
    if value is None:
        raise Invalid("name", "name is required.", "required")
    if not isinstance(value, str) or not value.strip() or len(value) > NAME_AT_MOST:
        raise Invalid("name", f"name is a text of 1 to {NAME_AT_MOST} characters, not blank.")
    if "\x00" in value:
        raise Invalid("name", "name holds a NUL character.")
    return value


def create(
    account: Account, name: str, *, actor: User | None = None, request: HttpRequest | None = None
) -> tuple[Campaign, bool]:
    """The account's campaign of this name, made unless it is there; and whether it was made now.

    Args:
        actor: the person who does it, for the audit trail; what a key does is not written there.

    Raises:
        DomainError: `invalid` for a name that cannot be, 404 when the account has gone meanwhile.
    """
    name = checked_name(name)

    @transaction.atomic
    def made() -> tuple[Campaign, bool]:
        # Held off: whoever deletes the account. No foreign key would notice.
        _, locked = lock_accounts([account.pk])
        if account.pk not in locked:
            raise DomainError("unknown_account", "This account has been deleted.", 404)
        campaign, is_new = Campaign.objects.get_or_create(account=account, name=name)
        if is_new and actor is not None:
            audit.write("campaign.created", actor=actor, account=account, subject=name, request=request)
        return campaign, is_new

    return retrying.run(made)


def archive(
    account: Account, campaign_id: str, *, actor: User | None = None, request: HttpRequest | None = None
) -> Campaign:
    """Hide a campaign from lists; one that is archived stays as it is, with its first instant.

    Raises:
        NotYours: the account has no campaign of this id.
    """
    return _changed(account, campaign_id, timezone.now(), "campaign.archived", actor, request)


def restore(
    account: Account, campaign_id: str, *, actor: User | None = None, request: HttpRequest | None = None
) -> Campaign:
    """Show a campaign in lists again; one that is not archived stays as it is.

    Raises:
        NotYours: the account has no campaign of this id.
    """
    return _changed(account, campaign_id, None, "campaign.restored", actor, request)


def _changed(
    account: Account,
    campaign_id: str,
    archived_at: datetime | None,
    action: str,
    actor: User | None,
    request: HttpRequest | None,
) -> Campaign:
    its = Campaign.objects.filter(account=account, pk=parse_campaign_id(campaign_id) or 0)

    @transaction.atomic
    def changed() -> Campaign:
        is_now = its.filter(archived_at__isnull=archived_at is not None).update(archived_at=archived_at)
        campaign = its.first()
        if campaign is None:
            raise NotYours(message=f"There is no campaign {campaign_id} for you.")
        if is_now and actor is not None:
            audit.write(action, actor=actor, account=account, subject=campaign.name, request=request)
        return campaign

    return retrying.run(changed)
