"""Add an exchange rate from a shell or a script; the same rate again changes nothing."""

from datetime import UTC, date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from usage import exchange

ACTOR = "set_rate"


class Command(BaseCommand):
    help = "Say how much of a currency 1 USD is from a day on. Rates are only added, never changed."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("currency", help="Three capital letters, such as INR.")
        parser.add_argument("rate", help="How much of it 1 USD is, such as 84.10.")
        parser.add_argument(
            "--from", dest="day", metavar="DATE", help="The first day; today (UTC) by default."
        )
        parser.add_argument("--source", default="", help="Where the rate was read.")
        parser.add_argument("--reason", default="", help="Kept in the audit trail.")

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        day = _day(options["day"], now)
        try:
            row, is_new = exchange.add(
                options["currency"],
                options["rate"],
                day,
                actor=ACTOR,
                source=options["source"],
                reason=options["reason"],
            )
        except ValidationError as error:
            raise CommandError(_said(error)) from error
        past = (now.astimezone(UTC).date() - day).days
        changed = f"; what is shown for the last {past} days changes" if is_new and past > 0 else ""
        self.stdout.write(f"{row}: {'added' if is_new else 'is there already, nothing changed'}{changed}")


def _day(text: str | None, now: datetime) -> date:
    """The day that `--from` names.

    Raises:
        CommandError: it is none.
    """
    if text is None:
        return now.astimezone(UTC).date()
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"--from {text!r} is no day, such as 2026-12-01.") from error


def _said(error: ValidationError) -> str:
    names = {"quote": "currency", "effective_from": "--from"}
    found = [
        f"{names.get(field, field)}: {' '.join(messages)}" for field, messages in error.message_dict.items()
    ]
    return " ".join(found)
