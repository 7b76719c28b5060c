"""manage.py set_rate: a dated exchange rate from a shell, added once."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts.models import AuditEntry
from usage import price_book
from usage.models import ExchangeRate

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    out = StringIO()
    call_command("set_rate", *words, stdout=out)
    return out.getvalue().strip()


def added() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(action="exchange_rate.added"))


def test_a_rate_is_added_from_a_day_on() -> None:
    options = ("--from", "2030-12-01", "--source", "RBI", "--reason", "the new month")
    assert run("INR", "84.1000000001", *options) == "1 USD = 84.1000000001 INR from 2030-12-01: added"
    row = ExchangeRate.objects.get(effective_from="2030-12-01")
    assert (row.rate, row.source) == (Decimal("84.1000000001"), "RBI")
    (entry,) = added()
    assert (entry.actor, entry.reason) == ("set_rate", "the new month")
    assert entry.after == {
        "quote": "INR",
        "rate": "84.1000000001",
        "effective_from": "2030-12-01",
        "source": "RBI",
    }
    assert price_book.current().exchange_rate("INR", date(2030, 12, 1)) == row.rate


def test_without_a_day_it_holds_from_today_in_utc() -> None:
    run("EUR", "0.92")
    assert ExchangeRate.objects.get(quote="EUR").effective_from == timezone.now().astimezone(UTC).date()


def test_a_day_in_the_past_says_what_changes() -> None:
    day = (datetime.now(UTC) - timedelta(days=3)).date()
    said = run("INR", "84", "--from", day.isoformat())
    assert said == f"1 USD = 84 INR from {day}: added; what is shown for the last 3 days changes"


def test_the_same_rate_again_changes_nothing() -> None:
    run("INR", "84.10", "--from", "2030-12-01")
    version = price_book.stored_version()
    assert run("INR", "84.1", "--from", "2030-12-01").endswith("is there already, nothing changed")
    assert price_book.stored_version() == version
    assert len(added()) == 1


def test_another_rate_of_the_same_day_is_an_error() -> None:
    run("INR", "84.10", "--from", "2030-12-01")
    with pytest.raises(CommandError, match="It is never changed"):
        run("INR", "84.11", "--from", "2030-12-01")
    assert ExchangeRate.objects.get(effective_from="2030-12-01").rate == Decimal("84.10")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("inr", "84"), "currency: Three capital letters"),
        (("USD", "1"), "currency: A currency has no rate against itself"),
        (("INR", "0"), "rate: A rate is above zero"),
        (("INR", "-1"), "rate: A rate is above zero"),
        (("INR", "NaN"), "rate: "),
        (("INR", "ten"), "rate: "),
        (("INR", "1.00000000001"), "more than 10 decimal places"),
        (("INR", "99999999999999"), "too large"),
        (("INR", "84", "--from", "tomorrow"), "--from 'tomorrow' is no day"),
    ],
)
def test_what_is_wrong_is_one_line(words: tuple[str, ...], message: str) -> None:
    before = ExchangeRate.objects.count()
    with pytest.raises(CommandError, match=message) as refused:
        run(*words) if "-1" not in words else call_command("set_rate", "INR", "--", "-1")
    assert "\n" not in str(refused.value)
    assert ExchangeRate.objects.count() == before
    assert added() == []
