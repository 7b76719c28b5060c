"""Making, changing and checking balances: always under the account's lock, which recording shares.

`open_windows` is the only creator of windows and balances. A new balance begins with what
the ledger already holds since its window began, and with what open reservations hold.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from accounts.models import Account
from usage import price_book as price_books
from usage.fields import COST_PLACES
from usage.models import Balance, Hold, Quota, Record, Reservation, Window
from usage.price_book import PriceBook
from usage.quotas import counting
from usage.quotas import state as quota_state
from usage.quotas.counting import Counted, Part
from usage.quotas.state import SlotKey, slots_at
from usage.quotas.windows import Kind, Span, place
from usage.rollups import read_facts

Need = tuple[Kind, datetime]  # a window of this kind, at this instant
UNARMED = 0  # as next_threshold_at: alerts are still to work out when somebody is to be told


def lock(account_id: int) -> Account | None:
    """Lock an account against everybody who records, reserves or changes its quotas; None when it is gone."""
    return Account.objects.select_for_update().filter(pk=account_id).first()


def moved(account_id: int) -> None:
    """Tell every process that what it remembers of the account is no longer true."""
    Account.objects.filter(pk=account_id).update(revision=F("revision") + 1)
    quota_state.forget([account_id])


@transaction.atomic
def open_windows(account_id: int, needs: Iterable[Need], now: datetime) -> None:
    """Open windows, and the balances of the quotas in force in them, as far as they are not there."""
    account = lock(account_id)
    if account is None:
        return
    state = quota_state.load([account_id], now, now)[account_id]
    opened = 0
    for kind, at in sorted(needs, key=lambda need: need[1]):
        window = _window(account, kind, at, state.anchor)
        opened += _open_balances(account, window, state)
    quota_state.forget([account_id])
    if opened:  # whoever came second changes nothing, and sends nobody back
        moved(account_id)


def store_window(account_id: int, kind: Kind, at: datetime, anchor: date) -> None:
    """Store the window that an instant falls into, so that a changed zone does not move it any more.

    The account must be locked.
    """
    _window(Account.objects.get(pk=account_id), kind, at, anchor)


def _window(account: Account, kind: Kind, at: datetime, anchor: date) -> Window:
    before, after = stored_neighbours(account.pk, kind, at)
    if before is not None and at in before:
        return Window.objects.get(account=account, kind=kind, starts_at=before.start)
    span = place(kind, at, account.zone, anchor, before, after)
    return Window.objects.create(account=account, kind=kind, starts_at=span.start, ends_at=span.end)


def stored_neighbours(account_id: int, kind: Kind, at: datetime) -> tuple[Span | None, Span | None]:
    """The latest stored window that begins at or before an instant, and the earliest after it."""
    stored = Window.objects.filter(account_id=account_id, kind=kind)
    before = stored.filter(starts_at__lte=at).order_by("-starts_at").first()
    after = stored.filter(starts_at__gt=at).order_by("starts_at").first()
    return _span(before), _span(after)


def _span(window: Window | None) -> Span | None:
    return None if window is None else Span(window.starts_at, window.ends_at)


def _open_balances(account: Account, window: Window, state: quota_state.AccountQuotas) -> int:
    """Make the balances that a window lacks; how many."""
    book = price_books.current()
    there = set(Balance.objects.filter(window=window).values_list("meter_id", "scope", "scope_id").order_by())
    missing = [
        slot
        for key, slot in state.slots.items()
        if key.kind == window.kind and key[:3] not in there and key.meter_id in book.meters_by_id
    ]
    if not missing:
        return 0
    counted = [Counted(book.meters_by_id[s.key.meter_id], s.key.scope, s.key.scope_id) for s in missing]
    span = Span(window.starts_at, window.ends_at)
    for slot, one, used in zip(missing, counted, counting.sums(account, span, counted, book), strict=True):
        held = _held_of(account, span, one, book)
        balance = Balance.objects.create(
            account=account,
            window=window,
            meter_id=slot.key.meter_id,
            scope=slot.key.scope,
            scope_id=slot.key.scope_id,
            used=used,
            held=sum(held.values()),
            limit=slot.limit,
        )
        Hold.objects.bulk_create(
            Hold(reservation_id=pk, balance_id=balance.pk, account_id=account.pk, amount=amount)
            for pk, amount in held.items()
        )
    return len(missing)


def _held_of(account: Account, span: Span, counted: Counted, book: PriceBook) -> dict[int, int]:
    """What the account's open reservations hold of a meter: reservation id → amount."""
    is_open = Reservation.objects.filter(account=account, state=Reservation.State.OPEN)
    found = {}
    for reservation in is_open.filter(created_at__gte=span.start, created_at__lt=span.end):
        amount = counting.share(counted, announced(reservation, book), book)
        if amount > 0:
            found[reservation.pk] = amount
    return found


