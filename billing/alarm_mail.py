"""What a cost alarm says when it has fired."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.urls import reverse

from billing import net_links
from billing.models import CostAlarm, CostAlarmFiring
from billing.models.alarms import REACHED
from usage import formatting
from usage.fields import round_half_even

Window = CostAlarm.Window


@dataclass(frozen=True, slots=True)
class Facts:
    """A firing in words."""

    firing: CostAlarmFiring

    @property
    def alarm(self) -> CostAlarm:
        return self.firing.alarm

    @property
    def is_warning(self) -> bool:
        return self.firing.percent < REACHED

    @property
    def reached(self) -> str:
        """What was reached: $500.00, or 80 % of it."""
        amount = formatting.money(self.firing.amount, "USD")
        return f"{self.firing.percent} % of {amount}" if self.is_warning else amount

    @property
    def standing(self) -> str:
        """$512.30 of $500.00 (102.5 %)."""
        return standing(self.firing.cost, self.firing.amount)

    @property
    def subject(self) -> str:
        return f"{' '.join(self.alarm.name.split())}: cost has reached {self.reached}"

    @property
    def window(self) -> str:
        return window_name(self.alarm.window, self.firing)

    @property
    def parts(self) -> list[tuple[str, str]]:
        return parts_of(self.alarm)

    @property
    def url(self) -> str:
        filters = {name: value for name, value in filters_of(self.alarm).items() if value}
        return net_links.net_billing(self.firing.window_start, self.firing.window_end, filters)

    @property
    def alarm_url(self) -> str:
        return f"{settings.BASE_URL}{reverse('admin:billing_costalarm_change', args=[self.alarm.pk])}"


def filters_of(alarm: CostAlarm) -> dict[str, str]:
    """The filters of Net billing that show what an alarm counts."""
    model = alarm.model
    return {
        "operation": alarm.operation.slug if alarm.operation else "",
        "model": model.name if model else "",
        "provider": alarm.provider or (model.provider if model else ""),
    }


def parts_of(alarm: CostAlarm) -> list[tuple[str, str]]:
    """What an alarm counts only, in words; nothing when it counts all."""
    found = [
        ("provider", alarm.provider),
        ("operation", alarm.operation.slug if alarm.operation else ""),
        ("model", str(alarm.model) if alarm.model else ""),
    ]
    return [(name, value) for name, value in found if value]


def window_name(kind: str, firing: CostAlarmFiring) -> str:
    """26 Nov 2026; the week of 23 Nov 2026; November 2026."""
    if kind == Window.DAY:
        return formatting.day(firing.window_start)
    if kind == Window.WEEK:
        return f"the week of {formatting.day(firing.window_start)}"
    return formatting.month(firing.window_start)


def standing(cost: Decimal, amount: Decimal) -> str:
    """How a cost stands to an amount: $512.30 of $500.00 (102.5 %)."""
    share = formatting.quantity(round_half_even(cost * 100 / amount, 1))
    return f"{formatting.money(cost, 'USD')} of {formatting.money(amount, 'USD')} ({share} %)"


def message(firing: CostAlarmFiring, to: Sequence[str]) -> EmailMultiAlternatives:
    facts = Facts(firing)
    context = {"facts": facts}
    mail = EmailMultiAlternatives(
        facts.subject, render_to_string("emails/cost_alarm.txt", context), to=list(to)
    )
    mail.attach_alternative(render_to_string("emails/cost_alarm.html", context), "text/html")
    return mail
