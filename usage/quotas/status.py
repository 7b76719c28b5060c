"""How much of each quota is used, held and left. Reading spends nothing and opens nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Sum

from accounts.models import Account
from usage.fields import QUANTITY_PLACES, round_half_even, scale_down, scale_up
from usage.models import Balance, Enforcement, Hold, Reservation, Scope, Status, WindowKind
from usage.price_book import MeterEntry, PriceBook
from usage.queries import OperationTotal, month_of, totals_by_operation
from usage.quotas import counting, meters, refusals
from usage.quotas import state as quota_state
from usage.quotas.balances import announced, stored_neighbours
from usage.quotas.counting import Counted
from usage.quotas.state import AccountQuotas, Slot, SlotKey
from usage.quotas.windows import Kind, Span, nominal, place
from usage.representation import instant_text

WARNING_FROM = 80  # per cent


@dataclass(frozen=True, slots=True)
class MeterStatus:
    """One meter of one scope in its window; amounts in the meter's places. `slot` is None without a quota."""

    meter: MeterEntry
    scope: str
    span: Span
    used: int
    reserved: int = 0
    slot: Slot | None = None

    @property
    def used_decimal(self) -> Decimal:
        return Decimal(self.used).scaleb(-self.meter.places)

    @property
    def reserved_decimal(self) -> Decimal:
        return Decimal(self.reserved).scaleb(-self.meter.places)

    @property
    def whole(self) -> Decimal | None:
        """What the percentage is of: the limit, else the included quantity."""
        return self.decimal(self.included if self.limit is None else self.limit)

    @property
    def shown_percentage(self) -> int:
        """Per cent as a bar can show it."""
        return min(100, int(self.percentage or 0))

    @property
    def limit(self) -> int | None:
        return self.slot.limit if self.slot else None

    @property
    def included(self) -> int | None:
        return self.slot.included if self.slot else None

    @property
    def window(self) -> str:
        return self.slot.window if self.slot else WindowKind.CALENDAR_MONTH

    @property
    def enforcement(self) -> str:
        return self.slot.enforcement if self.slot else Enforcement.NONE

    @property
    def overage(self) -> int | None:
        """What was used beyond the included quantity."""
        return None if self.included is None else max(0, self.used - self.included)

    @property
    def remaining(self) -> int | None:
        return None if self.limit is None else max(0, self.limit - self.used - self.reserved)

    @property
    def percentage(self) -> Decimal | None:
        """Of the limit, else of the included quantity, to two places; a limit of 0 is 100 %."""
        whole = self.included if self.limit is None else self.limit
        if whole is None:
            return None
        if whole == 0:
            return Decimal(100)
        return round_half_even(Decimal(self.used) * 100 / whole, 2)

    @property
    def state(self) -> str:
        if self.remaining == 0:
            return "exceeded"
        percentage = self.percentage
        return "warning" if percentage is not None and percentage >= WARNING_FROM else "ok"

    def decimal(self, amount: int | None) -> Decimal | None:
        """An amount of this meter as the number that people read."""
        return scale_down(amount, self.meter.places)

    def as_json(self) -> dict[str, object]:
        """The meter as `usage/current` shows it (api.md)."""

        def text(amount: int | None) -> str | None:
            return None if amount is None else refusals.amount_text(amount, self.meter)

        percentage = self.percentage
        return {
            "meter": self.meter.slug,
            "name": self.meter.name,
            "unit": self.meter.shown_as,
            "scope": self.scope,
            "used": text(self.used),
            "reserved": text(self.reserved),
            "limit": text(self.limit),
            "included": text(self.included),
            "overage": text(self.overage),
            "remaining": text(self.remaining),
            "percentage": None if percentage is None else f"{percentage.normalize():f}",
            "state": self.state,
            "enforcement": self.enforcement,
            "window": self.window,
            "resets_at": instant_text(self.span.end),
        }


Month = Mapping[str, OperationTotal]


def everything(
    account: Account,
    now: datetime,
    book: PriceBook,
    campaign_id: int | None = None,
    *,
    month: Month | None = None,
    revision: int | None = None,
) -> list[MeterStatus]:
    """Every meter with a quota, or else with usage in the calendar month; in the catalogue's order.

    Args:
        campaign_id: only this campaign's quotas and usage.
        month: the calendar month's totals by operation, where the caller has them.
        revision: the account's, where the caller has just read it.
    """
    slots = None
    if campaign_id is not None:
        state = quota_state.fresh(account.pk, now, revision)
        slots = [slot for key, slot in state.slots.items() if key[1:3] == (Scope.CAMPAIGN, campaign_id)]
    limited = of_quotas(account, now, book, slots, revision)
    order = {meter.id: position for position, meter in enumerate(book.meters)}
    if month is None:
        days = month_of(now.astimezone(account.zone).date())
        month = totals_by_operation(account, *days, book, campaign_id)
    found = limited + without_quota(account, now, book, limited, month, campaign_id)
    return sorted(found, key=lambda status: order[status.meter.id])


