"""Fill the database with made-up usage, to see how everything behaves with much of it."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from tqdm import tqdm

from accounts.errors import DomainError
from billing import filling, standing
from usage import changed_days, everywhere
from usage.models import ChangedDay


class Command(BaseCommand):
    help = (
        "Record made-up usage of many accounts through the same checks, rating and totals as any other."
        " Cut off, it goes on where it stopped; run again, it doubles nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--records", type=int, default=100_000, help="How many; 100000 unless told.")
        parser.add_argument("--accounts", type=int, default=0, help="One for 500 records unless told.")
        parser.add_argument("--months", type=int, default=24, help="Over how long, until yesterday.")
        parser.add_argument("--seed", type=int, default=1, help="Another seed makes other accounts.")

    def handle(self, *args: Any, **options: Any) -> None:
        records, months = options["records"], options["months"]
        accounts = options["accounts"] or max(1, records // 500)
        if not 1 <= accounts <= records:
            raise CommandError("--records and --accounts: at least one, and a record for each account.")
        if not 1 <= months <= 120:
            raise CommandError("--months is from 1 to 120.")
        until = datetime.combine(timezone.now().date(), time.min, UTC) - timedelta(days=1)
        wanted = filling.Filling(records, accounts, months, options["seed"], until)
        try:
            self._fill(wanted)
        except DomainError as error:
            raise CommandError(error.message) from error
        self._follow()
        self.stdout.write(f"{records:,} records of {accounts:,} accounts are there, and every total agrees.")

    def _fill(self, wanted: filling.Filling) -> None:
        with tqdm(total=wanted.accounts, unit=" accounts", desc="accounts") as bar:
            accounts = []
            for opened in filling.open_accounts(wanted):
                accounts.append(opened)
                bar.update()
        with tqdm(total=wanted.records, unit=" records", unit_scale=True, desc="records") as bar:
            for done in filling.fill(wanted, accounts):
                bar.update(done)

    def _follow(self) -> None:
        """Add up what reports read, rather than leave it all to the job."""
        with tqdm(total=ChangedDay.objects.count(), unit=" days", unit_scale=True, desc="totals") as bar:
            after: changed_days.Day | None = None
            while True:
                after = everywhere.follow(after)
                if after is None:
                    break
                bar.update(everywhere.FOLLOWED_AT_ONCE)
        everywhere.follow_all()
        standing.follow_all()
