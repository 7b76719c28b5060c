"""Serve Tollgate with granian."""

import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config.server import command, jobs_command, serving


class Command(BaseCommand):
    help = "Serve Tollgate over HTTP with several worker processes, and run background jobs beside it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--workers", type=int, default=2)
        parser.add_argument("--threads", type=int, default=4, help="Per worker; each holds a connection.")
        parser.add_argument("--no-jobs", action="store_true", help="Leave background jobs to others.")

    def handle(self, *args: Any, **options: Any) -> None:
        check_port(options["host"], options["port"])
        line = command(options["host"], options["port"], options["workers"], options["threads"])
        with serving(line) as server:
            if not options["no_jobs"]:
                server.start_beside("job worker", jobs_command())
            sys.exit(server.keep())


def check_port(host: str, port: int) -> None:
    """Say in one line that the port is taken, before anything else is done."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(f"PORT {port} on {host} cannot be used: {error.strerror}.") from error
