"""Figures as people read them: money, quantities, sizes, durations and local times.

Pure: values in, text out. An amount is rounded here, once, and only to be looked at;
`exact_money` and `exact_quantity` give back every digit for whoever asks.
"""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

from babel.dates import format_date, format_datetime
from babel.numbers import format_currency, format_decimal, get_currency_name, get_currency_precision

LOCALE = "en_US"
LOCALES = {"INR": "en_IN"}  # lakhs and crores: ₹1,23,456.78
SIGNIFICANT_DIGITS = 2  # of an amount smaller than the currency's smallest coin
BINARY_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
MINUS = "\N{MINUS SIGN}"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"


def money(amount: Decimal, currency: str) -> str:
    """An amount with its currency's own digits: $4.61, ₹1,23,456.78, ¥461.

    Less than the smallest coin keeps two significant digits instead ($0.000012):
    a cost above zero never reads as zero.
    """
    places = get_currency_precision(currency)
    if amount and abs(amount) < Decimal(1).scaleb(-places):
        # adjusted() is the power of ten of the first digit that is not zero.
        amount = _trimmed(_rounded(amount, SIGNIFICANT_DIGITS - 1 - amount.adjusted()))
        places = max(places, _places(amount))
    return _with_symbol(_rounded(amount, places), currency)


def exact_money(amount: Decimal, currency: str) -> str:
    """Every digit that is known of an amount, and its currency's code: 0.0000125 USD."""
    places = max(get_currency_precision(currency), _places(_trimmed(amount)))
    return f"{_grouped(_rounded(amount, places), LOCALES.get(currency, LOCALE))}{NO_BREAK_SPACE}{currency}"


def places_of_all(amounts: Iterable[Decimal], currency: str) -> int:
    """The fewest decimal places, at least the currency's own, that hide no digit of any amount."""
    needed = (_places(_trimmed(amount)) for amount in amounts)
    return max(get_currency_precision(currency), *needed, 0)


def in_column(amount: Decimal, currency: str, places: int) -> str:
    """An amount under a heading that names the currency, its point below the others: 1,23,456.7800."""
    return _grouped(_rounded(amount, places), LOCALES.get(currency, LOCALE))


def exchange_rate(rate: Decimal, currency: str) -> str:
    """What one USD is worth: ₹83.50; all digits of the rate."""
    places = max(get_currency_precision(currency), _places(_trimmed(rate)))
    return _with_symbol(_rounded(rate, places), currency)


def quantity(value: Decimal | int) -> str:
    """A quantity with thousands separators and no needless zeros: 22,361,870; 25.5."""
    return _grouped(_trimmed(Decimal(value)), LOCALE)


def in_unit(value: Decimal, unit: str) -> str:
    """A quantity with its unit as people say it: 500 output tokens, 1.5 MiB, 1 h 02 min.

    Args:
        unit: slug of a unit, or what a meter is shown as.
    """
    if unit == "bytes":
        return size(value)
    if unit == "seconds":
        return duration(value)
    if unit == "USD":
        return money(value, "USD")
    return f"{quantity(value)} {_counted(value, unit)}"


def exact_quantity(value: Decimal, unit: str) -> str:
    """The same quantity with every digit, in its own unit."""
    if unit == "USD":
        return exact_money(value, "USD")
    return f"{quantity(value)} {_counted(value, unit)}"


def size(value: Decimal | int) -> str:
    """Bytes in the largest binary unit that leaves at least 1: 512 bytes, 1.5 MiB, 10 GiB."""
    amount = Decimal(value)
    if abs(amount) < 1024:
        return f"{quantity(amount)}{NO_BREAK_SPACE}{_counted(amount, 'bytes')}"
    power = 1
    # 1023.996 KiB would be rounded to 1,024 KiB, which is a MiB.
    while abs(_rounded(amount / 1024**power, 2)) >= 1024 and power < len(BINARY_UNITS):
        power += 1
    return f"{quantity(_rounded(amount / 1024**power, 2))}{NO_BREAK_SPACE}{BINARY_UNITS[power - 1]}"