def of_quotas(
    account: Account,
    now: datetime,
    book: PriceBook,
    slots: Iterable[Slot] | None = None,
    revision: int | None = None,
) -> list[MeterStatus]:
    """The status of an account's quotas in force, or of `slots` among them, in the catalogue's order."""
    state = quota_state.fresh(account.pk, now, revision)
    asked = state.slots.values() if slots is None else slots
    chosen = [slot for slot in asked if slot.key.meter_id in book.meters_by_id]
    order = {meter.id: position for position, meter in enumerate(book.meters)}
    chosen.sort(key=lambda slot: (order[slot.key.meter_id], slot.key))
    spans = {kind: _span(account, state, kind, now) for kind in {slot.key.kind for slot in chosen}}
    kept = _kept(account, state, chosen, now)
    used = {slot.key: kept[slot.key][0] for slot in chosen if slot.key in kept}
    unopened = [slot for slot in chosen if slot.key not in kept]
    used |= _counted(unopened, account, spans, book)
    held = _held(account, [row[1] for row in kept.values() if row[2]], now)
    awaited = _awaited(unopened, account, spans, book, now)
    return [
        MeterStatus(
            book.meters_by_id[slot.key.meter_id],
            refusals.scope_text(slot.key.scope, slot.key.scope_id),
            spans[slot.key.kind],
            used[slot.key],
            held.get(kept[slot.key][1], 0) if slot.key in kept else awaited[slot.key],
            slot,
        )
        for slot in chosen
    ]


def _span(account: Account, state: AccountQuotas, kind: Kind, now: datetime) -> Span:
    window = state.window_at(kind, now)
    if window is not None:
        return window.span
    before, after = stored_neighbours(account.pk, kind, now)
    return place(kind, now, account.zone, state.anchor, before, after)


def _kept(account: Account, state: AccountQuotas, slots: list[Slot], now: datetime) -> dict:
    """The balances that are kept of quotas: key → used, balance id, held."""
    ids = {}
    for slot in slots:
        window = state.window_at(slot.key.kind, now)
        balance_id = None if window is None else state.balance(slot, window)
        if balance_id is not None:
            ids[balance_id] = slot.key
    rows = Balance.objects.filter(pk__in=ids).values_list("pk", "used", "held")
    return {ids[pk]: (used, pk, held) for pk, used, held in rows}


def _counted(slots: list[Slot], account: Account, spans: dict[Kind, Span], book: PriceBook) -> dict:
    """What quotas without a balance have used, from rollups and ledger."""
    found: dict[SlotKey, int] = {}
    for kind in {slot.key.kind for slot in slots}:
        some = [slot for slot in slots if slot.key.kind == kind]
        wanted = [Counted(book.meters_by_id[s.key.meter_id], s.key.scope, s.key.scope_id) for s in some]
        totals = counting.sums(account, spans[kind], wanted, book)
        found |= {slot.key: total for slot, total in zip(some, totals, strict=True)}
    return found


def _awaited(
    slots: list[Slot], account: Account, spans: dict[Kind, Span], book: PriceBook, now: datetime
) -> dict[SlotKey, int]:
    """What open reservations will hold of quotas without a balance, from the moment that one is opened."""
    found = {slot.key: 0 for slot in slots}
    if not slots:
        return found
    is_open = Reservation.objects.filter(account=account, state=Reservation.State.OPEN, expires_at__gt=now)
    for reservation in is_open:
        part = announced(reservation, book)
        for slot in slots:
            if reservation.created_at in spans[slot.key.kind]:
                counted = Counted(book.meters_by_id[slot.key.meter_id], slot.key.scope, slot.key.scope_id)
                found[slot.key] += counting.share(counted, part, book)
    return found


def _held(account: Account, balance_ids: list[int], now: datetime) -> dict[int, int]:
    """What reservations hold that have not expired: expired ones are swept only when room is short."""
    if not balance_ids:
        return {}
    holds = Hold.objects.filter(
        account_id=account.pk,
        balance_id__in=balance_ids,
        reservation__state=Reservation.State.OPEN,
        reservation__expires_at__gt=now,
    )
    return dict(holds.values_list("balance_id").annotate(all=Sum("amount")).order_by())


def without_quota(
    account: Account,
    now: datetime,
    book: PriceBook,
    limited: Iterable[MeterStatus],
    month: Month,
    campaign_id: int | None = None,
) -> list[MeterStatus]:
    """The meters that no quota of this scope limits, by calendar month, where they counted something.

    The month's days are those that its records froze, as its cost and its summary have them.
    """
    scope = (Scope.ACCOUNT, 0) if campaign_id is None else (Scope.CAMPAIGN, campaign_id)
    name = refusals.scope_text(*scope)
    taken = {status.meter.id for status in limited if status.scope == name}
    span = nominal(Kind.CALENDAR_MONTH, now, account.zone, now.date())
    counted = [(meter, _in_month(meter, month, book)) for meter in book.meters if meter.id not in taken]
    return [MeterStatus(meter, name, span, used) for meter, used in counted if used]


def _in_month(meter: MeterEntry, month: Month, book: PriceBook) -> int:
    """What a meter counted of a month's totals."""
    return sum(
        meters.amount(
            meter,
            book,
            status=Status.SUCCESS,
            counts=total.successes,
            cost=total.cost.scaled,
            lines=[
                (book.units[u].id, scale_up(q, QUANTITY_PLACES))
                for u, q in total.successful_quantities.items()
            ],
        )
        for total in month.values()
        if meters.lists(meter, total.slug)
    )
