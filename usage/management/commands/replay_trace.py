"""Record a trace of real calls."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from accounts.errors import DomainError
from accounts.references import find_account
from usage import replay


class Command(BaseCommand):
    help = (
        "Record a CSV of calls (TIMESTAMP,ContextTokens,GeneratedTokens) for an account, stretched over"
        " the 30 days before the first run. Running it again records nothing twice. A bad line is named"
        " and skipped."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--account", required=True, help="acc_…, external id, or a user's e-mail.")
        parser.add_argument("--provider", required=True)
        parser.add_argument("--model", required=True)
        parser.add_argument("--operation", default="content_generation")
        parser.add_argument("--keep-times", action="store_true", help="Record at the times in the file.")
        parser.add_argument("--members", action="store_true", help="The account's members take turns.")
        parser.add_argument("--url", help="Send to this running server instead of recording here.")
        parser.add_argument("--key", help="The service key for --url.")

    def handle(self, *args: Any, **options: Any) -> None:
        if bool(options["url"]) != bool(options["key"]):
            raise CommandError("--url and --key go together.")
        send = replay.over_http(options["url"], options["key"]) if options["url"] else replay.in_process
        target = self._target(options)
        try:
            trace = replay.read_trace(options["file"])
            with tqdm(total=len(trace.calls), unit=" calls", desc=options["file"].name) as bar:
                report = replay.run(trace, target, send, bar.update)
        except (OSError, ValueError) as error:
            raise CommandError(f"{options['file']}: {error}") from error
        except DomainError as error:
            raise CommandError(error.message) from error
        for problem in report.problems:
            self.stderr.write(problem)
        self.stdout.write(
            f"{report.accepted} recorded, {report.duplicates} known already, {len(report.problems)} skipped"
        )

    def _target(self, options: dict[str, Any]) -> replay.Target:
        account = find_account(options["account"])
        if account is None:
            raise CommandError(f"There is no account {options['account']!r}.")
        members = list(account.members.order_by("id").values_list("user__email", flat=True))
        return replay.Target(
            account,
            options["provider"],
            options["model"],
            options["operation"],
            options["keep_times"],
            members if options["members"] else (),
        )
