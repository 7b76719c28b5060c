"""Hold accounts against Stripe now, and put right what differs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.errors import DomainError
from accounts.references import find_account
from billing.models import StripeCustomer
from billing.stripe import client, reconcile
from billing.stripe.reconcile import Report


class Command(BaseCommand):
    help = "Fetch undelivered events and compare customers with Stripe; prints what differed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", help="Only this one: acc_…, external id, or the e-mail of a user.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not client.is_configured():
            raise CommandError("STRIPE_SECRET_KEY is not set.")
        report = Report()
        try:
            if options["account"]:
                self.compare(self.customers_of(options["account"]), report)
            else:
                new = reconcile.fetch_undelivered(timezone.now())
                self.stdout.write(f"Undelivered events fetched: {new}")
                after = 0
                while some := reconcile.customers_after(after):
                    self.compare(some, report)
                    after = some[-1].pk
        except DomainError as error:
            raise CommandError(error.message) from error
        for line in report.drifts:
            self.stdout.write(line)
        self.stdout.write(f"Customers compared: {report.customers}, different: {len(report.drifts)}")
        if report.failures:
            raise CommandError("; ".join(report.failures))

    def customers_of(self, named: str) -> list[StripeCustomer]:
        account = find_account(named)
        if account is None:
            raise CommandError(f"There is no account {named!r}.")
        found = StripeCustomer.objects.filter(account=account, deleted_at=None).select_related("account")
        if not found:
            raise CommandError(f"{account.name} has no customer at Stripe.")
        return list(found)

    def compare(self, customers: list[StripeCustomer], report: Report) -> None:
        for customer in customers:
            reconcile.compare(customer, report)
