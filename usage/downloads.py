"""What usage holds of an account, as files of the archive that its owner may take away."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from accounts.downloads import PAGE, by_key, document, lines, part, parts_of_an_account
from accounts.models import Account
from usage import exports, parameters, price_book
from usage.alerts import reports, rules
from usage.fields import scale_down
from usage.models import AlertRule, Campaign, Quota, Reservation, Reversal
from usage.quotas import scopes
from usage.quotas.scopes import Scoped
from usage.representation import record_id_text


@part(
    parts_of_an_account,
    "ledger.jsonl",
    "Every usage record with its cost lines, and refusals by minute, newest first, as the API shows them.",
)
def _ledger(account: Account) -> Iterator[bytes]:
    return exports.as_jsonl(parameters.listed({}, account), price_book.current())


@part(parts_of_an_account, "reversals.jsonl", "Which record was taken back by which, and why.")
def _reversals(account: Account) -> Iterator[bytes]:
    rows = Reversal.objects.filter(account=account).select_related("key")
    return lines(
        {
            "record": record_id_text(row.original_id),
            "reversed_by": record_id_text(row.record_id),
            "key": row.key.prefix if row.key else None,
            "reason": row.reason,
        }
        for row in by_key(rows)
    )


@part(parts_of_an_account, "campaigns.jsonl", "Campaigns, and when they were archived.")
def _campaigns(account: Account) -> Iterator[bytes]:
    rows = Campaign.objects.filter(account=account)
    return lines(
        {"id": f"cmp_{row.pk}", "name": row.name, "archived_at": row.archived_at} for row in by_key(rows)
    )


@part(
    parts_of_an_account,
    "quotas.jsonl",
    "Limits on what may be used: those of plans, and those set beside them.",
)
def _quotas(account: Account) -> Iterator[bytes]:
    rows = by_key(Quota.objects.filter(account=account).select_related("meter"))
    return lines(_quota(row) for row in rows)


def _quota(quota: Quota) -> dict[str, object]:
    scoped = Scoped(quota.scope, quota.scope_id)
    places = quota.meter.places
    return {
        "meter": quota.meter.slug,
        "scope": quota.scope,
        "who": scopes.names([scoped])[scoped] if quota.scope_id else None,
        "window": quota.window,
        "limit": _plain(scale_down(quota.limit, places)),
        "included": _plain(scale_down(quota.included, places)),
        "overage_price_usd": _plain(quota.overage_price),
        "enforcement": quota.enforcement,
        "source": quota.source,
        "starts_at": quota.starts_at,
        "ends_at": quota.ends_at,
        "reason": quota.reason,
        "set_by": quota.set_by,
    }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else f"{value.normalize():f}"


@part(parts_of_an_account, "reservations.jsonl", "Room that was held before work, and what became of it.")
def _reservations(account: Account) -> Iterator[bytes]:
    rows: QuerySet[Any] = Reservation.objects.filter(account=account).select_related("operation", "key")
    return lines(
        {
            "id": f"res_{row.pk}",
            "operation": row.operation.slug,
            "key": row.key.prefix if row.key else None,
            "state": row.get_state_display(),
            "created_at": row.created_at,
            "expires_at": row.expires_at,
            "resolved_at": row.resolved_at,
            "record": record_id_text(row.record_id) if row.record_id else None,
        }
        for row in by_key(rows)
    )


@part(
    parts_of_an_account,
    "alert_settings.json",
    "From which thresholds on alerts are told, to whom, and the address of the webhook.",
)
def _alert_settings(account: Account) -> Iterator[bytes]:
    chosen = rules.settings_of(account.pk)
    own = AlertRule.objects.filter(account=account).order_by("pk")
    return document(
        {
            "percentages": dict(own.values_list("meter__slug", "percentages")),
            "cost_usd": chosen.cost_amounts,
            "mail_to": chosen.mail_to,
            "webhook": chosen.webhook_url or None,
        }
    )


@part(parts_of_an_account, "alerts.jsonl", "Thresholds that were reached, and what became of the messages.")
def _alerts(account: Account) -> Iterator[bytes]:
    return lines(_told(account))


def _told(account: Account) -> Iterator[dict[str, object]]:
    before: int | None = None
    while True:
        told, before = reports.page(account, before=before, size=PAGE)
        yield from (one.as_json() for one in told)
        if before is None:
            return
