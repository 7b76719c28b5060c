"""Goal 12: what staff read of all accounts over twelve months, with many records and with few.

Both ledgers are filled by `manage.py fill_demo`, which records through the product's own code: five
million records take the better part of an hour.
"""

from datetime import UTC, datetime
from typing import ClassVar

from tests.benchmarks import load
from tests.benchmarks.contestants import Contestant, LostOrDoubledError
from tests.benchmarks.engines import query
from tests.benchmarks.stage import Stage

TOKENS: dict[str, str] = {}  # by stage, "few" and "many": the browser session of staff, made before
ACCOUNTS = 10_000
MONTHS = 24
RAW = """
SELECT a.id, a.name, SUM(r.counts) AS n, SUM(r.cost) AS usd, MAX(r.occurred_at)
FROM accounts_account a LEFT JOIN usage_record r ON r.account_id = a.id AND r.local_day >= '{first}'
GROUP BY a.id, a.name ORDER BY usd DESC, a.name LIMIT 50
"""


def prepare(stage: Stage, name: str, records: int, accounts: int) -> None:
    """Fill a database as far as it is not yet, and sign staff in."""
    TOKENS[name] = str(stage.inside("console", records, accounts, MONTHS))


class Page(Contestant):
    """One request after the other, as one person looks."""

    path: ClassVar[str] = "/admin/billing/net/?range=last_12_months"
    shows: ClassVar[bytes] = b"Models \xc3\x97 operations"
    stage_name: ClassVar[str]

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.requests: list[bytes] = []
        self.statements: list[str] = []
        self.answers: list[bytes] = []

    def prepare(self, events: int) -> None:
        cookie = {"Cookie": f"sessionid={TOKENS[self.stage_name]}"}
        self.requests = [load.get(self.path, cookie)] * events

    def run(self) -> None:
        _, self.answers = load.drive(self.stage.port, [self.requests])

    def writer_cpu_s(self) -> float:
        return self.stage.server_cpu_s()

    def stored(self) -> int:
        return 0

    def expected(self, events: int) -> int:
        return 0

    def check_answers(self) -> None:
        for answer in self.answers:
            if load.status_of(answer) != 200 or self.shows not in answer:
                raise LostOrDoubledError(f"{self.name}: answered {answer[:600]!r}")


class NetOfMany(Page):
    name = "net billing page, many records"
    stage_name = "many"


class NetOfFew(Page):
    name = "net billing page, few records"
    stage_name = "few"


class ApiOfMany(Page):
    name = "net billing by REST, many records"
    path = "/api/v1/billing/net/?range=last_12_months"
    shows = b'"summary"'
    stage_name = "many"


class ApiOfFew(ApiOfMany):
    name = "net billing by REST, few records"
    stage_name = "few"


class HomeOfMany(Page):
    name = "first page of the admin, many records"
    path = "/admin/"
    shows = b"Needs a hand"
    stage_name = "many"


class HomeOfFew(HomeOfMany):
    name = "first page of the admin, few records"
    stage_name = "few"


class RawAggregate(Page):
    """The same question asked of the ledger itself, by the plainest statement that answers a part of it."""

    name = "the accounts by SUM over the ledger"
    stage_name = "many"

    def prepare(self, events: int) -> None:
        today = datetime.now(UTC).date()
        month = today.month % 12 + 1
        first = today.replace(year=today.year - (month > 1), month=month, day=1)
        self.statements = [RAW.format(first=first)] * events

    def run(self) -> None:
        for statement in self.statements:
            query(self.connection, statement)

    def writer_cpu_s(self) -> float:
        return 0.0

    def check_answers(self) -> None:
        """Its rows are read by the driver."""
