"""The REST endpoints that show plan and price beside usage."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import account_of, caller_of
from accounts.errors import NotYours
from accounts.models import Account
from billing import analytics, period_charges, schema, versions
from billing.models import Plan
from billing.plans import notice_of, period_of, plan_in_force, subscription_of
from billing.versions import Look
from usage import campaigns, events, overview, parameters, queries
from usage import price_book as price_books
from usage.costs import total
from usage.estimates import estimate
from usage.fields import amount_text
from usage.models import PricingConfig
from usage.overview import Overview
from usage.parsers import JSON, read_body, sent_as
from usage.quotas import status as quota_status
from usage.representation import instant_text
from usage.versions import totals_of


class Current(APIView):
    """The account now: plan, meters, this month's summary and cost, lifetime cost."""

    scope = "usage:read"

    @extend_schema(**schema.CURRENT)
    def get(self, request: Request) -> Response:
        account = account_of(request)
        campaign_id = named_campaign(account, request.query_params.get("campaign"))
        look = versions.look(account, timezone.now())
        # Whoever holds nothing gets the answer anyhow: then the totals are read once for both.
        is_poll = campaign_id is not None or "If-None-Match" in request.headers
        whole = None if is_poll else overview_of(look)
        totals = totals_of(account) if whole is None else whole.totals
        etag = look.etag(totals, look.scope_names(), "current", campaign_id)
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if versions.is_held_already(request._request, etag):
            return Response(status=304, headers=headers)
        return Response(current(look, campaign_id, whole), headers=headers)


def named_campaign(account: Account, name: str | None) -> int | None:
    """The id of the campaign that a reader asks for; None when they ask for none.

    Raises:
        NotYours: the account has no such campaign.
    """
    if name is None:
        return None
    found = campaigns.find(account, name)
    if found is None:
        raise NotYours("unknown_campaign", f"There is no campaign {name!r}.")
    return found.pk


def overview_of(look: Look) -> Overview:
    """The account's totals, with those of the calendar month in detail."""
    days = queries.month_of(look.now.astimezone(look.account.zone).date())
    return overview.read(look.account, *days, price_books.as_of(look.seen.catalogue), is_by_day=False)


def current(look: Look, campaign_id: int | None = None, whole: Overview | None = None) -> dict[str, Any]:
    """What `usage/current` answers: plan, period, meters, and the calendar month's summary and cost.

    Args:
        campaign_id: only the usage, cost and quotas of this campaign.
        whole: the account's `overview_of`, where the caller has it.
    """
    account, plan, now = look.account, look.plan, look.now
    book = price_books.as_of(look.seen.catalogue)
    period = period_of(look.subscription, now)
    start, end = queries.month_of(now.astimezone(account.zone).date())
    rows = idle_since = None
    if campaign_id is None:
        whole = whole or overview_of(look)
        lifetime, rows, idle_since = whole.lifetime, whole.operation_rows(), whole.last_day
    else:
        lifetime = queries.cost(account, book=book, campaign_id=campaign_id)
    summary = queries.summary(account, start, end, book, campaign_id, rows=rows)
    month = total((entry.cost for entry in summary.by_operation.values()), book)
    meters = quota_status.everything(
        account,
        now,
        book,
        campaign_id,
        month=summary.by_operation,
        revision=look.seen.revision,
        idle_since=idle_since,
    )
    charge = None
    if campaign_id is None:
        running = period_charges.running(
            look.subscription, now, book, meters, revision=look.seen.revision, was_billed=look.was_billed
        )
        charge = period_charges.text(running.total)
    return {
        "account": account.public_id,
        "plan": plan_named(plan),
        "period": {"start": instant_text(period.start), "end": instant_text(period.end)},
        "meters": [meter.as_json() for meter in meters],
        "summary": {
            "operations": summary.operations,
            "references": summary.references,
            "by_operation": {
                slug: {"count": entry.count, "cost": entry.cost.as_json()}
                for slug, entry in summary.by_operation.items()
            },
            "last_used_at": None if summary.last_used_at is None else instant_text(summary.last_used_at),
        },
        "cost": month.as_json(),
        "lifetime_cost": lifetime.as_json(),
        "charge": charge,
        "notice": notice_of(plan),
    }


def plan_named(plan: Plan) -> dict[str, str]:
    return {"code": plan.code, "name": plan.name, "description": plan.description}


class Estimate(APIView):
    """What a record would cost; nothing is stored."""

    scope = "billing:read"

    @extend_schema(**schema.ESTIMATE)
    def post(self, request: Request) -> Response:
        sent_as(request, JSON)
        event = events.decode_one(read_body(request._request))
        return Response(estimate(event, caller_of(request), timezone.now()))


