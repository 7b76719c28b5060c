"""Changing a plan that is paid for: upgrade at once, downgrade and cancel at the period's end, undo.

Every act is a request to Stripe with an idempotency key of the form that was sent, then a look
at what came of it. Nothing here is changed because a request was answered.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.core import signing

from accounts import audit
from accounts.errors import DomainError, Invalid
from accounts.models import Account, User
from billing import paid_plans
from billing.models import Plan, StripeSubscription
from billing.stripe import client, prices, sync
from billing.stripe.access import GIVING
from billing.stripe.periods import Object

WAIT = timedelta(seconds=5)
SALT = "billing.plan_offer"
OFFER_HOLDS = timedelta(minutes=30)


class NotNow(DomainError):
    """What the subscription's state does not allow at the moment."""

    def __init__(self, message: str) -> None:
        super().__init__("not_now", message, 409, "plan")


@dataclass(frozen=True, slots=True)
class Quote:
    """What a change of plan comes to, as Stripe reckons it: what is due now, in its smallest unit."""

    plan: Plan
    amount_due: int
    currency: str
    offer: str  # sent back with the form, so that what was shown is what is paid


def of(account: Account) -> StripeSubscription:
    """The subscription that is changed, as it stands at Stripe now.

    Raises:
        NotNow: there is none that could be.
    """
    sync.sync_account(account, wait=WAIT)
    found = sync.live_subscription(account)
    if found is None or found.status == "incomplete":
        raise NotNow("This account pays for no plan yet. Buy one first.")
    return found


def is_upgrade(subscription: StripeSubscription, plan: Plan) -> bool:
    return subscription.plan is not None and plan.rank > subscription.plan.rank


def quote(account: Account, plan: Plan) -> Quote:
    """What an upgrade costs now, for the rest of the period."""
    subscription = of(account)
    refuse_upgrade(subscription)
    items = _items(subscription, plan)
    found = client.ask(
        lambda api: api.v1.invoices.create_preview(
            {
                "customer": subscription.customer.customer_id,
                "subscription": subscription.subscription_id,
                "subscription_details": {"items": items, "proration_behavior": "always_invoice"},
            }
        )
    )
    # Stripe's clock, not ours, says up to when it has reckoned.
    about = (found.get("parent") or {}).get("subscription_details") or {}
    at = about.get("subscription_proration_date")
    offer = signing.dumps([subscription.subscription_id, plan.code, at], salt=SALT)
    return Quote(plan, found.get("amount_due") or 0, (found.get("currency") or "usd").upper(), offer)


def refuse_upgrade(subscription: StripeSubscription) -> None:
    """Raises NotNow where an upgrade that then is not paid would not leave everything as it was."""
    if subscription.pending_plan is not None:
        raise NotNow("An upgrade waits for its payment already. Pay it, or wait until it lapses.")
    if subscription.ends_at is not None or subscription.next_plan is not None:
        raise NotNow("A change is scheduled already. Undo it first; then the plan can be upgraded.")


def _offered_at(offer: str, subscription: StripeSubscription, plan: Plan) -> int | None:
    """The instant up to which a quote has reckoned; None where nobody said.

    Raises:
        Invalid: field `offer`; it is none of ours, or was made for something else.
        NotNow: it is too old.
    """
    if not offer:
        return None
    try:
        id_, code, at = signing.loads(offer, salt=SALT, max_age=OFFER_HOLDS)
    except signing.SignatureExpired as error:
        raise NotNow("This amount was reckoned a while ago. Look at it again.") from error
    except (signing.BadSignature, ValueError) as error:
        raise Invalid("offer", "This offer was not made here.") from error
    if (id_, code) != (subscription.subscription_id, plan.code):
        raise Invalid("offer", "This offer was made for another change.")
    return int(at) if at else None


def change(account: Account, plan: Plan, *, actor: User, attempt: str, offer: str = "") -> StripeSubscription:
    """Upgrade at once, or go down at the period's end; to the free plan: cancel at the period's end.

    Args:
        attempt: of the form that was sent, so that sending it twice is doing it once.
        offer: of the quote that was looked at; an upgrade then costs what it said.

    Raises:
        Invalid: field `offer`; it is not of a quote for this change.
        NotNow: the account is on that plan, has to pay an invoice first, or has nothing to change.
        NotForSale: Stripe sells no such plan.
    """
    if not plan.price:
        if plan != paid_plans.fallback():
            raise prices.NotForSale(plan)
        return cancel(account, actor=actor, attempt=attempt)
    subscription = of(account)
    if subscription.plan == plan and subscription.next_plan is None and subscription.ends_at is None:
        raise NotNow(f"The account is on {plan.name} already.")
    if subscription.status not in GIVING:
        raise NotNow("A payment is open. Pay it first; then the plan can be changed.")
    if subscription.plan == plan:
        _go_on(subscription, attempt)  # what was scheduled is undone, and nothing else was wished
    elif is_upgrade(subscription, plan):
        at = _offered_at(offer, subscription, plan)
        refuse_upgrade(subscription)
        if subscription.schedule_id:  # what a downgrade left that was cut off: it changes nothing
            _release(subscription, attempt)
        _upgrade(subscription, _items(subscription, plan), attempt, at)
    elif subscription.ends_at is not None:
        raise NotNow("The plan is cancelled already. Undo that first; then another can follow.")
    else:
        _downgrade(subscription, plan, attempt)
    audit.write("subscription.change_asked", actor=actor, account=account, subject=plan.code)
    return of(account)


