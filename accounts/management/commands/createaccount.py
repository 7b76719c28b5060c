"""Make a user with a personal account, so that a machine can be prepared without clicking."""

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from accounts import email_addresses
from accounts.errors import DomainError
from accounts.models import Account, User, normal_email


class Command(BaseCommand):
    help = "Make a user with a personal account and print the account's id; again prints the same id."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument("--password", help="Without one the user cannot sign in yet.")
        parser.add_argument("--plan", help="Code of a plan; the default plan otherwise.")
        parser.add_argument("--external-id", help="The id that your own system knows the account by.")
        parser.add_argument("--time-zone", help="Such as Asia/Kolkata.")

    def handle(self, *args: Any, **options: Any) -> None:
        email = normal_email(options["email"])
        try:
            validate_email(email)
            with transaction.atomic():
                user = User.objects.filter(email=email).first() or self._create(email, options)
                email_addresses.verify(user)
        except DomainError as error:
            raise CommandError(error.message) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        except IntegrityError as error:
            # Another process made the user between our look and our insert; or it is not about the user.
            found = User.objects.filter(email=email).first()
            if found is None:
                raise CommandError(f"Cannot make {email}: {error}") from error
            user = found
        account = Account.objects.filter(person=user).first()
        if account is None:
            raise CommandError(f"The personal account of {email} has been deleted.")
        self.stdout.write(account.public_id)

    def _create(self, email: str, options: dict[str, Any]) -> User:
        user = User(email=email)
        user.set_password(options["password"])
        user.full_clean(validate_unique=False)
        user.wished_plan = options["plan"]  # type: ignore[attr-defined]
        user.save()
        account = user.personal_account
        account.external_id = options["external_id"] or None
        account.time_zone = options["time_zone"] or account.time_zone
        account.full_clean()
        account.save(update_fields=["external_id", "time_zone"])
        return user
