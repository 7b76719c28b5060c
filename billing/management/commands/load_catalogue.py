"""Load the catalogue's files into the database."""

from typing import Any

from django.core.management.base import BaseCommand

from billing import catalogue


class Command(BaseCommand):
    help = (
        "Add what is missing of operations, units, meters, prices, exchange rates and plans; change nothing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        added = {name: count for name, count in catalogue.load().items() if count}
        what = ", ".join(f"{count} {name}" for name, count in added.items())
        self.stdout.write(f"Added {what}." if added else "Everything was there already.")
