"""Pricing the unpriced usage of one unit of one model and operation, for every account, page by page.

Where there is any is asked of `UnpricedDay`, which is seconds behind the ledger; what it does not know
of yet is found the next time. A page is one transaction under its account's lock, together with how far
the whole is, so it may be killed anywhere, run twice, or at once by several: nothing is priced twice.
"""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any

from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.models import Account, User
from usage import adjusting, queue, retrying
from usage import price_book as price_books
from usage.fields import cost_text, quantity_text
from usage.ingestion import is_overflow
from usage.locks import lock_alone
from usage.models import LatePricing, Model, PricingConfig, Record, UnpricedDay
from usage.price_book import PriceBook
from usage.queries import in_days

RECORDS_AT_ONCE = 500
DAYS_AT_ONCE = timedelta(days=31)
JOB = "usage.price_late"
STEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What is priced: a unit of a model (by its ids) and operation."""

    operation_id: int
    model_id: int
    unit_id: int

    def days(self) -> QuerySet:
        return UnpricedDay.objects.filter(
            operation_id=self.operation_id, model_id=self.model_id, unit_id=self.unit_id
        )

    def records(self, account: Account, first: date, last: date) -> QuerySet:
        """The account's records of some local days that may lack the price, oldest first."""
        found = Record.objects.filter(
            adjusting.originals(),
            in_days(account, first, last + timedelta(days=1)),
            account_id=account.pk,
            operation_id=self.operation_id,
            model_id=self.model_id,
        )
        return found.order_by("occurred_at", "id")

    def rate_at(self, book: PriceBook) -> adjusting.RateAt:
        """The rate that a record of this would be priced with by a price book."""
        model = Model.objects.get(pk=self.model_id)
        operation = book.operation(self.operation_id).slug
        key = (model.provider, model.name, operation, model.variant)
        return lambda unit_id, at: book.rate(key, unit_id, at)


def ask(subject: Subject, user: User, reason: str, config: PricingConfig | None = None) -> LatePricing:
    """Let a job price what is unpriced; in the transaction that adds the price, if one is added."""
    asked = LatePricing.objects.create(
        operation_id=subject.operation_id,
        model_id=subject.model_id,
        unit_id=subject.unit_id,
        config=config,
        asked_by=user.email,
        reason=reason,
    )
    queue.enqueue(JOB, key=f"price-late:{asked.pk}", pricing_id=asked.pk)
    return asked


def run(pricing_id: int, seconds: float = STEP_SECONDS) -> bool:
    """Price for some seconds; whether more is to be done."""
    ends = time.monotonic() + seconds
    while step(pricing_id):
        if time.monotonic() >= ends:
            return True
    return False


def step(pricing_id: int) -> bool:
    """Price one page; False when all is done."""
    asked = LatePricing.objects.filter(pk=pricing_id, finished_at=None).first()
    if asked is None:
        return False
    subject = Subject(asked.operation_id, asked.model_id, asked.unit_id)
    at = _next(subject, asked.at)
    if at is None:
        _finish(asked)
        return False
    try:
        retrying.run(partial(_price_page, asked, subject, at))
    except Overtaken:
        return True
    except (IntegrityError, DatabaseError, OverflowError) as error:
        if not is_overflow(error):
            raise
        left_out = {"account": at["account"], "done": True}
        with contextlib.suppress(Overtaken):
            _move_on(asked, left_out, accounts_left_out=F("accounts_left_out") + 1)
    return True


def _next(subject: Subject, at: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the next page begins: an account, some days of it, and after which of their records."""
    if "instant" in at:  # in the midst of these days
        return dict(at)
    days = subject.days().order_by("account_id", "local_day")
    if at and not at.get("done"):
        own = days.filter(account_id=at["account"], local_day__gt=date.fromisoformat(at["last"]))
        found = own.values_list("account_id", "local_day").first()
        if found:
            return _span(subject, *found, priced=at["priced"])
    later = days.filter(account_id__gt=at["account"]) if at else days
    found = later.values_list("account_id", "local_day").first()
    return _span(subject, *found, priced=0) if found else None


def _span(subject: Subject, account_id: int, first: date, *, priced: int) -> dict[str, Any]:
    within = subject.days().filter(
        account_id=account_id, local_day__gte=first, local_day__lt=first + DAYS_AT_ONCE
    )
    last = within.order_by("-local_day").values_list("local_day", flat=True).first() or first
    return {
        "account": account_id,
        "first": first.isoformat(),
        "last": last.isoformat(),
        "priced": priced,  # how many of the account's records were priced before
    }


@transaction.atomic
def _price_page(asked: LatePricing, subject: Subject, at: dict[str, Any]) -> None:
    version, locked = lock_alone(at["account"])
    if at["account"] not in locked:
        _move_on(asked, {"account": at["account"], "done": True})
        return
    account = Account.objects.get(pk=at["account"])
    book = price_books.as_of(version)
    records = subject.records(account, *(date.fromisoformat(at[name]) for name in ("first", "last")))
    page = list(records.filter(_after(at))[:RECORDS_AT_ONCE])
    reckoned = adjusting.reckon(page, subject.unit_id, subject.rate_at(book))
    adjusting.append(account.pk, reckoned.adjustments, book)
    count = len(reckoned.adjustments)
    begin = {name: at[name] for name in ("account", "first", "last")} | {"priced": at["priced"] + count}
    if len(page) == RECORDS_AT_ONCE:
        begin |= {"instant": page[-1].occurred_at.isoformat(), "record": page[-1].pk}
    _move_on(
        asked,
        begin,
        accounts=F("accounts") + (1 if count and not at["priced"] else 0),
        records=F("records") + count,
        quantity=F("quantity") + sum(one.quantity for one in reckoned.adjustments),
        cost=F("cost") + sum(one.cost for one in reckoned.adjustments),
        too_large=F("too_large") + reckoned.too_large,
    )


def _after(at: Mapping[str, Any]) -> Q:
    if "instant" not in at:
        return Q()
    instant = datetime.fromisoformat(at["instant"])
    return Q(occurred_at__gte=instant) & (Q(occurred_at__gt=instant) | Q(id__gt=at["record"]))


class Overtaken(Exception):
    """Somebody else has done this page; what is written in this transaction is taken back."""


def _move_on(asked: LatePricing, at: dict[str, Any], **sums: Any) -> None:
    ours = LatePricing.objects.filter(pk=asked.pk, steps=asked.steps, finished_at=None)
    if not ours.update(at=at, steps=asked.steps + 1, **sums):
        raise Overtaken(f"{asked} is carried on elsewhere")


@transaction.atomic
def _finish(asked: LatePricing) -> None:
    ours = LatePricing.objects.filter(pk=asked.pk, steps=asked.steps, finished_at=None)
    if not ours.update(finished_at=timezone.now()):
        return
    audit.write(
        "unpriced_usage.priced",
        actor=asked.asked_by,
        subject=str(asked),
        reason=asked.reason,
        after={
            "accounts": asked.accounts,
            "records": asked.records,
            "quantity": quantity_text(asked.quantity),
            "cost_usd": cost_text(asked.cost),
            "too_large": asked.too_large,
            "accounts_left_out": asked.accounts_left_out,
        },
    )
