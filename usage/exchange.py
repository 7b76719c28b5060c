"""Exchange rates: added with the day from which they hold, by staff, by a command or from a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts import audit
from accounts.models import User
from usage import formatting
from usage.fields import COST_PLACES, ExactTotal, round_half_even, scale_down
from usage.models import DayTotal, ExchangeRate
from usage.price_book import PriceBook
from usage.price_notes import INFO, WARNING, Note

JUMP = Decimal("0.1")  # a rate that differs more from the one before is mistyped more often than true


@dataclass(frozen=True, slots=True)
class Month:
    """One month's total of all accounts in a currency, as it is shown now and with the new rate."""

    first: date
    usd: Decimal
    before: Decimal
    after: Decimal
    days: int  # how many of its days with cost the new rate holds for
    unconverted: int  # days with cost that no rate holds for, before

    @property
    def difference(self) -> Decimal:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Effect:
    """What adding a rate does; it holds from `start` to the day before `end`, None: until another comes."""

    start: date
    end: date | None
    older: Decimal | None
    months: list[Month]
    notes: list[Note]


def add(
    quote: str, rate: object, day: date, *, actor: User | str, source: str = "", reason: str = ""
) -> tuple[ExchangeRate, bool]:
    """Add a dated rate and write it into the audit trail; whether it is new.

    The same rate of the same day again changes nothing.

    Raises:
        ValidationError: it is none, or another one holds from that day.
    """
    row = ExchangeRate(quote=quote, rate=rate, effective_from=day, source=source)
    row.clean_fields()
    row.clean()
    try:
        with transaction.atomic():
            there = _same_day(row)
            if there is None:
                row.save(force_insert=True)
                audit.write(
                    "exchange_rate.added", actor=actor, subject=str(row), reason=reason, after=described(row)
                )
                return row, True
    except IntegrityError:  # another process was faster
        there = _same_day(row)
        if there is None:
            raise
    if there.rate != row.rate:
        raise ValidationError({"rate": f"There is another rate from that day: {there}. It is never changed."})
    return there, False


def _same_day(row: ExchangeRate) -> ExchangeRate | None:
    rows = ExchangeRate.objects.filter(base=row.base, quote=row.quote, effective_from=row.effective_from)
    return rows.first()


def described(row: ExchangeRate) -> dict[str, str]:
    return {
        "quote": row.quote,
        "rate": f"{row.rate.normalize():f}",
        "effective_from": row.effective_from.isoformat(),
        "source": row.source,
    }


def effect_of(quote: str, rate: Decimal, start: date, book: PriceBook, now: datetime) -> Effect:
    """What a rate would change of what is shown for last month and this; nothing is written."""
    today = now.astimezone(UTC).date()
    days, rates = book.exchange.get(quote, ([], []))
    later = [day for day in days if day > start]
    end = later[0] if later else None
    older = [value for day, value in zip(days, rates, strict=True) if day < start]

    def new_rate(day: date) -> Decimal | None:
        holds = start <= day and (end is None or day < end)
        return rate if holds else book.exchange_rate(quote, day)

    this_month = today.replace(day=1)
    months = [(this_month - timedelta(days=1)).replace(day=1), this_month]
    costs = _costs(months[0])
    found = [
        _month(first, costs, lambda day: book.exchange_rate(quote, day), new_rate, (start, end))
        for first in months
    ]
    before = older[-1] if older else None
    return Effect(start, end, before, found, notes(quote, rate, start, end, before, today))


def _costs(since: date) -> dict[date, int]:
    """The cost of all accounts by local day; a day may have begun somewhere that has not begun here."""
    rows: Any = DayTotal.objects.filter(local_day__gte=since).order_by().values_list("local_day")
    return dict(rows.annotate(sum=ExactTotal("cost")))


RateOf = Callable[[date], Decimal | None]


def _month(
    first: date, costs: Mapping[date, int], old: RateOf, new: RateOf, held: tuple[date, date | None]
) -> Month:
    """Each day's USD at the day's rate, summed up and rounded once."""
    own = {day: cost for day, cost in costs.items() if day.replace(day=1) == first and cost}
    start, end = held
    return Month(
        first,
        usd=scale_down(sum(own.values()), COST_PLACES) or Decimal(0),
        before=converted(own, old),
        after=converted(own, new),
        days=sum(1 for day in own if start <= day and (end is None or day < end)),
        unconverted=sum(1 for day in own if old(day) is None),
    )


def converted(costs: Mapping[date, int], rate_of: RateOf) -> Decimal:
    """Whole numbers of 10⁻¹⁰ USD by day in another currency; a day without a rate counts nothing."""
    with localcontext(prec=60):
        amounts = (Decimal(cost) * (rate_of(day) or 0) for day, cost in costs.items())
        return round_half_even(sum(amounts, Decimal(0)).scaleb(-COST_PLACES), COST_PLACES)


def notes(
    quote: str, rate: Decimal, start: date, end: date | None, older: Decimal | None, today: date
) -> list[Note]:
    """What to know before a rate is added; the worst first. Pure."""
    found = []
    if start < today:
        ago = (today - start).days
        last = formatting.day(end - timedelta(days=1)) if end is not None and end <= today else ""
        held = f"{formatting.day(start)} to {last}" if last else f"since {formatting.day(start)}"
        found.append(
            Note(
                WARNING,
                f"It begins {ago:,} day{'' if ago == 1 else 's'} in the past: the {quote} shown for days"
                f" {held} changes. Amounts in USD do not.",
            )
        )
    if older is None:
        found.append(Note(INFO, f"It is the first rate of {quote}: there was none for these days."))
    elif older == rate:
        found.append(Note(INFO, "It is what the rate before it says too: nothing changes."))
    elif abs(rate - older) > older * JUMP:
        share = round_half_even((rate - older) * 100 / older, 1)
        found.append(
            Note(
                WARNING,
                f"It differs by {share:+f} % from the rate before it, {older.normalize():f}: check it.",
            )
        )
    if end is not None:
        found.append(
            Note(INFO, f"It ends before {formatting.day(end)}: a rate from that day is there already.")
        )
    if start > today:
        found.append(Note(INFO, "It is for days to come; until then nothing changes."))
    return sorted(found, key=lambda note: note.severity != WARNING)
