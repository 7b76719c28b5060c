"""Keep, verify and rebuild the totals over all accounts that reports read."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from usage import everywhere, everywhere_audit
from usage.snapshot import consistent


class Command(BaseCommand):
    help = (
        "Bring the totals over all accounts up to date; --verify holds them against the rollups,"
        " --rebuild mends them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--verify", action="store_true", help="Print each difference, exit 1 if any.")
        what.add_argument("--rebuild", action="store_true", help="Work every total out again.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["rebuild"]:
            for step in everywhere_audit.rebuild():
                self.stdout.write(step)
            return
        if not options["verify"]:
            everywhere.follow_all()
            self.stdout.write("The totals over all accounts are up to date.")
            return
        differing = 0
        with consistent():
            for drift in everywhere_audit.verify():
                differing += 1
                self.stdout.write(str(drift))
        if differing:
            self.stderr.write(f"{differing} totals differ from what they follow.")
            sys.exit(1)
        self.stdout.write("The totals over all accounts agree with the rollups.")
