"""What is done with the product's own code, in a process of its own for each database.

python -m tests.benchmarks.inside cast            tables, catalogue, accounts and keys; prints them
python -m tests.benchmarks.inside limit ID N      account ID may make N calls of the API
python -m tests.benchmarks.inside reader N        an account whose owner is signed in, for N records
python -m tests.benchmarks.inside console N A M   N records of A accounts in M months; a session of staff
python -m tests.benchmarks.inside audit [ID …]    every total against the ledger, without these accounts
"""

import io
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

APPS = 4  # client apps, each with an account and a key of its own
LIMITED = 12  # accounts with a limit that clients race for, one for each race
LIMIT = 100
NO_LIMIT_IN_REACH = 10**9


def cast() -> dict[str, list[tuple[int, str]]]:
    """Tables, catalogue, and accounts with a key each: role → account ids and keys."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)  # the peers' tables refer to ours
    call_command("load_catalogue", stdout=io.StringIO())
    return {
        "apps": [made(f"App {number}", NO_LIMIT_IN_REACH) for number in range(APPS)],
        "limited": [made(f"Limited {number}", LIMIT) for number in range(LIMITED)],
        "writers": [made("Writers", NO_LIMIT_IN_REACH)],
        "large": [made("Large", None)],  # limited later, once it has its records
    }


def made(name: str, calls: int | None) -> tuple[int, str]:
    """A business account, and a key of it."""
    from accounts import keys
    from accounts.lifecycle import open_business_account

    account = open_business_account(name)
    if calls is not None:
        limit(account.pk, calls)
    return account.pk, keys.make_key(account, name="app")[1]


def reader(records: int) -> dict[str, object]:
    """A business account with three members and a key, and its owner's browser session."""
    from accounts import keys
    from accounts.authentication import CURRENT_ACCOUNT
    from accounts.lifecycle import open_business_account
    from accounts.models import Member, User

    users = [User.objects.create_user(f"reader-{records}-{n}@example.com") for n in range(3)]
    account = open_business_account(f"Reader of {records}", owner=users[0], time_zone="UTC")
    for user in users[1:]:
        Member.objects.create(account=account, user=user)
    session = signed_in(users[0], **{CURRENT_ACCOUNT: account.pk})
    return {
        "account": account.pk,
        "users": [user.pk for user in users],
        "token": keys.make_key(account, name="reader")[1],
        "session": session,
    }


def signed_in(user: Any, **entries: object) -> str:
    """The key of a browser session of a user."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.update(entries)
    session.save()
    return str(session.session_key)


def console(records: int, accounts: int, months: int) -> str:
    """Made-up usage of many accounts, and a session of staff who read of it."""
    from django.core.management import call_command
    from django.db import connection

    from accounts.models import User

    call_command("fill_demo", records=records, accounts=accounts, months=months, stdout=io.StringIO())
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            if table.startswith(("usage_", "billing_", "accounts_")):
                cursor.execute(f"ANALYZE TABLE {table}")
                cursor.fetchall()
    return signed_in(User.objects.create_superuser("console@example.com"))


def limit(account_id: int, calls: int) -> None:
    """Let an account make so many calls in a calendar month, and no more."""
    from decimal import Decimal

    from accounts.models import Account
    from usage.models import Meter
    from usage.quotas import limits

    account, meter = Account.objects.get(pk=account_id), Meter.objects.get(slug="api_calls")
    limits.override(
        account,
        meter,
        Decimal(calls),
        actor="bench@example.com",
        reason="a benchmark",
        window="calendar_month",
    )


def audit(without: Iterable[int]) -> list[str]:
    """The first totals and balances that differ from the ledger."""
    from itertools import chain, islice

    from usage import references, rollups
    from usage.quotas import balances
    from usage.snapshot import consistent

    with consistent():
        ids = [pk for pk in rollups.account_ids() if pk not in set(without)]
        return [
            str(drift)
            for drift in islice(chain(rollups.verify(ids), references.verify(ids), balances.verify(ids)), 3)
        ]


def main(command: str, *arguments: str) -> None:
    import django

    django.setup()
    numbers = [int(argument) for argument in arguments]
    answer: object = None
    if command == "cast":
        answer = cast()
    elif command == "limit":
        limit(*numbers)
    elif command == "console":
        answer = console(*numbers)
    elif command == "reader":
        answer = reader(*numbers)
    else:
        answer = audit(numbers)
    print(json.dumps(answer))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.benchmarks.settings")
    main(*sys.argv[1:])
