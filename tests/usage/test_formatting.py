"""Figures as people read them: rounded once, never to a false zero, exact when asked."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from usage import formatting


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("9.6791325", "USD", "$9.68"),
        ("0", "USD", "$0.00"),
        ("1234567.891", "USD", "$1,234,567.89"),
        ("123456.78", "INR", "₹1,23,456.78"),
        ("10000000", "INR", "₹1,00,00,000.00"),
        ("0", "INR", "₹0.00"),
        ("461.5", "JPY", "¥462"),
        ("4.6", "EUR", "€4.60"),
        ("0.0100000000", "USD", "$0.01"),
    ],
)
def test_an_amount_is_shown_with_its_currency_s_own_digits(amount: str, currency: str, shown: str) -> None:
    assert formatting.money(Decimal(amount), currency) == shown


@pytest.mark.parametrize(("amount", "shown"), [("0.015", "$0.02"), ("0.025", "$0.02"), ("0.035", "$0.04")])
def test_ties_are_rounded_to_the_even_cent(amount: str, shown: str) -> None:
    assert formatting.money(Decimal(amount), "USD") == shown


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("0.0042", "USD", "$0.0042"),
        ("0.005", "USD", "$0.005"),
        ("0.0000130", "USD", "$0.000013"),
        ("0.0000134999", "USD", "$0.000013"),
        ("0.0000000001", "USD", "$0.0000000001"),
        ("0.00996", "USD", "$0.01"),
        ("0.001", "INR", "₹0.001"),
        ("0.25", "JPY", "¥0.25"),
    ],
)
def test_less_than_the_smallest_coin_keeps_two_significant_digits(
    amount: str, currency: str, shown: str
) -> None:
    assert formatting.money(Decimal(amount), currency) == shown


def test_an_amount_taken_back_has_a_minus_sign_before_the_currency() -> None:
    assert formatting.money(Decimal("-4.61"), "USD") == "−$4.61"
    assert formatting.money(Decimal("-0.0042"), "USD") == "−$0.0042"


@pytest.mark.parametrize(
    ("amount", "currency", "exact"),
    [
        ("9.6791325000", "USD", "9.6791325 USD"),
        ("0.0000125000", "USD", "0.0000125 USD"),
        ("4.6", "USD", "4.60 USD"),
        ("12345678.9012345678", "INR", "1,23,45,678.9012345678 INR"),
        ("99999999999999999999.0000000001", "USD", "99,999,999,999,999,999,999.0000000001 USD"),
    ],
)
def test_the_exact_amount_has_every_digit(amount: str, currency: str, exact: str) -> None:
    assert formatting.exact_money(Decimal(amount), currency).replace("\N{NO-BREAK SPACE}", " ") == exact


def test_an_exchange_rate_keeps_its_digits() -> None:
    assert formatting.exchange_rate(Decimal("83.5000000000"), "INR") == "₹83.50"
    assert formatting.exchange_rate(Decimal("0.91235"), "EUR") == "€0.91235"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0", "0"),
        ("25.5000", "25.5"),
        ("22361870", "22,361,870"),
        ("1E+12", "1,000,000,000,000"),
        ("0.0001", "0.0001"),
        ("-5", "−5"),
    ],
)
def test_a_quantity_has_thousands_separators_and_no_needless_zeros(value: str, shown: str) -> None:
    assert formatting.quantity(Decimal(value)) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        ("500", "output_tokens", "500 output tokens"),
        ("1", "output_tokens", "1 output token"),
        ("1", "queries", "1 query"),
        ("1", "web_searches", "1 web search"),
        ("0", "requests", "0 requests"),
        ("1610612736", "bytes", "1.5 GiB"),
        ("3720", "seconds", "1 h 02 min"),
        ("4.61", "USD", "$4.61"),
    ],
)
def test_a_quantity_is_said_with_its_unit(value: str, unit: str, shown: str) -> None:
    assert formatting.in_unit(Decimal(value), unit).replace("\N{NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1 MiB"),
        (104_857_600, "100 MiB"),
        (10_737_418_240, "10 GiB"),
        (10**12, "931.32 GiB"),
        (-1024, "−1 KiB"),
    ],
)
def test_bytes_are_shown_in_binary_units(value: int, shown: str) -> None:
    assert formatting.size(value).replace("\N{NO-BREAK SPACE}", " ") == shown


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (None, "–"),
        (0, "0 ms"),
        (812, "812 ms"),
        (1240, "1.24 s"),
        (59_994, "59.99 s"),
        (59_999, "1 min 00 s"),
        (125_000, "2 min 05 s"),
        (3_720_000, "1 h 02 min"),
    ],
)
def test_a_latency_is_shown_in_its_two_largest_units(milliseconds: int | None, shown: str) -> None:
    assert formatting.latency(milliseconds).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_a_local_time_leaves_out_what_goes_without_saying() -> None:
    kolkata = ZoneInfo("Asia/Kolkata")
    local = datetime(2026, 11, 20, 20, 0, 5, tzinfo=UTC).astimezone(kolkata)
    assert formatting.moment(local, date(2026, 11, 21)) == "today, 01:30"
    assert formatting.moment(local, date(2026, 11, 22)) == "21 Nov, 01:30"
    assert formatting.moment(local, date(2027, 1, 1)) == "21 Nov 2026, 01:30"
    assert formatting.exact_moment(local) == "21 Nov 2026, 01:30:05 (UTC+05:30)"


def test_a_currency_nobody_knows_is_shown_by_its_code() -> None:
    assert formatting.money(Decimal("5"), "QQQ").replace("\N{NO-BREAK SPACE}", "") == "QQQ5.00"
    assert formatting.currency_name("QQQ") == "QQQ"
    assert formatting.currency_name("INR") == "Indian Rupee"


def test_a_column_shows_every_digit_of_every_amount_with_points_below_each_other() -> None:
    amounts = [Decimal("1.5000000000"), Decimal("123456.7891000000"), Decimal("-0.0010000000"), Decimal(0)]

    assert formatting.places_of_all(amounts, "INR") == 4
    assert [formatting.in_column(amount, "INR", 4) for amount in amounts] == [
        "1.5000",
        "1,23,456.7891",
        "−0.0010",
        "0.0000",
    ]
    assert formatting.in_column(amounts[1], "USD", 4) == "123,456.7891"


def test_a_column_of_round_amounts_keeps_the_currency_s_digits() -> None:
    assert formatting.places_of_all([Decimal(4)], "USD") == 2
    assert formatting.places_of_all([], "JPY") == 0
