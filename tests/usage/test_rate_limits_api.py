"""Rate limits over the API: whose they are, what they answer, and that nothing a client sends evades them."""

import json
import re
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account, Key, User
from tests.conftest import Api
from usage.models import Operation, Record, Terms
from usage.rates import limits as rate_limits
from usage.rates import stores as rate_stores

SPOOFED = (
    "X-Forwarded-For",
    "X-Real-IP",
    "Forwarded",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Forwarded-Host",
)


class Clock:
    """The clock of everything that is remembered or counted for a while."""

    def __init__(self) -> None:
        self.now_ns = 10**15

    def monotonic(self) -> float:
        return self.now_ns / 10**9

    def monotonic_ns(self) -> int:
        return self.now_ns

    def wait(self, seconds: int) -> None:
        self.now_ns += seconds * 10**9


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (keys, rate_limits, rate_stores):
        monkeypatch.setattr(module, "time", clock)
    return clock


def limit(account: Account, requests: int | None = None, tokens: int | None = None) -> None:
    values = {"requests_per_minute": requests, "tokens_per_minute": tokens}
    Terms.objects.update_or_create(account=account, defaults={"anchor_day": date(2026, 1, 1), **values})


def limited_key(account: Account | None, **limits: int) -> Api:
    key, token = keys.make_key(account)
    Key.objects.filter(pk=key.pk).update(**limits)
    return Api(token)


def statuses(api: Api, times: int) -> list[int]:
    return [api.get("usage/history/").status_code for _ in range(times)]


def tokens(amount: object, **fields: object) -> dict[str, object]:
    return {"operation": "text_analysis", "quantities": {"output_tokens": amount}, **fields}


def test_an_account_makes_as_many_requests_a_minute_as_its_terms_say(
    acme: Account, acme_api: Api, clock: Clock
) -> None:
    limit(acme, requests=3)

    assert statuses(acme_api, 5) == [200, 200, 200, 429, 429]
    clock.wait(59)
    assert statuses(acme_api, 1) == [429]
    clock.wait(1)
    assert statuses(acme_api, 5) == [200, 200, 200, 429, 429]


def test_a_refusal_says_what_limit_whose_and_how_long(acme: Account, acme_api: Api, clock: Clock) -> None:
    limit(acme, requests=1)
    acme_api.get("usage/history/")
    clock.wait(18)

    refused = acme_api.get("usage/history/")

    message = "This account is limited to 1 requests a minute. Try again in 42 seconds."
    assert refused.json() == {
        "type": "about:blank",
        "title": "Limit reached",
        "status": 429,
        "detail": message,
        "error": "rate_limited",
        "message": message,
        "limit": 1,
        "per": "minute",
        "scope": "account",
        "counts": "requests",
    }
    assert refused["Content-Type"] == "application/problem+json"
    assert refused["Retry-After"] == "42"
    assert refused["RateLimit-Policy"] == '"requests";q=1;w=60'
    assert refused["RateLimit"] == '"requests";r=0;t=42'


def test_an_admitted_answer_says_what_is_left(acme: Account, acme_api: Api, clock: Clock) -> None:
    limit(acme, requests=10)
    acme_api.get("usage/history/")
    clock.wait(20)

    answer = acme_api.get("usage/history/")

    assert answer["RateLimit-Policy"] == '"requests";q=10;w=60'
    assert answer["RateLimit"] == '"requests";r=8;t=40'
    assert "Retry-After" not in answer


def test_without_limits_nothing_is_refused_and_no_header_is_given(acme: Account, acme_api: Api) -> None:
    limit(acme)

    answers = [acme_api.get("usage/history/") for _ in range(20)]

    assert {answer.status_code for answer in answers} == {200}
    assert not any(name.startswith(("RateLimit", "Retry")) for answer in answers for name in answer.headers)


def test_every_kind_of_answer_is_one_request(acme: Account, acme_api: Api) -> None:
    limit(acme, requests=5)

    answers = [
        acme_api.record(**tokens(1)),
        acme_api.record(operation=5),
        acme_api.get("usage/export/"),
        acme_api.get("usage/history/", page_size="many"),
        acme_api.get("billing/subscription/"),
        acme_api.get("usage/trends/"),
    ]

    assert [answer.status_code for answer in answers] == [201, 400, 200, 400, 200, 429]
    assert [re.findall(r"r=(\d+)", answer["RateLimit"])[0] for answer in answers] == list("432100")


