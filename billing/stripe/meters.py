"""Overage to Stripe as billing meter events: each quantity counted once, whatever is lost on the way.

What a period's usage comes to beyond the included quantity only grows, mostly; what of it has not
been queued becomes a row of the outbox, and a row is sent with its own identifier until Stripe has
it. Stripe knows an identifier again for 24 hours at least (docs: meter events), so within a day
the same request is simply repeated; later Stripe's summaries say whether it was counted. Events
further back than 35 days are not taken.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import IntegrityError, transaction
from django.db.models import F, Sum
from django.utils import timezone

from accounts.models import Account
from billing import period_charges, plans, timeline
from billing.models import MeterEvent, Plan, StripeFinding, StripeSubscription
from billing.stripe import access, client, findings
from usage import price_book as price_books
from usage.fields import scale_up
from usage.models import Meter, Window, WindowKind
from usage.price_book import MeterEntry
from usage.quotas import windows
from usage.quotas.windows import Span

State = MeterEvent.State
REPEATED_WITHIN = timedelta(hours=23)  # an hour less than an identifier is known for
PAST_AT_MOST = timedelta(days=35)
LATE = timedelta(days=30)
STILL_BILLED = timedelta(hours=1)  # a renewal's invoice is a draft for that long
AGGREGATED_AFTER = timedelta(hours=1)
QUEUED_AT_ONCE = 50
SENT_AT_ONCE = 100
MINUTE = timedelta(minutes=1)
TAKEN_ALREADY = frozenset({"resource_already_exists", "duplicate_meter_event"})


def event_name(slug: str) -> str:
    """What a meter is called at Stripe."""
    return f"tollgate_{slug}"


# What is to be sent


def reporting(after: int = 0) -> list[StripeSubscription]:
    """Some subscriptions that pay for metered usage, by their id."""
    alive = StripeSubscription.objects.exclude(status__in=access.ENDED).exclude(metered_items={})
    rows = alive.filter(pk__gt=after, customer__deleted_at=None, plan__isnull=False)
    return list(rows.select_related("customer__account", "plan").order_by("pk")[:QUEUED_AT_ONCE])


def queue_of(subscription: StripeSubscription, now: datetime) -> int:
    """Queue what a subscription's usage has come to beyond what is queued already; how many rows."""
    account, plan = subscription.customer.account, subscription.plan
    if plan is None or subscription.period_start is None or subscription.period_end is None:
        return 0
    spans = [Span(subscription.period_start, subscription.period_end)]
    if now - subscription.period_start < STILL_BILLED:
        kind = windows.kind_of(WindowKind.BILLING_PERIOD, plans.months_of(plan))
        before = Window.objects.filter(account=account, kind=kind, ends_at=subscription.period_start).first()
        if before is not None and before.is_copied:
            spans.append(Span(before.starts_at, before.ends_at))
    queued = 0
    for span in spans:
        if span.start <= now:
            for meter, total in beyond(account, plan, span, set(subscription.metered_items)):
                queued += _queue(subscription, meter, span, total, now)
    return queued


def beyond(account: Account, plan: Plan, span: Span, slugs: set[str]) -> Iterator[tuple[MeterEntry, int]]:
    """What was used of some meters beyond what a plan includes, while that plan was in force in a period."""
    book = price_books.current()
    steps = timeline.steps_of(account, timezone.now()) or [(span.start, plan)]
    held = [part for part, its_plan in timeline.segments(steps, *span) if its_plan == plan]
    terms = period_charges.terms_of([plan])[plan.code]
    used: dict[str, Decimal] = {}
    for part in held:
        for slug, days in period_charges.used_in(account, part, terms, book).items():
            used[slug] = used.get(slug, Decimal(0)) + sum(days.values())
    for overage in terms.overages:
        meter = next((m for m in book.meters if m.slug == overage.meter), None)
        if meter is not None and overage.meter in slugs:
            yield meter, scale_up(overage.beyond(used.get(overage.meter, Decimal(0))), meter.places)


def _queue(
    subscription: StripeSubscription, meter: MeterEntry, span: Span, total: int, now: datetime
) -> bool:
    account = subscription.customer.account
    rows = MeterEvent.objects.filter(account=account, meter_id=meter.id, period_start=span.start)
    before = rows.aggregate(all=Sum("value"))["all"] or 0
    if total <= before:  # taken back, it waits until it has risen past what was sent
        return False
    first, last = counted_span(span)
    seconds = int(span.start.timestamp())
    try:
        with transaction.atomic():
            MeterEvent.objects.create(
                account=account,
                customer_id=subscription.customer.customer_id,
                meter_id=meter.id,
                period_start=span.start,
                period_end=span.end,
                from_total=before,
                value=total - before,
                at=min(max(now, first), last - timedelta(seconds=1)),
                identifier=f"{account.public_id}-{meter.id}-{seconds}-{before}",
            )
    except IntegrityError:  # somebody else has reckoned the same
        return False
    return True


def counted_span(span: Span) -> Span:
    """A period in whole minutes, as Stripe's summaries ask for it; every event lies in it."""
    start = span.start if not _rest(span.start) else span.start + MINUTE - _rest(span.start)
    return Span(start, max(start + MINUTE, span.end - _rest(span.end)))


def _rest(at: datetime) -> timedelta:
    return timedelta(seconds=at.second, microseconds=at.microsecond)


# Sending it


def send_some(now: datetime) -> int:
    """Send what waits, oldest first; how many were looked at.

    Raises:
        StripeAway: it is away; what waits goes on waiting.
    """
    rows = list(
        MeterEvent.objects.filter(state=State.QUEUED)
        .select_related("account", "meter")
        .order_by("id")[:SENT_AT_ONCE]
    )
    for row in rows:
        send(row, now)
    return len(rows)


