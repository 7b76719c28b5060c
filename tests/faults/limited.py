"""Accounts with limits for races and kills, made and changed by the clerk; and what became of them."""

from dataclasses import dataclass
from decimal import Decimal

import pytest

from tests.faults.installation import ROUNDS, Installation

rounds = pytest.mark.parametrize("round_", range(ROUNDS))
fewer_rounds = pytest.mark.parametrize("round_", range(max(1, ROUNDS // 3)))

OPEN = """
from decimal import Decimal
from accounts.keys import make_key
from accounts.lifecycle import open_business_account
from usage.quotas import limits
from usage.models import Meter
account = open_business_account({name!r}, external_id={name!r}, **{fields!r})
for slug, aggregation, units, operations, window, limit in {meters!r}:
    meter, _ = Meter.objects.get_or_create(
        slug=slug,
        defaults=dict(
            name=slug, aggregation=aggregation, units=units, operations=operations, shown_as="things"
        ),
    )
    if limit is not None:
        limits.override(
            account, meter, Decimal(limit), window=window, actor="test", reason="test"
        )
print(account.public_id, make_key(account)[1])
"""
FIND = """
from datetime import timedelta
from decimal import Decimal
from django.utils import timezone
from accounts.models import Account
from billing import plans
from billing.models import Plan, PlanLimit
from usage.quotas import balances, limits
from usage.models import Meter, Quota, Window
account = Account.objects.get(external_id={name!r})
"""


@dataclass(frozen=True)
class Limit:
    """A meter of its own for a test, and the account's limit on it; None makes the meter alone."""

    meter: str
    limit: str | None
    operations: tuple[str, ...]
    aggregation: str = "sum"
    units: tuple[str, ...] = ("requests",)
    window: str = ""


@dataclass(frozen=True)
class Limited:
    """An account with limits; `token` is a key of its own, whose records ask for permission."""

    tollgate: Installation
    name: str
    public_id: str
    token: str

    def clerk(self, code: str) -> str:
        """Let the clerk run a piece of Python that knows `account`; what it printed."""
        self.begin(code)
        status, output = self.tollgate.finish()
        assert status == 0, output
        return output

    def begin(self, code: str) -> None:
        self.tollgate.begin(FIND.format(name=self.name) + code)

    def meter(self, slug: str) -> dict:
        """A meter as `usage/current` shows it."""
        answer = self.tollgate.get(f"usage/current/?account={self.public_id}")
        assert answer.status == 200, answer
        return next(meter for meter in answer.body["meters"] if meter["meter"] == slug)

    def used(self, slug: str) -> Decimal | int:
        return Decimal(self.meter(slug)["used"])

    def reserved(self, slug: str) -> Decimal | int:
        return Decimal(self.meter(slug)["reserved"])

    def count(self, operation: str = "%") -> int:
        """How many records the ledger holds."""
        ((found,),) = self.tollgate.query(
            "SELECT COUNT(*) FROM usage_record r JOIN usage_operation o ON o.id = r.operation_id"
            " JOIN accounts_account a ON a.id = r.account_id"
            f" WHERE a.public_id = '{self.public_id}' AND o.slug LIKE '{operation}'"
        )
        return int(found)

    def held(self) -> int:
        """What the account's balances hold, and its holds do, which has to be the same."""
        sums = [
            self.tollgate.query(
                f"SELECT COALESCE(SUM({amount}), 0) FROM usage_{table} t"
                f" JOIN accounts_account a ON a.id = t.account_id WHERE a.public_id = '{self.public_id}'"
            )[0][0]
            for table, amount in (("balance", "held"), ("hold", "amount"))
        ]
        assert sums[0] == sums[1], sums
        return int(sums[0])


def open_limited(tollgate: Installation, name: str, *limits: Limit, **fields: str) -> Limited:
    """Open an account with these limits."""
    rows = [(m.meter, m.aggregation, list(m.units), list(m.operations), m.window, m.limit) for m in limits]
    tollgate.begin(OPEN.format(name=name, meters=rows, fields=fields))
    status, output = tollgate.finish()
    assert status == 0, output
    return Limited(tollgate, name, *output.split())


def one_limit(tollgate: Installation, name: str, limit: str, **more: str) -> Limited:
    """An account with a limit on the operation and the meter that bear its name."""
    slug = slug_of(name)
    return open_limited(tollgate, name, Limit(slug, limit, (slug,), **more))  # type: ignore[arg-type]


def slug_of(name: str) -> str:
    return name.strip("-")
