"""Make an API key, so that a machine can be prepared without clicking."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts import audit, keys
from accounts.errors import DomainError
from accounts.references import find_account


class Command(BaseCommand):
    help = "Make an API key for an account, or a service key, and print it; it cannot be had again."

    def add_arguments(self, parser: CommandParser) -> None:
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--account", help="acc_…, external id, or the e-mail of a user.")
        whose.add_argument("--service", action="store_true", help="A key for the team's own back end.")
        parser.add_argument("--name", default="")
        parser.add_argument("--scopes", help="Comma-separated; all that the kind of key may have otherwise.")

    def handle(self, *args: Any, **options: Any) -> None:
        account = None
        if not options["service"]:
            account = find_account(options["account"])
            if account is None:
                raise CommandError(f"There is no account {options['account']!r}.")
        scopes = options["scopes"]
        wanted = None if scopes is None else [s.strip() for s in scopes.split(",") if s.strip()]
        if wanted == []:
            raise CommandError("--scopes names none; leave it out for all that the kind of key may have.")
        try:
            with transaction.atomic():
                key, token = keys.make_key(account, name=options["name"], scopes=wanted)
                audit.write("key.created", actor="createkey", account=account, subject=key.prefix)
        except DomainError as error:
            raise CommandError(error.message) from error
        self.stdout.write(token)