@pytest.mark.parametrize("header", SPOOFED)
def test_forwarding_headers_change_nothing(acme: Account, acme_api: Api, header: str) -> None:
    limit(acme, requests=2)

    def one(n: int) -> int:
        value = f"for=203.0.113.{n}" if header == "Forwarded" else f"203.0.113.{n}"
        return acme_api.get("usage/history/", headers={header: value}).status_code

    assert [one(n) for n in range(4)] == [200, 200, 429, 429]


def test_forwarding_headers_change_nothing_behind_a_proxy_that_is_believed(
    acme: Account, acme_api: Api, settings: Any
) -> None:
    settings.TRUSTED_PROXIES = ["127.0.0.0/8"]
    limit(acme, requests=1)

    answers = [
        acme_api.client.get(
            "/api/v1/usage/history/",
            headers={**acme_api.headers, "X-Forwarded-For": f"203.0.113.{n}"},
            REMOTE_ADDR=f"127.0.0.{n + 1}",
        )
        for n in range(3)
    ]

    assert [answer.status_code for answer in answers] == [200, 429, 429]


def test_keys_of_an_account_share_its_limit(acme: Account, acme_api: Api) -> None:
    limit(acme, requests=3)
    other = limited_key(acme)

    assert statuses(acme_api, 2) + statuses(other, 2) == [200, 200, 200, 429]


def test_accounts_share_nothing(acme: Account, acme_api: Api, charlie: User, charlie_api: Api) -> None:
    limit(acme, requests=1)
    limit(charlie.personal_account, requests=2)

    assert statuses(acme_api, 2) == [200, 429]
    assert statuses(charlie_api, 3) == [200, 200, 429]


def test_a_keys_own_limit_holds_beside_the_accounts(acme: Account, acme_api: Api) -> None:
    limit(acme, requests=4)
    narrow = limited_key(acme, requests_per_minute=2)

    assert statuses(narrow, 3) == [200, 200, 429]
    assert narrow.get("usage/history/").json()["scope"] == "key"
    assert statuses(acme_api, 3) == [200, 200, 429]  # what the narrow key was refused took nothing
    assert acme_api.get("usage/history/").json()["scope"] == "account"


def test_of_two_limits_that_are_used_up_the_one_that_lasts_longer_is_told(
    acme: Account, acme_api: Api, clock: Clock
) -> None:
    limit(acme, requests=3)
    narrow = limited_key(acme, requests_per_minute=1)
    assert statuses(acme_api, 2) == [200, 200]
    clock.wait(30)
    assert statuses(narrow, 1) == [200]

    refused = narrow.get("usage/history/")

    assert (refused.json()["scope"], refused["Retry-After"]) == ("key", "60")
    clock.wait(60)
    assert statuses(narrow, 1) == [200]


def test_the_headers_tell_of_the_limit_with_the_least_left(acme: Account) -> None:
    limit(acme, requests=4)
    narrow = limited_key(acme, requests_per_minute=2)
    wide = limited_key(acme, requests_per_minute=200)

    assert narrow.get("usage/history/")["RateLimit-Policy"] == '"requests";q=2;w=60'
    assert wide.get("usage/history/")["RateLimit-Policy"] == '"requests";q=4;w=60'
    assert wide.get("usage/history/")["RateLimit"].startswith('"requests";r=1;')


def test_a_service_key_is_under_its_own_limit_alone(acme: Account, service_api: Api) -> None:
    limit(acme, requests=1, tokens=1)
    own = limited_key(None, requests_per_minute=2)

    def record(api: Api) -> int:
        return api.record(account=acme.public_id, **tokens(50)).status_code

    assert [record(service_api) for _ in range(4)] == [201] * 4
    assert [record(own) for _ in range(3)] == [201, 201, 429]


def test_what_a_service_key_reports_is_never_refused_for_its_tokens(acme: Account) -> None:
    own = limited_key(None, tokens_per_minute=1)

    assert own.record(account=acme.public_id, **tokens(50)).status_code == 201


def test_a_browser_is_not_limited(acme: Account, alice: User) -> None:
    limit(acme, requests=1)
    browser = Client()
    browser.force_login(alice)

    answers = [browser.get(f"/api/v1/usage/history/?account={acme.public_id}") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200] * 3


@pytest.mark.parametrize("path", ["health/", "schema/", "docs/"])
def test_what_needs_no_key_is_not_limited(acme: Account, acme_api: Api, path: str) -> None:
    limit(acme, requests=1)

    assert [acme_api.get(path).status_code for _ in range(3)] == [200] * 3
    assert statuses(acme_api, 2) == [200, 429]


