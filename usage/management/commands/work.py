"""Run background jobs."""

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from usage.worker import Worker


class Command(BaseCommand):
    help = "Run background jobs until terminated; SIGTERM lets the current job finish."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--drain", "--once", action="store_true", help="Run everything that is due, and end."
        )
        parser.add_argument(
            "--parent", type=int, metavar="PID", help="The process that starts this one; end when it does."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        worker = Worker(parent=options["parent"])
        for ending in (signal.SIGTERM, signal.SIGINT):
            signal.signal(ending, worker.end)
        if options["drain"]:
            self.stdout.write(f"Steps run: {worker.drain()}")
        else:
            worker.run()
