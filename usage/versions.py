"""The version of an account's usage: another one whenever anything could read differently than before.

Whoever shows usage answers a poll by it, so it costs two small statements, whatever it is compared for:
one for what is counted (`watched`), one for the totals. It has to hold

- the totals: every record adds to them, with the number of reversals, since a record and its reversal
  together leave the sums as they were;
- the account's revision: its quotas, windows and balances; the catalogue's version: prices, meters,
  exchange rates, names;
- the reservations that are open and have not expired, which the clock ends without a write;
- the clock: the local day, the windows that are running, and when other quotas come into force.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, OuterRef, QuerySet, Subquery, Sum
from django.db.models.expressions import Combinable

from accounts.models import Account
from usage.fields import ExactTotal
from usage.models import CatalogueVersion, Reservation, Reversal, RollupDay
from usage.quotas import scopes
from usage.quotas import state as quota_state
from usage.quotas.scopes import Scoped
from usage.quotas.state import AccountQuotas

FORM = 1  # moved with the form of what is shown, so that nobody goes on with the old one
SUMS = ("records", "cost")


class Totals(NamedTuple):
    """The sums over all days of an account; cost in 10⁻¹⁰ USD."""

    records: int = 0
    cost: int = 0


class Watched(NamedTuple):
    """What else is looked at in the database, in one statement with the account's own row."""

    revision: int
    catalogue: int
    reversals: int
    reservations: int
    reservations_sum: int


def watched(account_id: str, now: datetime) -> dict[str, Combinable]:
    """Columns that make a `Watched`, for a query over rows that name an account.

    Args:
        account_id: what the account's id is called in that query.
    """
    its = {"account_id": OuterRef(account_id)}
    is_open = Reservation.objects.filter(**its, state=Reservation.State.OPEN, expires_at__gt=now)
    return {
        "watched_catalogue": Subquery(CatalogueVersion.objects.filter(pk=1).values("version")),
        "watched_reversals": _one(Reversal.objects.filter(**its), Count("pk")),
        "watched_reservations": _one(is_open, Count("pk")),
        "watched_reservations_sum": _one(is_open, Sum("pk")),
    }


def _one(rows: QuerySet, what: Count | Sum) -> Subquery:
    return Subquery(rows.order_by().values("account_id").annotate(found=what).values("found"))


def watched_of(row: Any, account: Account) -> Watched:
    """What a row says that was read with the columns of `watched`, and its account with it."""
    return Watched(
        account.revision,
        row.watched_catalogue or 0,
        row.watched_reversals or 0,
        row.watched_reservations or 0,
        int(row.watched_reservations_sum or 0),
    )


def totals_of(account: Account) -> Totals:
    """The sums over all of an account's days, in one statement."""
    rows = RollupDay.objects.filter(account_id=account.pk)
    found = rows.aggregate(**{f"t_{name}": ExactTotal(name) for name in SUMS})
    return Totals(*(found[f"t_{name}"] or 0 for name in SUMS))


def scope_names(account: Account, seen: Watched, now: datetime) -> dict[Scoped, str]:
    """What the members, campaigns and keys are called that the account's quotas name."""
    state = quota_state.fresh(account.pk, now, seen.revision)
    return scopes.names(Scoped(key.scope, key.scope_id) for key in state.slots)


def version(
    account: Account,
    seen: Watched,
    totals: Totals,
    names: Mapping[Scoped, str],
    now: datetime,
    more: object = None,
) -> str:
    """The version as text that may stand between quotes.

    Args:
        account: with its zone and currency of now.
        more: what the caller shows beside usage, such as a plan.
    """
    state = quota_state.fresh(account.pk, now, seen.revision)
    parts = (
        FORM,
        account.pk,
        account.time_zone,
        account.currency,
        tuple(seen),
        tuple(totals),
        now.astimezone(account.zone).date(),
        *_by_the_clock(state, now),
        sorted(names.items()),
        more,
    )
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _by_the_clock(state: AccountQuotas, now: datetime) -> tuple[list[tuple[str, int]], datetime | None]:
    """The stored windows that are running, and when other quotas come into force."""
    running = ((kind, state.window_at(kind, now)) for kind in state.windows)
    return sorted((str(kind), window.id) for kind, window in running if window), state.changes_at