def test_a_limit_of_0_is_none_at_all(acme: Account, acme_api: Api) -> None:
    limit(acme, requests=0)

    refused = acme_api.get("usage/history/")

    assert (refused.status_code, refused["Retry-After"]) == (429, "3600")
    assert refused["RateLimit"].startswith('"requests";r=0;')
    assert "more than that in one piece" in refused.json()["message"]


def test_a_limit_too_large_for_a_header_is_as_large_as_one_can_be(acme: Account, acme_api: Api) -> None:
    limit(acme, tokens=2**63 - 1)

    assert '"tokens";q=999999999999999;w=60' in acme_api.record(**tokens(1))["RateLimit-Policy"]


def test_other_limits_hold_within_four_seconds_of_a_change(
    acme: Account, acme_api: Api, clock: Clock
) -> None:
    limit(acme, requests=1)
    assert statuses(acme_api, 2) == [200, 429]

    limit(acme, requests=3)
    clock.wait(4)
    assert statuses(acme_api, 3) == [200, 200, 429]

    Terms.objects.all().delete()
    clock.wait(4)
    assert statuses(acme_api, 5) == [200] * 5

    Key.objects.update(requests_per_minute=1)
    clock.wait(4)
    assert statuses(acme_api, 2) == [200, 429]


def test_limits_cost_no_query_per_request(
    acme: Account, acme_api: Api, clock: Clock, django_assert_max_num_queries: Any
) -> None:
    limit(acme, requests=100, tokens=100)
    caller = keys.check(acme_api.headers["Authorization"].removeprefix("Bearer "))
    rate_limits.take_request(caller)

    with django_assert_max_num_queries(0):
        clock.now_ns += 4 * 10**9 - 1
        assert rate_limits.take_request(caller)["RateLimit"].startswith('"requests";r=98')
        assert rate_limits.take_tokens(caller, 10)["RateLimit"].startswith('"tokens";r=90')


def test_many_accounts_are_remembered_only_so_far(
    acme: Account, acme_api: Api, charlie_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "REMEMBERED_AT_MOST", 1)

    assert statuses(acme_api, 1) + statuses(charlie_api, 1) == [200, 200]
    assert len(rate_limits._terms) == 1


@pytest.fixture(params=["array", "NDJSON"])
def send(request: pytest.FixtureRequest, acme_api: Api) -> Callable[[list], Any]:
    def as_lines(items: list) -> Any:
        return acme_api.post("usage/", "\n".join(map(json.dumps, items)), "application/x-ndjson")

    return as_lines if request.param == "NDJSON" else lambda items: acme_api.post("usage/", items)


def test_a_batch_is_taken_whole_or_not_at_all(acme: Account, clock: Clock, send: Any) -> None:
    limit(acme, tokens=1_000)
    first = [tokens(300, event_id="a"), tokens(200, event_id="b")]
    second = [tokens(400, event_id="c"), tokens(101, event_id="d")]
    assert send(first)["RateLimit"] == '"tokens";r=500;t=60'

    refused = send(second)

    assert (refused.status_code, refused.json()["error"]) == (429, "rate_limited")
    assert (refused.json()["counts"], refused.json()["limit"]) == ("tokens", 1_000)
    assert refused["RateLimit"] == '"tokens";r=500;t=60'
    assert set(Record.objects.values_list("event_id", flat=True)) == {"a", "b"}
    clock.wait(int(refused["Retry-After"]))
    assert send(second).json()["accepted"] == 2
    assert Record.objects.count() == 4


def test_one_event_is_taken_or_not(acme: Account, acme_api: Api) -> None:
    limit(acme, requests=10, tokens=100)

    assert acme_api.record(**tokens(60, event_id="a")).status_code == 201
    refused = acme_api.record(**tokens(60, event_id="b"))

    assert refused.status_code == 429
    assert refused["RateLimit-Policy"] == '"requests";q=10;w=60, "tokens";q=100;w=60'
    assert re.fullmatch(r'"requests";r=8;t=\d+, "tokens";r=40;t=\d+', refused["RateLimit"])
    assert acme_api.record(**tokens(40, event_id="c")).status_code == 201
    assert list(Record.objects.order_by("id").values_list("event_id", flat=True)) == ["a", "c"]