def announced(reservation: Reservation, book: PriceBook) -> Part:
    """What a reservation announced, as some usage."""
    return Part(
        book.operation(reservation.operation_id).slug,
        reservation.status,
        reservation.user_id or 0,
        reservation.campaign_id or 0,
        reservation.key_id or 0,
        1,
        0 if reservation.cost is None else int(reservation.cost.scaleb(COST_PLACES)),
        json.loads(reservation.lines),
    )


@transaction.atomic
def follow_quotas(account_id: int, now: datetime) -> None:
    """Bring the balances of an account in line with the quotas in force.

    Limits change at once; a balance whose quota is not in force any more is deleted, since
    nobody would keep it: when its quota comes back it begins with what the ledger holds.
    What is in force is asked of the clock: whoever waited must not undo what another has done since.
    """
    account = lock(account_id)
    if account is None:
        return
    now = max(now, timezone.now())
    slots = slots_at(Quota.objects.filter(account_id=account_id), now)
    gone: list[int] = []
    kept: list[int] = []
    for balance in Balance.objects.filter(account_id=account_id).select_related("window"):
        key = SlotKey(balance.meter_id, balance.scope, balance.scope_id, Kind(balance.window.kind))
        slot = slots.get(key)
        if slot is None:
            gone.append(balance.pk)
        elif balance.window.ends_at > now:
            kept.append(balance.pk)
            if balance.limit != slot.limit:
                Balance.objects.filter(pk=balance.pk).update(limit=slot.limit)
    Balance.objects.filter(pk__in=kept).update(next_threshold_at=UNARMED)
    if gone:
        Hold.objects.filter(balance_id__in=gone).delete()
        Balance.objects.filter(pk__in=gone).delete()
    moved(account_id)


def rearm(account_id: int, now: datetime) -> None:
    """Let alerts work out anew when somebody is to be told; the account must be locked alone."""
    still_open = Balance.objects.filter(account_id=account_id, window__ends_at__gt=now)
    # By their ids, for MariaDB locks every row that a subquery looks at.
    ids = list(still_open.values_list("pk", flat=True))
    Balance.objects.filter(pk__in=ids).update(next_threshold_at=UNARMED)


@transaction.atomic
def copy_period(account_id: int, kind: Kind, start: datetime, end: datetime) -> None:
    """Store a billing period whose instants come from outside, such as Stripe's, as they are.

    Windows that overlap it are cut off at its start, or go when they begin inside it; the
    balances of those that stay are counted again.
    """
    account = lock(account_id)
    if account is None or start >= end:
        return
    overlapping = Window.objects.filter(account=account, kind=kind, starts_at__lt=end, ends_at__gt=start)
    for window in overlapping.order_by("starts_at"):
        if (window.starts_at, window.ends_at) == (start, end):
            Window.objects.filter(pk=window.pk).update(is_copied=True)
        elif window.starts_at < start:
            Window.objects.filter(pk=window.pk).update(ends_at=start)
            recount(account, Balance.objects.filter(window_id=window.pk))
        else:
            _drop(window)
    Window.objects.get_or_create(
        account=account, kind=kind, starts_at=start, defaults={"ends_at": end, "is_copied": True}
    )
    moved(account_id)


def _drop(window: Window) -> None:
    balances = Balance.objects.filter(window_id=window.pk).values_list("pk", flat=True)
    Hold.objects.filter(balance_id__in=list(balances)).delete()
    Balance.objects.filter(window_id=window.pk).delete()
    window.delete()


