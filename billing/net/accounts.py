"""The accounts of the net billing report, idle ones too: what each used, cost and owes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.db.models import Q
from django.utils import timezone

from billing.net.query import Query
from billing.net.sums import (
    Ids,
    Sql,
    Sums,
    by_account,
    ids_of,
    rows_of,
    split,
    sum_of,
    summed,
    sums_from,
    within,
)
from usage.everywhere import INR_REST, SUMS
from usage.fields import COST_PLACES, ExactTotal
from usage.models import RollupUnit
from usage.price_book import PriceBook


@dataclass(slots=True)
class OperationUse:
    """What an account did of one operation; quantities by unit slug in 10⁻⁴."""

    sums: Sums = field(default_factory=Sums)
    quantities: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class AccountRow:
    """One account. `charge` in 10⁻¹⁰ USD: None where a fee is by agreement, or where a part of its
    usage was asked for; `margin` likewise."""

    id: int
    public_id: str
    name: str
    email: str
    plan: str
    plan_name: str
    sums: Sums
    charge: int | None
    is_by_agreement: bool
    last_activity: datetime | None
    by_operation: dict[str, OperationUse] = field(default_factory=dict)

    @property
    def margin(self) -> int | None:
        return None if self.charge is None else self.charge - self.sums.cost

    @property
    def cost(self) -> Decimal:
        return Decimal(self.sums.cost).scaleb(-COST_PLACES)

    @property
    def charge_usd(self) -> Decimal:
        """Where it is known."""
        return Decimal(self.charge or 0).scaleb(-COST_PLACES)


# A change of plan that is due holds, whether or not the job has moved it. The e-mail is the person's, or
# the first owner's.
_FROM = """
FROM accounts_account a
JOIN billing_subscription s ON s.account_id = a.id
JOIN billing_plan p ON p.id = CASE WHEN s.next_plan_id IS NOT NULL AND s.next_at <= %s
 THEN s.next_plan_id ELSE s.plan_id END
LEFT JOIN accounts_user person ON person.id = a.person_id
LEFT JOIN (SELECT account_id, MIN(id) AS id FROM accounts_member WHERE role = 'owner' GROUP BY account_id)
 first_owner ON first_owner.account_id = a.id
LEFT JOIN accounts_member owning ON owning.id = first_owner.id
LEFT JOIN accounts_user owner ON owner.id = owning.user_id"""
_EMAIL = "COALESCE(person.email, owner.email, '')"
_ORDERS = {
    "cost": "COALESCE(used.cost, 0)",
    "operations": "COALESCE(used.records, 0)",
    "email": _EMAIL,
    "name": "LOWER(a.name)",
    "plan": "p.name",
    "tokens": "COALESCE(used.tokens, 0)",
    "images": "COALESCE(used.images, 0)",
    "refused": "COALESCE(used.refused, 0)",
    "last_activity": "l.last_at",
}


def matching(query: Query) -> Sql:
    """FROM and WHERE: the accounts that a query's plan and search ask for, as `a`."""
    return _tables() + _where(query)


def _tables() -> Sql:
    return Sql(_FROM, [connection.ops.adapt_datetimefield_value(timezone.now())])


def _where(query: Query) -> Sql:
    piece = Sql(" WHERE 1 = 1", [])
    if query.plan:
        piece += Sql(" AND p.code = %s", [query.plan])
    if query.search:
        term = query.search.lower()
        like = "%" + term.replace("!", "!!").replace("%", "!%").replace("_", "!_") + "%"
        piece += Sql(
            f" AND ({_EMAIL} LIKE %s ESCAPE '!' OR LOWER(a.name) LIKE %s ESCAPE '!'"
            " OR a.public_id = %s OR a.external_id = %s)",
            [like, like, query.search, query.search],
        )
    return piece


def ids_matching(query: Query) -> Sql | None:
    """A query of the accounts' ids; None where all are asked for."""
    return Sql("SELECT a.id ", []) + matching(query) if query.is_by_account else None


def counted(query: Query) -> Sql:
    """FROM and WHERE for counting the accounts that match, idle ones too."""
    return matching(query) if query.is_by_account else Sql("FROM accounts_account", [])


def charge_days(query: Query, only: Sql | None = None) -> Sql:
    """FROM and WHERE: the days of the range on which charges fall, of all accounts or of some."""
    piece = Sql("FROM billing_chargeday WHERE 1 = 1", [])
    for condition, day in ((" AND local_day >= %s", query.start), (" AND local_day < %s", query.end)):
        if day is not None:
            piece += Sql(condition, [day.isoformat()])
    return piece + Sql(" AND account_id IN (", []) + only + Sql(")", []) if only is not None else piece


