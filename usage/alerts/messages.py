"""What an alert says: one set of facts, worded for people and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.urls import reverse

from accounts.models import Account
from usage import formatting
from usage.fields import COST_PLACES, cost_text, decimal_text, round_half_even, scale_down
from usage.models import Alert
from usage.quotas import scopes
from usage.quotas.scopes import Scoped
from usage.quotas.windows import ADJECTIVES, Kind
from usage.representation import instant_text

NAME_AT_MOST = 60  # characters of an account's name in a subject


@dataclass(frozen=True, slots=True)
class Facts:
    """An alert with the names that stand behind its ids.

    Args:
        who: whose limit it is, where that is not the whole account's.
    """

    alert: Alert
    account: Account
    who: str

    @property
    def is_cost(self) -> bool:
        """Whether it is about the month's cost, rather than about a limit."""
        return self.alert.meter is None

    @property
    def unit(self) -> str:
        return "USD" if self.alert.meter is None else self.alert.meter.shown_as

    @property
    def places(self) -> int:
        return COST_PLACES if self.alert.meter is None else self.alert.meter.places

    @property
    def name(self) -> str:
        """What was counted: Images generated, for bob@example.com."""
        what = "Cost this month" if self.alert.meter is None else self.alert.meter.name
        return f"{what}, for {self.who}" if self.who else what

    @property
    def threshold(self) -> str:
        """95 %, or $25.00."""
        if self.is_cost:
            return formatting.money(_cost(self.alert.threshold), "USD")
        return f"{self.alert.threshold} %"

    @property
    def used(self) -> str:
        return formatting.in_unit(self.decimal(self.alert.used), self.unit)

    @property
    def whole(self) -> str:
        """The limit, or what the plan includes; empty for cost."""
        return (
            "" if self.alert.whole is None else formatting.in_unit(self.decimal(self.alert.whole), self.unit)
        )

    @property
    def percentage(self) -> Decimal | None:
        """How much of the whole was used when it was noticed, to one place."""
        whole = self.alert.whole
        return round_half_even(Decimal(self.alert.used) * 100 / whole, 1) if whole else None

    @property
    def standing(self) -> str:
        """95 of 100 images (95 %); $25.10."""
        if self.percentage is None:
            return self.used
        share = f"{self.percentage.normalize():,f}"
        included = " included" if self.alert.is_included else ""
        plain = formatting.quantity(self.decimal(self.alert.used))
        # 96 of 100 images; with its unit only where that varies, as in 1.5 MiB of 2 GiB.
        used = plain if self.used.startswith(f"{plain} ") else self.used
        return f"{used} of {self.whole}{included} ({share} %)"

    @property
    def window(self) -> str:
        """monthly, weekly; of a limit."""
        return ADJECTIVES[Kind(self.alert.window_kind)]

    @property
    def resets(self) -> str:
        """When the window ends, on the account's own clock."""
        return formatting.exact_moment(self.alert.ends_at.astimezone(self.account.zone))

    @property
    def subject(self) -> str:
        """One line, short enough for a phone: Acme: Images generated at 95 %."""
        name = " ".join(self.account.name.split())
        short = name if len(name) <= NAME_AT_MOST else f"{name[: NAME_AT_MOST - 1]}…"
        verb = "reached" if self.is_cost else "at"
        return f"{short}: {' '.join(self.name.split())} {verb} {self.threshold}"

    @property
    def usage_url(self) -> str:
        return self._url("settings_usage")

    @property
    def upgrade_url(self) -> str:
        meter = self.alert.meter
        return self._url("upgrade", **({} if meter is None else {"meter": meter.slug}))

    @property
    def settings_url(self) -> str:
        return self._url("settings_alerts")

    def _url(self, page: str, **query: str) -> str:
        return f"{settings.BASE_URL}{reverse(page)}?{urlencode({'account': self.account.public_id, **query})}"

    def decimal(self, amount: int) -> Decimal:
        return Decimal(amount).scaleb(-self.places)

    def as_json(self) -> dict[str, Any]:
        """The alert as the API and the webhook show it; amounts are texts, as everywhere."""
        alert, percentage = self.alert, self.percentage
        return {
            "id": f"alr_{alert.pk}",
            "meter": None if alert.meter is None else alert.meter.slug,
            "name": self.name,
            "unit": self.unit,
            "scope": f"{alert.scope}:{self.who}" if self.who else alert.scope,
            "threshold": None if self.is_cost else str(alert.threshold),
            "threshold_cost": {"USD": cost_text(alert.threshold)} if self.is_cost else None,
            "used": self._text(alert.used),
            "limit": None if alert.whole is None or alert.is_included else self._text(alert.whole),
            "included": self._text(alert.whole) if alert.whole is not None and alert.is_included else None,
            "percentage": None if percentage is None else f"{percentage.normalize():f}",
            "window": alert.window_kind,
            "window_start": instant_text(alert.starts_at),
            "resets_at": instant_text(alert.ends_at),
            "crossed_at": instant_text(alert.created_at),
        }

    def _text(self, amount: int) -> str:
        return decimal_text(amount, self.places).rstrip("0").rstrip(".")


def _cost(amount: int) -> Decimal:
    value = scale_down(amount, COST_PLACES)
    assert value is not None
    return value


def facts_of(account: Account, alerts: Sequence[Alert]) -> list[Facts]:
    """Alerts of one account with the names behind their ids; the meters should be there already."""
    named = scopes.names({Scoped(alert.scope, alert.scope_id) for alert in alerts})
    return [Facts(alert, account, named[Scoped(alert.scope, alert.scope_id)]) for alert in alerts]