def recount(account: Account, balances: Iterable[Balance]) -> None:
    """Count balances again from the ledger; the account must be locked."""
    book = price_books.current()
    for balance in balances.select_related("window"):  # type: ignore[attr-defined]
        counted = [Counted(book.meters_by_id[balance.meter_id], balance.scope, balance.scope_id)]
        span = Span(balance.window.starts_at, balance.window.ends_at)
        used = counting.sums(account, span, counted, book)[0]
        held = Hold.objects.filter(balance_id=balance.pk).aggregate(all=Sum("amount"))["all"] or 0
        Balance.objects.filter(pk=balance.pk).update(used=used, held=held)


def shares(account_id: int, at: datetime, part: Part, book: PriceBook) -> dict[int, int]:
    """What some usage at an instant adds to each balance that is kept: balance id → amount.

    For corrections, which are few; the account must be locked, at least shared.
    """
    return shares_of(account_id, [(at, part)], book)


def shares_of(account_id: int, parts: Sequence[tuple[datetime, Part]], book: PriceBook) -> dict[int, int]:
    """The same for usage at several instants, in one statement."""
    first, last = min(at for at, _ in parts), max(at for at, _ in parts)
    kept = Balance.objects.filter(
        account_id=account_id, window__starts_at__lte=last, window__ends_at__gt=first
    ).values_list("id", "meter_id", "scope", "scope_id", "window__starts_at", "window__ends_at")
    found: dict[int, int] = {}
    for pk, meter_id, scope, scope_id, start, end in kept:
        counted = Counted(book.meters_by_id[meter_id], scope, scope_id)
        within = (part for at, part in parts if start <= at < end)
        found[pk] = sum(counting.share(counted, part, book) for part in within)
    return {pk: amount for pk, amount in found.items() if amount}


class Drift(NamedTuple):
    """A balance that differs from the ledger, or from its holds."""

    balance: Balance
    used: int
    held: int

    def __str__(self) -> str:
        return (
            f"usage_balance id={self.balance.pk} account={self.balance.account_id}"
            f" meter={self.balance.meter_id} {self.balance.scope}={self.balance.scope_id}:"
            f" stored used={self.balance.used} held={self.balance.held},"
            f" ledger used={self.used} held={self.held}"
        )


def verify(account_ids: Iterable[int] | None = None) -> Iterator[Drift]:
    """Each balance that differs from the records in its window, or from its open holds.

    Must be consumed inside `usage.snapshot.consistent()`, as `usage.rollups.verify`.
    """
    balances = Balance.objects.select_related("window").order_by("account_id", "id")
    if account_ids is not None:
        balances = balances.filter(account_id__in=list(account_ids))
    by_account: dict[int, list[Balance]] = {}
    for balance in balances:
        by_account.setdefault(balance.account_id, []).append(balance)
    book = price_books.reload() if by_account else price_books.remembered()
    for account_id, kept in by_account.items():
        yield from _drifts(account_id, kept, book)


def _drifts(account_id: int, balances: Sequence[Balance], book: PriceBook) -> Iterator[Drift]:
    counted = [Counted(book.meters_by_id[b.meter_id], b.scope, b.scope_id) for b in balances]
    used = [0] * len(balances)
    start = min(balance.window.starts_at for balance in balances)
    end = max(balance.window.ends_at for balance in balances)
    records = Record.objects.filter(account_id=account_id, occurred_at__gte=start, occurred_at__lt=end)
    for occurred_at, fact in read_facts(records):
        part = counting.part_of(fact.key, fact.counts, fact.cost, fact.lines, book)
        for position, balance in enumerate(balances):
            if balance.window.starts_at <= occurred_at < balance.window.ends_at:
                used[position] += counting.share(counted[position], part, book)
    holds = Hold.objects.filter(account_id=account_id, reservation__state=Reservation.State.OPEN)
    held = dict(holds.values_list("balance_id").annotate(all=Sum("amount")).order_by())
    for balance, should in zip(balances, used, strict=True):
        if (balance.used, balance.held) != (should, held.get(balance.pk, 0)):
            yield Drift(balance, should, held.get(balance.pk, 0))