def charged(query: Query, only: Sql | None = None) -> Sql:
    """Each account's charge of the range, as `charged`."""
    sums = f"SELECT account_id, {sum_of('amount')} AS amount, MAX(by_agreement) AS by_agreement "
    return Sql(sums, []) + charge_days(query, only) + Sql(" GROUP BY account_id", [])


def rows(
    query: Query, ids: Ids | None = None, *, offset: int = 0, limit: int | None = None
) -> list[AccountRow]:
    """Accounts in the order of the query; of equals, by e-mail.

    A page is found by the one figure that it is ordered by; everything else is asked of its accounts alone.
    """
    ids = ids or ids_of(query)
    if limit is None or ids.campaigns is not None:  # a campaign's usage has been read already
        page = Sql("", []) if limit is None else Sql(" LIMIT %s OFFSET %s", [limit, offset])
        return [_row(values, query) for values in rows_of(_every(query, ids, ids_matching(query)) + page)]
    ordered = [pk for (pk,) in rows_of(_ranked(query, ids, offset, limit))]
    if not ordered:
        return []
    listed = Sql(", ".join(["%s"] * len(ordered)), list(ordered))
    found = {row.id: row for row in (_row(v, query) for v in rows_of(_every(query, ids, listed, listed)))}
    return [found[pk] for pk in ordered if pk in found]


def _ranked(query: Query, ids: Ids, offset: int, limit: int) -> Sql:
    """The ids of a page of accounts, in their order."""
    only = ids_matching(query)
    piece = Sql("SELECT a.id ", []) + _tables()
    wanted = {"margin": ("cost",), "inr": ("inr", "inr_rest", "unconverted"), "operations": ("records",)}
    columns = wanted.get(query.sort, (query.sort,) if query.sort in SUMS else ())
    if columns:
        used = summed(by_account(query, ids, (), only), ("account_id",), columns)
        piece += Sql(" LEFT JOIN (", []) + used + Sql(") used ON used.account_id = a.id", [])
    if query.sort in ("charge", "margin"):
        piece += Sql(" LEFT JOIN (", []) + charged(query) + Sql(") charged ON charged.account_id = a.id", [])
    if query.sort == "last_activity":
        piece += Sql(" LEFT JOIN usage_lastuse l ON l.account_id = a.id", [])
    order = Sql(f" ORDER BY {_order(query)} LIMIT %s OFFSET %s", [limit, offset])
    return piece + _where(query) + order


def _every(query: Query, ids: Ids, only: Sql | None, listed: Sql | None = None) -> Sql:
    """Accounts with all their figures, in the order of the query.

    Args:
        only: the accounts whose usage is added up.
        listed: the ids of the accounts that are asked for; without, all that match.
    """
    used = summed(by_account(query, ids, (), only), ("account_id",))
    figures = ", ".join(f"used.{name}" for name in SUMS)
    sql = Sql(
        f"SELECT a.id, a.public_id, a.name, {_EMAIL}, p.code, p.name, charged.amount, charged.by_agreement,"
        f" l.last_at, {figures} ",
        [],
    )
    joined = (
        Sql(" LEFT JOIN (", [])
        + used
        + Sql(") used ON used.account_id = a.id LEFT JOIN (", [])
        + charged(query, listed)
        + Sql(") charged ON charged.account_id = a.id LEFT JOIN usage_lastuse l ON l.account_id = a.id", [])
    )
    if listed is not None:
        return sql + _tables() + joined + Sql(" WHERE a.id IN (", []) + listed + Sql(")", [])
    return sql + _tables() + joined + _where(query) + Sql(f" ORDER BY {_order(query)}", [])


def _order(query: Query) -> str:
    direction = "DESC" if query.descending else "ASC"
    unknown = "charged.by_agreement = 1"
    if query.sort in ("charge", "margin"):
        amount = "COALESCE(charged.amount, 0)"
        amount = amount if query.sort == "charge" else f"{amount} - COALESCE(used.cost, 0)"
        terms = [f"CASE WHEN {unknown} THEN 1 ELSE 0 END", f"{amount} {direction}"]
    elif query.sort == "inr":
        # Each day's rest is less than a unit of `inr`, so whole units of the rests are carried over.
        division = "/" if connection.vendor == "sqlite" else "DIV"
        whole = f"COALESCE(used.inr, 0) + COALESCE(used.inr_rest, 0) {division} {INR_REST}"
        terms = [
            "CASE WHEN used.unconverted > 0 THEN 1 ELSE 0 END",
            f"{whole} {direction}",
            f"COALESCE(used.inr_rest, 0) %% {INR_REST} {direction}",
        ]
    elif query.sort == "last_activity":
        terms = ["CASE WHEN l.last_at IS NULL THEN 1 ELSE 0 END", f"l.last_at {direction}"]
    else:
        terms = [f"{_ORDERS[query.sort]} {direction}"]
    return ", ".join([*terms, f"{_EMAIL} ASC", "a.id ASC"])