def test_an_admitted_record_tells_of_requests_and_of_tokens(
    acme: Account, acme_api: Api, clock: Clock
) -> None:
    limit(acme, requests=10, tokens=100)
    acme_api.record(**tokens(10))
    clock.now_ns += 10**9 + 1

    answer = acme_api.record(**tokens(60))

    assert answer["RateLimit-Policy"] == '"requests";q=10;w=60, "tokens";q=100;w=60'
    assert answer["RateLimit"] == '"requests";r=8;t=59, "tokens";r=30;t=59'  # 58.999999999 s


def test_what_is_rejected_of_a_batch_neither_counts_nor_stops_the_rest(acme: Account, send: Any) -> None:
    limit(acme, tokens=100)

    answer = send([tokens("many", event_id="bad"), tokens(70, event_id="good"), {"operation": 5}])

    assert (answer.status_code, answer.json()["accepted"]) == (207, 1)
    assert answer["RateLimit"].startswith('"tokens";r=30;')


def test_more_than_the_whole_limit_never_fits_and_takes_nothing(
    acme: Account, acme_api: Api, clock: Clock
) -> None:
    limit(acme, tokens=100)

    refused = acme_api.record(**tokens(101))

    assert (refused.status_code, refused["Retry-After"]) == (429, "3600")
    assert refused["RateLimit"] == '"tokens";r=100;t=1'
    assert refused.json()["message"] == (
        "This account is limited to 100 tokens a minute. "
        "This request counts 101, which is more than that in one piece."
    )
    assert acme_api.record(**tokens(100)).status_code == 201


@pytest.mark.parametrize(
    ("event", "counted"),
    [
        pytest.param({"quantities": {"input_tokens": 3, "output_tokens": "4", "tokens": 5}}, 12, id="kinds"),
        pytest.param({"quantities": {"output_tokens": "0.0001"}}, 1, id="rounded-up"),
        pytest.param({"quantities": {"total_tokens": 50, "output_tokens": 2}}, 2, id="informational"),
        pytest.param({"quantities": {"input_images": 7, "seconds": 8, "never_seen": 9}}, 0, id="others"),
        pytest.param({"characters": 4_003}, 1_000, id="characters"),
        pytest.param({"characters": 40, "quantities": {"input_tokens": 5}}, 15, id="characters-and-tokens"),
        pytest.param({"quantities": {"output_tokens": 6}, "status": "error"}, 6, id="failed"),
        pytest.param({"quantities": {"output_tokens": 6}, "status": "rate_limited"}, 0, id="refused-there"),
        pytest.param({"quantities": {"output_tokens": "many"}}, 0, id="rejected"),
        pytest.param({"quantities": {"output_tokens": 10**12 + 1}}, 0, id="too-large"),
        pytest.param({"operation": "voice_minute", "quantities": None}, 0, id="default-unit"),
        pytest.param({"operation": 5}, 0, id="undecodable"),
    ],
)
def test_what_counts_as_tokens(acme: Account, acme_api: Api, event: dict, counted: int) -> None:
    limit(acme, tokens=5_000)

    answer = acme_api.post("usage/", [{"operation": "text_analysis", **event}])

    left = re.search(r'"tokens";r=(\d+)', answer.headers.get("RateLimit", '"tokens";r=5000'))
    assert left is not None
    assert 5_000 - int(left.group(1)) == counted


def test_the_default_unit_counts_when_it_is_a_token(acme: Account, acme_api: Api) -> None:
    limit(acme, tokens=5)
    Operation.objects.create(slug="token_call", name="Token call", default_unit="output_tokens")

    assert '"tokens";r=4' in acme_api.record(operation="token_call")["RateLimit"]


def test_a_known_event_that_is_sent_again_counts_again(acme: Account, acme_api: Api) -> None:
    limit(acme, tokens=100)

    again = [acme_api.record(**tokens(40, event_id="a")).status_code for _ in range(3)]

    assert again == [201, 200, 429]
    assert Record.objects.count() == 1


def test_a_keys_own_tokens_hold_beside_the_accounts(acme: Account, acme_api: Api) -> None:
    limit(acme, tokens=100)
    narrow = limited_key(acme, tokens_per_minute=50)

    assert narrow.record(**tokens(40)).status_code == 201
    refused = narrow.record(**tokens(20))
    assert (refused.status_code, refused.json()["scope"]) == (429, "key")
    assert acme_api.record(**tokens(60)).status_code == 201
    assert acme_api.record(**tokens(1)).json()["scope"] == "account"
