"""Hold the totals against the ledger."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.references import find_account
from usage import references, rollups
from usage.quotas import balances
from usage.snapshot import consistent


class Command(BaseCommand):
    help = (
        "Recompute every total from the ledger in one consistent snapshot, print each drift, exit 1 if any."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", help="Only this account: acc_…, external id, or a user's e-mail.")

    def handle(self, *args: Any, **options: Any) -> None:
        accounts = None
        if options["account"]:
            account = find_account(options["account"])
            if account is None:
                raise CommandError(f"There is no account {options['account']!r}.")
            accounts = [account.pk]
        drifts = 0
        with consistent():
            for drift in (
                *rollups.verify(accounts),
                *balances.verify(accounts),
                *references.verify(accounts),
            ):
                drifts += 1
                self.stdout.write(str(drift))
        if drifts:
            self.stderr.write(f"{drifts} totals differ from the ledger.")
            sys.exit(1)
        self.stdout.write("The totals agree with the ledger.")
