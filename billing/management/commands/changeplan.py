"""Put an account on another plan, from a shell or a script."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts.errors import DomainError
from accounts.references import find_account
from billing import paid_plans, plans


class Command(BaseCommand):
    help = "Put an account on another plan; prints the code of the plan in force, and what comes when."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--account", required=True, help="acc_…, external id, or the e-mail of a user.")
        parser.add_argument("--plan", required=True, help="The plan's code; the current one undoes a change.")
        parser.add_argument(
            "--at-period-end", action="store_true", help="Not before the billing period ends."
        )
        parser.add_argument("--reason", default="", help="Kept in the audit trail and the history.")

    def handle(self, *args: Any, **options: Any) -> None:
        account = find_account(options["account"])
        if account is None:
            raise CommandError(f"There is no account {options['account']!r}.")
        if not options["plan"]:
            raise CommandError("--plan names none.")
        try:
            paid_plans.refuse_if_paid(account)
            subscription = plans.change_plan(
                account,
                plans.find_plan(options["plan"]),
                actor="changeplan",
                reason=options["reason"],
                at_period_end=options["at_period_end"],
            )
        except DomainError as error:
            raise CommandError(error.message) from error
        in_force = plans.plan_in_force(subscription, timezone.now())
        self.stdout.write(f"{in_force.code} since {subscription.started_at.isoformat()}")
        if subscription.next_plan is not None and subscription.next_at is not None:
            self.stdout.write(f"{subscription.next_plan.code} from {subscription.next_at.isoformat()}")
