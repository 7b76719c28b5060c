"""Writing down what staff should know of: once while it is open, and counted when it comes again."""

import logging

from django.db.models import F, QuerySet
from django.utils import timezone

from accounts.models import Account
from billing.models import StripeFinding

logger = logging.getLogger("tollgate.stripe")
Kind = StripeFinding.Kind


def report(
    kind: str,
    name: str,
    message: str,
    *,
    account: Account | None = None,
    ours: object = None,
    stripes: object = None,
    is_settled: bool = False,
) -> None:
    """Write a finding down, or count it again where the same one is open already.

    Args:
        name: the object, version or price that it is about.
        ours, stripes: JSON-ready, what stood here and what Stripe says.
        is_settled: it has been put right by whoever found it.
    """
    now = timezone.now()
    log = logger.warning if is_settled else logger.error
    log("%s: %s", kind, message)
    values = {"message": message[:500], "ours": ours, "stripes": stripes}
    if is_settled:
        StripeFinding.objects.create(
            kind=kind, name=name[:255], account=account, settled_at=now, settled_by="sync", **values
        )
        return
    found, is_new = StripeFinding.objects.get_or_create(
        open_as=f"{kind}:{name}"[:300],
        defaults={"kind": kind, "name": name[:255], "account": account, **values},
    )
    if not is_new:
        StripeFinding.objects.filter(pk=found.pk).update(times=F("times") + 1, last_found_at=now, **values)


def settle(kind: str, name: str, by: str) -> None:
    """What was found is not so any more."""
    StripeFinding.objects.filter(open_as=f"{kind}:{name}"[:300]).update(
        open_as=None, settled_at=timezone.now(), settled_by=by
    )


def settle_one(finding_id: int, by: str) -> bool:
    """Somebody has seen to a finding; False when it was settled before."""
    still_open = StripeFinding.objects.filter(pk=finding_id, settled_at=None)
    return bool(still_open.update(open_as=None, settled_at=timezone.now(), settled_by=by))


def open_ones() -> QuerySet:
    """Those that wait for somebody."""
    return StripeFinding.objects.filter(settled_at=None)