def cancel(account: Account, *, actor: User, attempt: str) -> StripeSubscription:
    """Let the subscription end with its period."""
    subscription = of(account)
    if subscription.schedule_id:
        _release(subscription, attempt)
    client.ask(
        lambda api: api.v1.subscriptions.update(
            subscription.subscription_id,
            {"cancel_at_period_end": True},
            _key("cancel", subscription, attempt),
        )
    )
    audit.write(
        "subscription.cancel_asked", actor=actor, account=account, subject=subscription.subscription_id
    )
    return of(account)


def undo(account: Account, *, actor: User, attempt: str) -> StripeSubscription:
    """Take back what was to come at the period's end."""
    subscription = of(account)
    _go_on(subscription, attempt)
    audit.write("subscription.undo_asked", actor=actor, account=account, subject=subscription.subscription_id)
    return of(account)


def _go_on(subscription: StripeSubscription, attempt: str) -> None:
    """End what is scheduled: a schedule is released, a cancel is withdrawn, whichever way it was set."""
    if subscription.schedule_id:
        _release(subscription, attempt)
    if subscription.ends_at is None:
        return
    found = client.retrieve("subscriptions", subscription.subscription_id)
    wish: Object = {"cancel_at_period_end": False} if found.get("cancel_at_period_end") else {"cancel_at": ""}
    client.ask(
        lambda api: api.v1.subscriptions.update(
            subscription.subscription_id,
            wish,
            _key("go-on", subscription, attempt),
        )
    )


def _release(subscription: StripeSubscription, attempt: str) -> None:
    client.ask(
        lambda api: api.v1.subscription_schedules.release(
            subscription.schedule_id, {}, _key("release", subscription, attempt)
        )
    )


def _items(subscription: StripeSubscription, plan: Plan) -> list[dict[str, object]]:
    """The items that make a subscription one of another plan."""
    items: list[dict[str, object]] = [{"id": subscription.item_id, "price": prices.price_of(plan).price_id}]
    items += [{"id": item_id, "deleted": True} for item_id in subscription.metered_items.values()]
    items += [{"price": metered.price_id} for metered in prices.metered_prices(plan).values()]
    return items


def _upgrade(
    subscription: StripeSubscription, items: list[dict[str, object]], attempt: str, at: int | None
) -> None:
    """The plan changes only when the difference is paid; until then Stripe keeps the change pending."""
    reckoned: Object = {} if at is None else {"proration_date": at}
    client.ask(
        lambda api: api.v1.subscriptions.update(
            subscription.subscription_id,
            {
                "items": items,
                "proration_behavior": "always_invoice",
                "payment_behavior": "pending_if_incomplete",
                **reckoned,
            },
            _key("upgrade", subscription, attempt),
        )
    )


def _downgrade(subscription: StripeSubscription, plan: Plan, attempt: str) -> None:
    """Let another plan follow the running phase; one that was to follow before makes room for it.

    Cut off between the two requests, it leaves a schedule that changes nothing, and the next
    attempt goes on with that.
    """
    if subscription.schedule_id:
        schedule = client.retrieve("subscription_schedules", subscription.schedule_id)
    else:
        schedule = client.ask(
            lambda api: api.v1.subscription_schedules.create(
                {"from_subscription": subscription.subscription_id},
                _key("schedule", subscription, attempt),
            )
        )
    first = _running_phase(schedule)
    kept = [
        {"price": item["price"], **({"quantity": item["quantity"]} if item.get("quantity") else {})}
        for item in first.get("items") or ()
    ]
    following = [{"price": prices.price_of(plan).price_id, "quantity": 1}]
    following += [{"price": metered.price_id} for metered in prices.metered_prices(plan).values()]
    end = first.get("end_date")
    phases = [
        {"items": kept, "start_date": first.get("start_date"), "end_date": end},
        {
            "items": following,
            "start_date": end,
            "duration": {"interval": plan.interval, "interval_count": 1},
        },
    ]
    client.ask(
        lambda api: api.v1.subscription_schedules.update(
            schedule["id"],
            {"phases": phases, "end_behavior": "release", "proration_behavior": "none"},
            _key("phases", subscription, attempt),
        )
    )


def _running_phase(schedule: Object) -> Object:
    phases = schedule.get("phases") or [{}]
    running = (schedule.get("current_phase") or {}).get("start_date")
    return next((phase for phase in phases if phase.get("start_date") == running), phases[0])


def _key(act: str, subscription: StripeSubscription, attempt: str) -> dict[str, str]:
    return {"idempotency_key": f"tollgate-{act}-{subscription.subscription_id}-{attempt}"}