def _row(values: Sequence[Any], query: Query) -> AccountRow:
    pk, public_id, name, email, code, plan, amount, by_agreement, last_at, *sums = values
    is_known = not by_agreement and not query.is_by_usage
    return AccountRow(
        id=pk,
        public_id=public_id,
        name=name,
        email=email,
        plan=code,
        plan_name=plan,
        sums=sums_from(sums),
        charge=int(amount or 0) if is_known else None,
        is_by_agreement=bool(by_agreement),
        last_activity=_instant(last_at),
    )


def _instant(value: Any) -> datetime | None:
    """An instant as a driver gives it: a naive datetime or a text, in UTC."""
    if value is None:
        return None
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def add_operations(found: Iterable[AccountRow], query: Query, ids: Ids, book: PriceBook) -> None:
    """Let rows know what was done of each operation."""
    by_id = {row.id: row for row in found}
    if not by_id:
        return
    only = Sql(", ".join(["%s"] * len(by_id)), list(by_id))
    parts = summed(by_account(query, ids, ("operation_id",), only), ("account_id", "operation_id"))
    for account_id, operation_id, *values in rows_of(parts):
        sums = sums_from(values)
        if sums != Sums():
            slug = book.operation(operation_id).slug
            by_id[account_id].by_operation[slug] = OperationUse(sums)


def add_quantities(found: Iterable[AccountRow], query: Query, ids: Ids, book: PriceBook) -> None:
    """Let rows, whose operations are known, know the quantities of each, from these accounts' rollups."""
    by_id = {row.id: row for row in found}
    if ids.models is None and ids.campaigns is None:
        for account_id, operation_id, unit_id, quantity in rows_of(_month_units(query, ids, by_id)):
            _add_quantity(by_id[account_id], operation_id, unit_id, int(quantity), book)
        return
    # Of models and campaigns the rollups of these accounts know.
    only = Q(account_id__in=by_id, unit_id__gt=0) & _of_range(query.start, query.end)
    for column, some in (
        ("operation_id", ids.operations),
        ("model_id", ids.models),
        ("campaign_id", None if ids.campaigns is None else list(ids.campaigns)),
    ):
        if some is not None:
            only &= Q(**{f"{column}__in": some})
    if ids.status is not None:
        only &= Q(status=ids.status)
    units: Any = RollupUnit.objects.filter(only).order_by()
    for account_id, operation_id, unit_id, quantity in units.values_list(
        "account_id", "operation_id", "unit_id"
    ).annotate(q=ExactTotal("quantity")):
        _add_quantity(by_id[account_id], operation_id, unit_id, quantity, book)


def _month_units(query: Query, ids: Ids, by_id: Iterable[int]) -> Sql:
    """Whole months as they are kept, and the days at the edges of the range from rollups."""
    accounts = list(by_id) or [0]
    only = Sql(f" WHERE account_id IN ({', '.join(['%s'] * len(accounts))}) AND unit_id > 0", accounts)
    if ids.operations is not None:
        marks = ", ".join(["%s"] * len(ids.operations)) or "NULL"
        only += Sql(f" AND operation_id IN ({marks})", list(ids.operations))
    if ids.status is not None:
        only += Sql(" AND status = %s", [ids.status])
    months, edges = split(query.start, query.end)
    columns = "SELECT account_id, operation_id, unit_id, quantity FROM"
    pieces = (
        [Sql(f"{columns} usage_accountmonthunit", []) + only + within("month", *months)] if months else []
    )
    pieces += [Sql(f"{columns} usage_rollupunit", []) + only + within("local_day", *edge) for edge in edges]
    whole = pieces[0] if pieces else Sql(f"{columns} usage_accountmonthunit WHERE 1 = 0", [])
    for piece in pieces[1:]:
        whole += Sql(" UNION ALL ", []) + piece
    head = Sql(f"SELECT account_id, operation_id, unit_id, {sum_of('quantity')} FROM (", [])
    return head + whole + Sql(") parts GROUP BY account_id, operation_id, unit_id", [])


def _add_quantity(row: AccountRow, operation_id: int, unit_id: int, quantity: int, book: PriceBook) -> None:
    use = row.by_operation.get(book.operation(operation_id).slug)
    if use is not None and quantity:
        use.quantities[book.unit(unit_id).slug] = quantity


def _of_range(start: date | None, end: date | None) -> Q:
    condition = Q()
    if start is not None:
        condition &= Q(local_day__gte=start)
    if end is not None:
        condition &= Q(local_day__lt=end)
    return condition