def send(row: MeterEvent, now: datetime) -> None:
    """Send one row, if it may still be sent."""
    if now - row.at > PAST_AT_MOST:
        _die(row, "Older than 35 days, which Stripe does not take.")
        return
    if now - row.at > LATE:
        message = (
            f"Overage of {row.account.name} is {(now - row.at).days} days late and is lost to Stripe at 35."
        )
        findings.report(StripeFinding.Kind.METERS, f"late:{row.identifier}", message, account=row.account)
    is_forgotten = row.first_tried_at is not None and now - row.first_tried_at > REPEATED_WITHIN
    if is_forgotten and not _may_be_sent(row):
        return
    # From here on it may have been taken, whatever becomes of us.
    ours = MeterEvent.objects.filter(pk=row.pk, state=State.QUEUED)
    if row.first_tried_at is None:
        ours.filter(first_tried_at=None).update(first_tried_at=now)
    if not ours.update(attempts=F("attempts") + 1):
        return
    try:
        client.ask(lambda api: api.v1.billing.meter_events.create(_parameters(row)))
    except client.StripeRefused as error:
        if error.code not in TAKEN_ALREADY:
            _die(row, error.message)
            return
    _sent(row)


def _parameters(row: MeterEvent) -> dict[str, object]:
    return {
        "event_name": event_name(row.meter.slug),
        "identifier": row.identifier,
        "timestamp": int(row.at.timestamp()),
        "payload": {"stripe_customer_id": row.customer_id, "value": str(row.value)},
    }


def _sent(row: MeterEvent) -> None:
    ours = MeterEvent.objects.filter(pk=row.pk, state=State.QUEUED)
    ours.update(state=State.SENT, sent_at=timezone.now(), error="")
    findings.settle(StripeFinding.Kind.METERS, f"late:{row.identifier}", "sent")


def _die(row: MeterEvent, error: str) -> None:
    MeterEvent.objects.filter(pk=row.pk, state=State.QUEUED).update(state=State.DEAD, error=error)
    message = f"Overage of {row.account.name} ({row.meter.slug}) did not reach Stripe: {error}"
    findings.report(StripeFinding.Kind.METERS, f"dead:{row.identifier}", message, account=row.account)


def _may_be_sent(row: MeterEvent) -> bool:
    """Whether a row may be sent again that was tried longer ago than its identifier is known.

    It may when Stripe has not counted it; when it has, it is noted as sent.
    """
    sent = _sum_sent(row)
    counted = stripes_total(row.customer_id, row.meter, Span(row.period_start, row.period_end))
    if counted >= sent + row.value:
        _sent(row)
        return False
    if counted == sent:
        MeterEvent.objects.filter(pk=row.pk).update(first_tried_at=None)
        row.first_tried_at = None
        return True
    _report(row.account, row.customer_id, row.meter, sent, counted)
    return False


def _sum_sent(row: MeterEvent) -> int:
    same = MeterEvent.objects.filter(
        customer_id=row.customer_id, meter=row.meter, period_start=row.period_start, state=State.SENT
    )
    return same.aggregate(all=Sum("value"))["all"] or 0


def stripes_total(customer_id: str, meter: Meter, span: Span) -> int:
    """What Stripe has counted of a meter for a customer in a period."""
    name = event_name(meter.slug)
    found = next((m for m in client.listed("billing.meters") if m.get("event_name") == name), None)
    if found is None:
        return 0
    start, end = counted_span(span)
    asked = {
        "customer": customer_id,
        "start_time": int(start.timestamp()),
        "end_time": int(end.timestamp()),
        "limit": 100,
    }
    rows = client.every(lambda api: api.v1.billing.meters.event_summaries.list(found["id"], asked))
    return sum(int(row.get("aggregated_value") or 0) for row in rows)


def retry(event_id: int) -> bool:
    """Let a dead row be sent once more; False when it is not dead."""
    dead = MeterEvent.objects.filter(pk=event_id, state=State.DEAD)
    return bool(dead.update(state=State.QUEUED, error="", attempts=0))


# Whether Stripe counts the same


def compare(now: datetime) -> int:
    """Hold what was sent lately against Stripe's summaries; how many differ."""
    settled = MeterEvent.objects.filter(state=State.SENT, period_end__gt=now - timedelta(days=3))
    groups = (
        settled.values("account_id", "customer_id", "meter_id", "period_start", "period_end")
        .annotate(all=Sum("value"))
        .order_by("account_id", "meter_id", "period_start")
    )
    fresh = set(settled.filter(sent_at__gt=now - AGGREGATED_AFTER).values_list("customer_id", flat=True))
    different = 0
    for group in groups:
        if group["customer_id"] in fresh:  # Stripe adds up in the background
            continue
        meter = Meter.objects.get(pk=group["meter_id"])
        account = Account.objects.get(pk=group["account_id"])
        span = Span(group["period_start"].astimezone(UTC), group["period_end"].astimezone(UTC))
        counted = stripes_total(group["customer_id"], meter, span)
        if counted != group["all"]:
            different += 1
            _report(account, group["customer_id"], meter, group["all"], counted)
        else:
            findings.settle(StripeFinding.Kind.METERS, f"{group['customer_id']}:{meter.slug}", "compared")
    return different


def _report(account: Account, customer_id: str, meter: Meter, sent: int, counted: int) -> None:
    message = f"Stripe has counted {counted} of {meter.slug} for {account.name}, and {sent} were sent."
    findings.report(
        StripeFinding.Kind.METERS,
        f"{customer_id}:{meter.slug}",
        message,
        account=account,
        ours={"sent": sent},
        stripes={"counted": counted},
    )