def duration(seconds: Decimal | int) -> str:
    """A stretch of time in its two largest units: 812 ms, 1.24 s, 2 min 05 s, 1 h 02 min."""
    value = Decimal(seconds)
    if abs(value) < 1:
        return f"{quantity(_rounded(value * 1000, 0))}{NO_BREAK_SPACE}ms"
    if abs(value) < Decimal("59.995"):
        return f"{quantity(_rounded(value, 2))}{NO_BREAK_SPACE}s"
    whole = int(_rounded(abs(value), 0))
    sign = MINUS if value < 0 else ""
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{sign}{minutes}{NO_BREAK_SPACE}min{NO_BREAK_SPACE}{rest:02}{NO_BREAK_SPACE}s"
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{quantity(hours)}{NO_BREAK_SPACE}h{NO_BREAK_SPACE}{minutes:02}{NO_BREAK_SPACE}min"


def latency(milliseconds: int | None) -> str:
    """How long a call took, or a dash when nobody said."""
    return "–" if milliseconds is None else duration(Decimal(milliseconds).scaleb(-3))


def moment(local: datetime, today: date) -> str:
    """A local time without what goes without saying: today, 14:03; 19 Nov, 14:03; 31 Dec 2025, 14:03."""
    if local.date() == today:
        return f"today, {local:%H:%M}"
    return f"{day(local.date(), today)}, {local:%H:%M}"


def exact_moment(local: datetime) -> str:
    """A local time to the second with its distance from UTC: 20 Nov 2026, 14:03:22 (UTC+05:30)."""
    return format_datetime(local, "d MMM y, HH:mm:ss '(UTC'xxx')'", locale=LOCALE)


def day(value: date, today: date | None = None) -> str:
    """A date: 20 Nov 2026; without its year when that is today's."""
    pattern = "d MMM" if today is not None and value.year == today.year else "d MMM y"
    return format_date(value, pattern, locale=LOCALE)


def month(value: date) -> str:
    """The month of a date: November 2026."""
    return format_date(value, "MMMM y", locale=LOCALE)


def currency_name(currency: str) -> str:
    """What a currency is called, such as Indian Rupee; its code when nobody knows it."""
    return get_currency_name(currency, locale=LOCALE)


def _counted(value: Decimal, unit: str) -> str:
    """What is counted, in words: 1 query, 2 queries."""
    words = unit.replace("_", " ")
    if value != 1 or words.endswith("ss"):
        return words
    if words.endswith("ies"):
        return words.removesuffix("ies") + "y"
    return words.removesuffix("es" if words.endswith(("ches", "shes", "xes")) else "s")


def _rounded(value: Decimal, places: int) -> Decimal:
    with localcontext(prec=60):
        return value.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_EVEN)


def _trimmed(value: Decimal) -> Decimal:
    """The same number without zeros at the end of its fraction (and never as 5E+2)."""
    with localcontext(prec=60):
        if value == value.to_integral_value():
            return value.quantize(Decimal(1))
        return value.normalize()


def _places(value: Decimal) -> int:
    return max(0, -int(value.as_tuple().exponent))


def _with_symbol(rounded: Decimal, currency: str) -> str:
    locale = LOCALES.get(currency, LOCALE)
    with localcontext(prec=60):
        return _signed(format_currency(rounded, currency, locale=locale, decimal_quantization=False))


def _grouped(value: Decimal, locale: str) -> str:
    pattern = "#,##,##0" if locale == "en_IN" else "#,##0"
    if _places(value):
        pattern += "." + "0" * _places(value)
    with localcontext(prec=60):
        return _signed(format_decimal(value, pattern, locale=locale))


def _signed(text: str) -> str:
    return text.replace("-", MINUS)
