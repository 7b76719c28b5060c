"""What staff fill in to price what is unpriced: a price, if one is missing, and why."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.admin.fields import REASON_AT_MOST, UtcDateTimeField
from accounts.models import User
from usage.admin.amounts import PriceField, misfit
from usage.fields import COST_PLACES, scale_up
from usage.models import PricingConfig, Rate
from usage.price_book import PriceBook
from usage.pricing import Key
from usage.unpriced import Unpriced, with_price

SINCE_HELP = (
    "In UTC: the first instant at which the price holds, for what happens from now on, too. Suggested is the"
    " first unpriced day less 26 hours: a day of an account in the east begins before that of UTC."
)


@dataclass(frozen=True, slots=True)
class NewPrice:
    """A price that is not stored yet."""

    config: PricingConfig
    unit_id: int
    price: Decimal
    per: int

    def tried(self, book: PriceBook) -> PriceBook:
        """The price book as it would be with it."""
        config = self.config
        key = (config.provider, config.model, config.operation, config.variant)
        price = scale_up(self.price, COST_PLACES)
        return with_price(book, key, self.unit_id, config.effective_from, price, self.per)

    def save(self, user: User) -> PricingConfig:
        """Store it; where the list has a price from that instant for another unit, the rate joins it."""
        config = self.config
        if config._state.adding:
            config.created_by_id = user.pk
            config.save(force_insert=True)
        Rate.objects.create(config=config, unit_id=self.unit_id, price=self.price, per=self.per)
        return config


def levels_of(line: Unpriced) -> dict[str, tuple[str, Key]]:
    """For what the price is to hold: (words, key) by name, the most specific first."""
    model, found = line.model, {}
    named = " ".join(part for part in (model.name, model.variant) if part)
    if model.name:
        found["both"] = (
            f"{named} for {line.operation} alone",
            (model.provider, model.name, line.operation, model.variant),
        )
        found["model"] = (
            f"{named} for any operation",
            (model.provider, model.name, "", model.variant),
        )
    found["operation"] = (f"{line.operation} with any model", ("", "", line.operation, ""))
    return found


class LatePricingForm(forms.Form):
    """Without a price the prices of the list are applied, where they hold by now.

    `previewed` holds what the preview was of: only what was seen is applied.
    """

    price = PriceField(label="Price in USD", help_text="0 says free on purpose.")
    per = forms.IntegerField(
        min_value=1,
        max_value=10**18,
        initial=1,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="How many units the price is for, such as 1000000.",
    )
    level = forms.ChoiceField(label="Holds for", widget=UnfoldAdminSelectWidget)
    effective_from = UtcDateTimeField(label="From", help_text=SINCE_HELP)
    source = forms.CharField(
        max_length=200,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Where the price was read.",
    )
    reason = forms.CharField(
        max_length=REASON_AT_MOST,
        required=False,
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
        help_text="Kept in the audit trail; needed to apply.",
    )
    previewed = forms.CharField(required=False, max_length=2_000, widget=forms.HiddenInput)
    PRICE = ("price", "per", "level", "effective_from", "source")

    def __init__(self, line: Unpriced, may_add: bool, *args: Any, **kwargs: Any) -> None:
        initial = {"effective_from": line.since, **kwargs.pop("initial", {})}
        super().__init__(*args, **{**kwargs, "initial": initial})
        self.line = line
        self.new_price: NewPrice | None = None
        if line.is_known or not may_add:
            for name in self.PRICE:
                del self.fields[name]
            return
        choices = [(name, words) for name, (words, _) in levels_of(line).items()]
        self.fields["level"].choices = choices  # type: ignore[attr-defined]
        if not line.needs_price:
            self.fields["price"].required = False
            self.fields["price"].help_text = "Empty: only the prices of the list are applied. 0: free."

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("price") is not None and not self.errors:
            values["per"] = values.get("per") or 1
            self.new_price = self._priced(values)
        if "apply" in self.data and not values.get("reason", "").strip():
            self.add_error("reason", "Say why; the reason is kept.")
        return values

    def _priced(self, values: dict[str, Any]) -> NewPrice | None:
        problem = misfit(values["price"], values["per"])
        if problem:
            self.add_error("price", problem)
            return None
        provider, model, operation, variant = levels_of(self.line)[values["level"]][1]
        key = {"provider": provider, "model": model, "operation": operation, "variant": variant}
        since = values["effective_from"]
        known = PricingConfig.objects.filter(**key, effective_from=since).first()
        config = known or PricingConfig(**key, effective_from=since, source=values.get("source", ""))
        unit_id = self.line.subject.unit_id
        rate = Rate(config=known, unit_id=unit_id, price=values["price"], per=values["per"])
        try:
            if known is None:
                config.full_clean()
            rate.full_clean(exclude=["unit"] if known else ["unit", "config"])
        except ValidationError as error:
            for field, texts in error.message_dict.items():
                self.add_error(field if field in self.fields else None, texts)
            return None
        if known and known.rates.filter(unit_id=unit_id).exists():
            self.add_error("effective_from", "There is a price for this from this instant already.")
            return None
        return NewPrice(config, unit_id, values["price"], values["per"])

    @property
    def asked(self) -> str:
        """What a preview is of, in one text."""
        if self.new_price is None:
            return "the prices of the list"
        new, config = self.new_price, self.new_price.config
        key = f"{config.provider}|{config.model}|{config.operation}|{config.variant}"
        return f"{new.price.normalize():f} per {new.per} for {key} from {config.effective_from.isoformat()}"
