"""What adding a price would do, before it is added; and what to know about one that is there."""

from collections.abc import Mapping
from datetime import UTC, date
from decimal import Decimal
from typing import Any

from django.utils import timezone
from django.utils.html import format_html

from accounts.admin.display import linked, number
from accounts.admin.previews import Preview, Remark, Table
from accounts.models import Account
from usage import formatting, price_book, price_notes, price_preview
from usage.fields import COST_PLACES, QUANTITY_PLACES, scale_down, scale_up
from usage.models import PricingConfig
from usage.price_book import PriceBook
from usage.price_notes import Note, Proposal
from usage.price_preview import Effect, Reckoning
from usage.pricing import Rate

LARGEST = 10
ENDS = ("Difference", "Accounts")
TONES = {price_notes.WARNING: ("warn", "look"), price_notes.INFO: ("plain", "note")}


def of_a_price(values: Mapping[str, Any], formset: Any) -> Preview:
    """The preview of a price and its rates, as their forms have read them."""
    key = tuple(values.get(name) or "" for name in ("provider", "model", "operation", "variant"))
    filled = [form.cleaned_data for form in formset.forms if form.cleaned_data.get("unit")]
    rates = {row["unit"].pk: _rate(row) for row in filled if not row.get("DELETE")}
    return _preview(Proposal(key, values["effective_from"], rates))  # type: ignore[arg-type]


def of_a_rate(values: Mapping[str, Any]) -> Preview:
    """The preview of a rate that a price lacks."""
    config: PricingConfig = values["config"]
    return _preview(Proposal(_key(config), config.effective_from, {values["unit"].pk: _rate(values)}))


def remarks_on(config: PricingConfig) -> list[Remark]:
    """Overlaps and gaps around a price that is there."""
    book = price_book.current()
    rows = list(config.rates.all())
    rates = {
        row.unit_id: Rate(row.pk, row.unit_id, scale_up(row.price, COST_PLACES), row.per) for row in rows
    }
    key, own = _key(config), [row.pk for row in rows]
    around = price_preview.surroundings(key, book, _today(), price_preview.models_of(key), own)
    return remarks(price_notes.notes(Proposal(key, config.effective_from, rates), around, None))


def remarks(notes: list[Note]) -> list[Remark]:
    return [Remark(*TONES[note.severity], note.text) for note in notes]


def _key(config: PricingConfig) -> tuple[str, str, str, str]:
    return config.provider, config.model, config.operation, config.variant


def _rate(row: Mapping[str, Any]) -> Rate:
    return Rate(0, row["unit"].pk, scale_up(row["price"], COST_PLACES), row["per"])


def _today() -> date:
    return timezone.now().astimezone(UTC).date()


def _preview(proposal: Proposal) -> Preview:
    book = price_book.current()
    today = _today()
    found = price_preview.reckon(proposal, book, today)
    around = price_preview.surroundings(proposal.key, book, today, found.models)
    notes = price_notes.notes(proposal, around, timezone.now())
    month = formatting.month(found.month)
    return Preview(
        title=f"Price of {price_notes.named(proposal.key)} from {price_notes.day_of(proposal.start)}",
        text=f"What it would have cost in {month}, all accounts, days as each account lives them. Nothing is"
        " saved yet, and what is in the ledger keeps its price.",
        submit="Add price",
        remarks=[*_about(found), *remarks(notes)],
        facts=_facts(found, month),
        tables=[_parts(found, book, month), _accounts(found, month)],
    )


def _about(found: Reckoning) -> list[Remark]:
    said = []
    if found.is_cut:
        most = f"{price_preview.ACCOUNTS_AT_MOST:,}"
        said.append(
            Remark(
                "warn", "cut", f"More than {most} accounts used this; shown are the {most} with most cost."
            )
        )
    if found.has_stated and found.parts:
        said.append(
            Remark(
                "plain",
                "note",
                "Some of this usage came with a cost that the client stated, which no price touches:"
                " the difference is less by that.",
            )
        )
    return said


def _facts(found: Reckoning, month: str) -> list[tuple[str, object]]:
    total = found.total
    if not found.parts:
        return []
    return [
        (f"Cost in {month}", usd(total.cost)),
        ("At this price", usd(total.new_cost)),
        ("Difference", difference(total)),
        ("Accounts", number(len(total.accounts))),
    ]


def _parts(found: Reckoning, book: PriceBook, month: str) -> Table:
    """By operation, model and unit, what would change most first."""
    rows = sorted(found.parts.items(), key=lambda item: (-abs(item[1].difference), item[0]))
    return Table(
        f"Which of {month}'s usage it concerns",
        ("Operation", "Model", "Unit", "Quantity", "of it unpriced", "Cost", "At this price", *ENDS),
        [
            (
                book.operation(operation).slug,
                "/".join(part for part in found.models[model] if part) or "–",
                book.unit(unit).slug,
                *_figures(effect),
                number(len(effect.accounts)),
            )
            for (operation, model, unit), effect in rows
        ],
        words=3,
        empty=f"None of {month}'s usage: nothing that this price would have been the most specific one for.",
    )


def _figures(effect: Effect) -> tuple[object, ...]:
    return (
        number(scale_down(effect.quantity, QUANTITY_PLACES)),
        number(scale_down(effect.unpriced, QUANTITY_PLACES)) if effect.unpriced else "–",
        usd(effect.cost),
        usd(effect.new_cost),
        difference(effect),
    )


def _accounts(found: Reckoning, month: str) -> Table:
    largest = found.largest(LARGEST)
    accounts = Account.objects.in_bulk([account_id for account_id, _ in largest])
    rows = [
        (
            linked(accounts.get(account_id)) if account_id in accounts else "deleted",
            usd(effect.cost),
            usd(effect.new_cost),
            difference(effect),
        )
        for account_id, effect in largest
    ]
    return Table(
        f"The accounts that it would have changed most, of {len(found.by_account):,}",
        ("Account", "Cost", "At this price", "Difference"),
        rows,
        empty=f"No account used anything of it in {month}.",
    )


def usd(cost: int) -> str:
    """A whole number of 10⁻¹⁰ USD; every digit one hover away."""
    amount = scale_down(cost, COST_PLACES) or Decimal(0)
    return _money(formatting.money(amount, "USD"), formatting.exact_money(amount, "USD"))


def difference(effect: Effect) -> str:
    amount = scale_down(effect.difference, COST_PLACES) or Decimal(0)
    sign = "+" if amount > 0 else ""
    return _money(f"{sign}{formatting.money(amount, 'USD')}", formatting.exact_money(amount, "USD"))


def _money(shown: str, exact: str) -> str:
    return format_html('<span class="tg-number" title="{}">{}</span>', exact, shown)
