"""What a statement says of itself in words; page and PDF say the same."""

from collections.abc import Iterator

from billing.statements import Statement
from usage import formatting

RUNNING = "This month still runs: its figures grow until it is over."


def facts(statement: Statement) -> Iterator[tuple[str, str]]:
    """What a statement says of itself, above its figures."""
    days = f"{formatting.day(statement.month)} to {formatting.day(statement.last_day)}"
    yield "Days", f"{days}, in {statement.account.time_zone}"
    for held in statement.plans:
        zone = statement.account.zone
        since, words = formatting.day(held.start.astimezone(zone).date()), held.plan.name
        words += f", since {since}" if held.end is None else f", from {since} to "
        if held.end is not None:
            words += formatting.day(held.end.astimezone(zone).date())
        yield "Plan", words
    for used in statement.own_rates:
        rate = formatting.exchange_rate(used.rate, used.currency)
        span = formatting.day(used.first_day)
        if used.last_day != used.first_day:
            span += f" to {formatting.day(used.last_day)}"
        yield (
            "Exchange rate",
            f"1 USD = {rate}, the rate since {formatting.day(used.effective_from)}; used for {span}",
        )


def notes(statement: Statement) -> Iterator[str]:
    """What a reader has to know of the figures."""
    unpriced, missing = statement.total.unpriced, statement.own_days_without_rate
    if unpriced:
        records = "1 record has" if unpriced == 1 else f"{formatting.quantity(unpriced)} records have"
        yield f"{records} no price yet. What it costs is not known, and not in these sums."
    if missing:
        days = "1 day" if len(missing) == 1 else f"{len(missing)} days"
        yield (
            f"{days} with cost, the first on {formatting.day(missing[0])}, had no exchange rate for"
            f" {statement.account.currency}: sums that contain them are in USD alone."
        )
