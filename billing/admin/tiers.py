"""Prices in tiers, as they are typed and as they stand in files."""

from collections.abc import Sequence
from typing import Any

from django import forms

from billing.models import OverageTier


class TiersField(forms.CharField):
    """Tiers as a line each: up to which quantity beyond the included, the price of one, and a flat fee."""

    def to_python(self, value: Any) -> Any:
        return [self._row(line) for line in (super().to_python(value) or "").splitlines() if line.strip()]

    def _row(self, line: str) -> OverageTier:
        up_to, *amounts = [part.strip() for part in line.split(":")]
        if len(amounts) not in (1, 2):
            raise forms.ValidationError(f"{line.strip()!r} is not written as up to: price: flat fee.")
        tier = OverageTier()
        try:
            tier.up_to = None if up_to in ("", "*") else _exact(OverageTier, "up_to", up_to)
            tier.unit_price = _exact(OverageTier, "unit_price", amounts[0])
            tier.flat_fee = _exact(OverageTier, "flat_fee", (*amounts, "0")[1])
        except forms.ValidationError as error:
            raise forms.ValidationError(f"{line.strip()!r}: {' '.join(error.messages)}") from error
        return tier


def _exact(model: Any, name: str, text: str) -> Any:
    return model._meta.get_field(name).clean(text, None)


def tier_errors(tiers: Sequence[OverageTier]) -> list[str]:
    """What is wrong with tiers: they go up, and the last alone is open-ended."""
    if not tiers:
        return []
    ends = [tier.up_to for tier in tiers[:-1]]
    errors = []
    if tiers[-1].up_to is not None:
        errors.append("The last tier has to be open-ended: begin its line with *.")
    if any(end is None for end in ends):
        errors.append("Only the last tier is open-ended.")
    known = [end for end in ends if end is not None]
    if any(end <= 0 for end in known) or known != sorted(set(known)):
        errors.append("Each tier has to go further than the one before, and the first further than 0.")
    return errors


def tier_text(tier: OverageTier) -> str:
    amounts = f"{tier.unit_price.normalize():f}:{tier.flat_fee.normalize():f}"
    return f"{'*' if tier.up_to is None else f'{tier.up_to.normalize():f}'}:{amounts}"
