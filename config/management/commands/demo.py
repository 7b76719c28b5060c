"""Set up this checkout's database with demo data, and serve it."""

import sys
import time
import urllib.error
import urllib.request
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import catalogue
from config import demo, stripe_lookalike
from config.management.commands.serve import check_port
from config.server import Server, command, jobs_command, serving

READY_WITHIN_S = 30

CURL = (
    "curl {url}/api/v1/usage/ -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json'"
    ' -d \'{{"operation": "text_analysis", "provider": "google", "model": "gemini-2.0-flash",'
    ' "quantities": {{"input_images": 1, "output_tokens": 500}}}}\''
)
BANNER = """
  Tollgate is running at {url}

  Usage & Costs   {url}/settings/usage/
                  {user}   password: {password}
                  (also priya@, omar@, lena@ and kai@example.com)
  Admin           {url}/admin/
                  {staff}   password: {password}
  API             {url}/api/v1/docs/
  Payments        {payments}/
                  {about}
  A key           {key}

  Record usage:

  {curl}

  Stop with Ctrl+C.
"""


class Command(BaseCommand):
    help = "Migrate, load the catalogue, make demo accounts, replay the bundled trace, and serve."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--serve", action="store_true", help="Go on serving afterwards.")

    def handle(self, *args: Any, **options: Any) -> None:
        check_port("127.0.0.1", settings.PORT)
        url = f"http://127.0.0.1:{settings.PORT}"
        lookalike = stripe_lookalike.choose(url)  # before anything starts, for all are told where it is
        with serving(command("127.0.0.1", settings.PORT)) as server:  # starts up while the tables are made
            if lookalike is not None:
                server.start_beside("look-alike of Stripe", lookalike.command)
            call_command("migrate", verbosity=0)
            catalogue.load()
            server.start_beside("job worker", jobs_command())
            known = demo.demo_secrets()
            cast = demo.prepare(known)
            wait_until_ready(url, server)
            if not demo.is_complete(cast):
                demo.fill(cast, url, known.service_key)
            if lookalike is not None:
                stripe_lookalike.sell_plans(lookalike)
            self.stdout.write(
                BANNER.format(
                    url=url,
                    user="maya@example.com",
                    staff=demo.STAFF,
                    password=known.password,
                    key=known.account_key,
                    curl=CURL.format(url=url, key=known.account_key),
                    payments=lookalike.base if lookalike else settings.STRIPE_API_BASE,
                    about="a look-alike of Stripe: try paying, no money moves" if lookalike else "Stripe",
                )
            )
            self.stdout.flush()
            if options["serve"]:
                sys.exit(server.keep())


def wait_until_ready(url: str, server: Server) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise CommandError(f"The server stopped with exit code {server.process.returncode}.")
        try:
            with urllib.request.urlopen(f"{url}/api/v1/health/", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise CommandError(f"The server did not answer within {READY_WITHIN_S} seconds.")
