"""Make products, prices and meters at Stripe from our plans."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.errors import DomainError
from billing.stripe import client, selling


class Command(BaseCommand):
    help = "Say what would be made or changed at Stripe so that it sells our plans; --apply does it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--apply", action="store_true", help="Do it, instead of saying what would be done."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not client.is_configured():
            raise CommandError("STRIPE_SECRET_KEY is not set.")
        done = 0
        try:
            for step in selling.steps():
                self.stdout.write(f"{'Now' if options['apply'] else 'Would'} {step.words}")
                if options["apply"]:
                    client.ask(step.call)
                done += 1
        except DomainError as error:
            raise CommandError(error.message) from error
        if not done:
            self.stdout.write("Stripe sells our plans as they are.")
        elif not options["apply"]:
            self.stdout.write("Nothing was done. Run it with --apply.")
