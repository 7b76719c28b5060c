"""The History page of a large account with long names: few queries, little markup."""

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import keys
from accounts.models import Account, Member, User
from tests.conftest import Api

URL = "/settings/usage/history/"


@pytest.fixture(autouse=True)
def _it_is_the_twentieth() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


def long_name(start: str, length: int) -> str:
    return (start + "n&me " * length)[:length]


@pytest.fixture
def large_acme(acme: Account, alice: User, service_api: Api) -> Account:
    """A hundred members, keys, campaigns and models, whose names are as long as they can be."""
    for n in range(60):
        email = f"{n:03}{'m' * 230}@example.com"
        user = User.objects.create(email=email, name=long_name(f"{n} ", 150))
        Member.objects.create(account=acme, user=user)
        keys.make_key(acme, name=long_name(f"{n} ", 100))
    service_api.post(
        "usage/",
        [
            {
                "account": acme.public_id,
                "operation": f"operation_{n % 30}_{'o' * 48}",
                "provider": long_name(f"{n} ", 64),
                "model": long_name(f"{n} ", 128),
                "variant": long_name(f"{n} ", 64),
                "session": long_name(f"{n} ", 200),
                "campaign": long_name(f"{n % 50} ", 200),
                "reference": long_name(f"{n} ", 200),
                "user": f"{n % 60:03}{'m' * 230}@example.com",
                "quantities": {f"unit_{unit}": "999999999" for unit in range(8)},
                "characters": 10**6,
                "latency_ms": 99_999_999,
            }
            for n in range(120)
        ],
    )
    return acme


def visited(client: Client, path: str) -> tuple[str, int]:
    client.get(path)  # a process's first page also fills its memories
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(path)
    assert answer.status_code == 200
    return answer.content.decode(), len(queries)


def test_a_full_page_of_long_names_takes_few_queries_and_little_markup(
    client: Client, alice: User, large_acme: Account
) -> None:
    client.force_login(alice)

    html, queries = visited(client, f"{URL}?account={large_acme.public_id}")

    assert html.count('<tr role="row">') == 51
    assert len(html.encode()) < 100_000
    assert queries <= 12


def test_every_filter_at_once_takes_no_more(client: Client, alice: User, large_acme: Account) -> None:
    client.force_login(alice)
    filters = {
        "account": large_acme.public_id,
        "from": "2026-11-01",
        "to": "2026-11-21",
        "operation": f"operation_7_{'o' * 48}",
        "provider": long_name("7 ", 64),
        "model": long_name("7 ", 128),
        "status": "success",
        "campaign": long_name("7 ", 200),
        "user": f"007{'m' * 230}@example.com",
        "session": long_name("7 ", 200),
        "reference": long_name("7 ", 200),
    }

    html, queries = visited(client, f"{URL}?{urlencode(filters)}")

    assert len(re.findall(r'"sr"> rec_\d+</span>', html)) == 1
    assert len(html.encode()) < 100_000
    assert queries <= 12


def test_short_lists_are_lists_and_take_few_queries_too(
    client: Client, alice: User, acme: Account, acme_api: Api
) -> None:
    acme_api.post("usage/", [{"operation": f"op_{n}", "model": f"m-{n}", "provider": "p"} for n in range(60)])
    client.force_login(alice)

    html, queries = visited(client, f"{URL}?account={acme.public_id}&operation=op_7")

    assert html.count("<select") == 8
    assert queries <= 12
