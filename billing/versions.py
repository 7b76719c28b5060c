"""What a poll is answered by: the version of all that an account is shown, found without showing it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.utils.http import parse_etags

from accounts.models import Account
from billing.models import BilledPeriod, Plan, StripeCustomer, Subscription
from billing.plans import plan_in_force
from usage import versions
from usage.quotas.scopes import Scoped
from usage.versions import Totals, Watched


@dataclass(frozen=True, slots=True)
class Look:
    """One look at an account before anything of it is read: whatever changes later is newer than it."""

    subscription: Subscription
    plan: Plan
    seen: Watched
    now: datetime
    was_billed: bool  # a period with overage was closed
    buys: bool  # it has a customer at Stripe

    @property
    def account(self) -> Account:
        return self.subscription.account

    def scope_names(self) -> dict[Scoped, str]:
        return versions.scope_names(self.account, self.seen, self.now)

    def etag(self, totals: Totals, names: Mapping[Scoped, str], *more: object) -> str:
        """The version as an entity tag.

        Args:
            totals: of the account, however they were read.
            names: `scope_names`.
            more: what tells one way of showing it from another.
        """
        plan = self.plan
        shown = (plan.pk, plan.revision, plan.code, plan.name, plan.description, plan.price, *more)
        return f'"{versions.version(self.account, self.seen, totals, names, self.now, shown)}"'


def look(account: Account, now: datetime) -> Look:
    """The account's plan and whatever else is watched of it, in one statement."""
    rows = Subscription.objects.select_related("account", "plan", "next_plan")
    mine = {"account_id": OuterRef("account_id")}
    subscription = rows.annotate(
        **versions.watched("account_id", now),
        was_billed=Exists(BilledPeriod.objects.filter(has_overage=True, **mine)),
        buys=Exists(StripeCustomer.objects.filter(**mine)),
    ).get(account=account)
    seen = versions.watched_of(subscription, subscription.account)
    plan = plan_in_force(subscription, now)
    return Look(subscription, plan, seen, now, subscription.was_billed, subscription.buys)


def is_held_already(request: HttpRequest, etag: str) -> bool:
    """Whether If-None-Match names this answer; a proxy that compresses makes its tags weak."""
    held = parse_etags(request.headers.get("If-None-Match", ""))
    return "*" in held or any(tag.removeprefix("W/") == etag for tag in held)
