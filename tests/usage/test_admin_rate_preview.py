"""Adding an exchange rate shows first for which days it holds, and by how much what is shown changes."""

import random
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Account, User
from tests.reasons import GivesReasons
from tests.usage.price_list import add_price
from tests.usage.test_admin_price_preview import cells, middle_of_last_month, record
from usage import everywhere, exchange, price_book
from usage.models import ExchangeRate
from usage.price_notes import Note

ADD = "/admin/usage/exchangerate/add/"
TODAY = date(2026, 3, 20)


@pytest.fixture
def admin(staff: User) -> Client:
    client = GivesReasons()
    client.force_login(staff)
    return client


def first_of_this_month() -> date:
    return timezone.now().date().replace(day=1)


def test_a_rate_is_previewed_and_saved_when_confirmed(admin: Client, acme: Account) -> None:
    add_price(model="gpt-9", input_tokens="1")
    record(acme, quantities={"input_tokens": 10})
    record(acme, at=middle_of_last_month() + timedelta(days=3), quantities={"input_tokens": 5})
    record(acme, at=timezone.now(), quantities={"input_tokens": 2})
    everywhere.follow_all()
    start = middle_of_last_month().date() + timedelta(days=2)
    sent = {"quote": "INR", "rate": "90", "effective_from": start.isoformat()}

    page = admin.post(ADD, sent).content.decode()

    # 83.5 at first: last month 15 USD of which 5 move to 90; this month 2 USD.
    assert cells(page)[1:6] == ["1", "$15.00", "₹1,252.50", "₹1,285.00", "+₹32.50"]
    assert cells(page)[7:12] == ["1", "$2.00", "₹167.00", "₹180.00", "+₹13.00"]
    assert "in the past: the INR shown for days" in page
    assert not ExchangeRate.objects.filter(effective_from=start).exists()
    assert admin.post(ADD, {**sent, "confirmed": ""}).status_code == 302
    assert ExchangeRate.objects.get(effective_from=start).rate == 90


def test_it_holds_until_the_next_rate(admin: Client, acme: Account) -> None:
    last_month = middle_of_last_month().date().replace(day=1)
    ExchangeRate.objects.create(quote="INR", rate=85, effective_from=last_month + timedelta(days=10))
    add_price(model="gpt-9", input_tokens="1")
    record(acme, quantities={"input_tokens": 10})
    everywhere.follow_all()
    sent = {"quote": "INR", "rate": "84", "effective_from": last_month.isoformat()}
    page = admin.post(ADD, sent).content.decode()
    assert ", 10 days" in page
    assert "a rate from that day is there already" in page
    assert cells(page)[5] == "₹0.00"


def test_a_currency_without_a_rate_so_far_says_so(admin: Client, acme: Account) -> None:
    add_price(model="gpt-9", input_tokens="1")
    record(acme, quantities={"input_tokens": 10})
    everywhere.follow_all()
    sent = {"quote": "EUR", "rate": "0.5", "effective_from": "2020-01-01"}
    page = admin.post(ADD, sent).content.decode()
    assert "It is the first rate of EUR" in page
    assert "1 days without a rate" in page
    assert "€5.00" in page


def said(rate: str, start: date, end: date | None = None, older: str | None = "83.5") -> list[Note]:
    before = None if older is None else Decimal(older)
    return exchange.notes("INR", Decimal(rate), start, end, before, TODAY)


def test_what_is_said_of_a_rate() -> None:
    assert said("84", TODAY) == []
    (past,) = said("84", date(2026, 3, 1))
    assert past.text.startswith("It begins 19 days in the past: the INR shown for days since 1 Mar 2026")
    bounded = said("84", date(2026, 3, 1), date(2026, 3, 11))
    assert "for days 1 Mar 2026 to 10 Mar 2026 changes" in bounded[0].text
    assert "It ends before 11 Mar 2026" in bounded[1].text
    assert "differs by +20.0 % from the rate before it, 83.5" in said("100.2", TODAY)[0].text
    assert "nothing changes" in said("83.50", TODAY)[0].text
    assert "first rate of INR" in said("84", TODAY, older=None)[0].text
    assert "days to come" in said("84", TODAY + timedelta(days=1))[0].text


@pytest.mark.parametrize("seed", range(20))
def test_days_are_converted_exactly_and_rounded_once(seed: int) -> None:
    chance = random.Random(seed)
    costs = [chance.randrange(-(10**15), 10 ** chance.randrange(1, 18)) for _ in range(seed)]
    days = {date(2026, 1, 1) + timedelta(days=n): cost for n, cost in enumerate(costs)}
    rate = Decimal("83.1234567891")
    whole = sum(costs) * 831234567891  # 10⁻²⁰
    exact = Decimal(whole).scaleb(-20) if abs(whole) < 10**27 else None
    shown = exchange.converted(days, lambda day: rate)
    assert abs(shown * 10**10 - Decimal(whole) / 10**10) <= Decimal("0.500001")
    if exact is not None:
        assert shown == exact.quantize(Decimal("1e-10"))


def test_a_rate_in_the_book_is_used_day_by_day(acme: Account) -> None:
    add_price(model="gpt-9", input_tokens="1")
    for days in (0, 1, 2):
        record(acme, at=middle_of_last_month() + timedelta(days=days), quantities={"input_tokens": 10 + days})
    everywhere.follow_all()
    second = middle_of_last_month().date() + timedelta(days=1)
    ExchangeRate.objects.create(quote="INR", rate=Decimal("90.5"), effective_from=second)
    now = datetime.combine(first_of_this_month(), datetime.min.time(), timezone.now().tzinfo)
    effect = exchange.effect_of("INR", Decimal(80), date(2026, 1, 2), price_book.current(), now)
    last, this = effect.months
    assert last.before == Decimal("10") * Decimal("83.5") + (11 + 12) * Decimal("90.5")
    assert last.after == 10 * Decimal(80) + (11 + 12) * Decimal("90.5")
    assert (this.usd, this.difference) == (Decimal(0), Decimal(0))