class Plans(APIView):
    """The plans, in the order of the upgrade page."""

    scope = "billing:read"

    @extend_schema(**schema.PLANS)
    def get(self, request: Request) -> Response:
        plans = Plan.objects.prefetch_related("limits__meter", "limits__tiers")
        return Response({"results": [plan_document(plan) for plan in plans]})


def plan_document(plan: Plan) -> dict[str, Any]:
    return {
        **plan_named(plan),
        "rank": plan.rank,
        "price": None if plan.price is None else _plain(plan.price),
        "currency": "USD",
        "interval": plan.interval,
        "is_default": plan.is_default,
        "alerts": plan.alerts,
        "requests_per_minute": plan.requests_per_minute,
        "tokens_per_minute": plan.tokens_per_minute,
        "limits": [
            {
                "meter": limit.meter.slug,
                "name": limit.meter.name,
                "unit": limit.meter.shown_as,
                "limit": None if limit.limit is None else _plain(limit.limit),
                "included": None if limit.included is None else _plain(limit.included),
                "overage_price": None if limit.overage_price is None else _plain(limit.overage_price),
                "overage_model": limit.overage_model,
                "package_size": None if limit.package_size is None else _plain(limit.package_size),
                "tiers": [
                    {
                        "up_to": None if tier.up_to is None else _plain(tier.up_to),
                        "unit_price": _plain(tier.unit_price),
                        "flat_fee": _plain(tier.flat_fee),
                    }
                    for tier in limit.tiers.all()
                ],
                "enforcement": limit.enforcement,
                "window": limit.window,
            }
            for limit in plan.limits.all()
        ],
    }


def _plain(value: object) -> str:
    return f"{value.normalize():f}"  # type: ignore[attr-defined]


class Prices(APIView):
    """The price list in force now, or at `?at=`."""

    scope = "billing:read"

    @extend_schema(**schema.PRICES)
    def get(self, request: Request) -> Response:
        at = timezone.now()
        if request.query_params.get("at"):
            account = caller_of(request).account or Account(time_zone="UTC")
            limit = parameters.bound(request.query_params, "at", account)
            at = limit.instant if limit else at
        return Response({"at": instant_text(at), "results": prices_at(at)})


def prices_at(at: datetime) -> list[dict[str, Any]]:
    """Every rate in force at an instant, by provider, model, operation, variant and unit."""
    book = price_books.current()
    in_force: dict[int, tuple] = {}
    for (key, unit_id), timeline in book.timelines.items():
        rate = timeline.at(at)
        if rate is not None:
            in_force[rate.id] = (*key, book.unit(unit_id).slug, rate)
    configs = PricingConfig.objects.filter(rates__in=in_force)
    dated = {
        pk: (start, source)
        for pk, start, source in configs.values_list("rates__id", "effective_from", "source")
    }
    return [
        {
            "rate": f"rate_{rate.id}",
            "provider": provider,
            "model": model,
            "operation": operation,
            "variant": variant,
            "unit": unit,
            "price": amount_text(rate.price) or "0",
            "per": str(rate.per),
            "currency": "USD",
            "effective_from": instant_text(dated[rate.id][0]),
            "source": dated[rate.id][1],
        }
        for provider, model, operation, variant, unit, rate in sorted(
            in_force.values(), key=lambda row: row[:5]
        )
    ]


class SubscriptionView(APIView):
    """The plan that the account is on, and since when."""

    scope = "billing:read"

    @extend_schema(**schema.SUBSCRIPTION)
    def get(self, request: Request) -> Response:
        account = account_of(request)
        subscription = subscription_of(account)
        now = timezone.now()
        plan, period = plan_in_force(subscription, now), period_of(subscription, now)
        following = subscription.next_plan if plan == subscription.plan else None
        return Response(
            {
                "account": account.public_id,
                "plan": plan_document(plan),
                "started_at": instant_text(subscription.started_at),
                "period": {"start": instant_text(period.start), "end": instant_text(period.end)},
                "next_plan": None if following is None else plan_named(following),
                "next_at": None
                if following is None or subscription.next_at is None
                else instant_text(subscription.next_at),
                "charge": period_charges.as_json(period_charges.running(subscription, now).charge),
            }
        )


class Analytics(APIView):
    """Usage and cost per kind of operation, as the voice agent's dashboard reads it."""

    scope = "billing:read"

    @extend_schema(**schema.ANALYTICS)
    def get(self, request: Request) -> Response:
        params = request.query_params
        account = account_of(request)
        start, end = analytics.period(params, account)
        data = analytics.analytics(account, start, end, analytics.days(params))
        return Response({"success": True, "data": data})
