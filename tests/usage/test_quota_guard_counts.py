"""What takes room in which quota: units, cost, scopes; what is counted of a refusal."""

from collections.abc import Iterator

import pytest
import time_machine

from accounts import keys
from accounts.models import Account, User
from tests.conftest import Api
from tests.usage.price_list import add_price
from tests.usage.quotas import (
    call,
    limit,
    meter,
    meters,
    statuses,
    used,
)
from usage.models import Campaign, Refusal

pytestmark = pytest.mark.usefixtures("totals_agree")


@pytest.fixture(autouse=True)
def _in_november() -> Iterator[None]:
    with time_machine.travel("2026-11-20T10:00:00Z", tick=False):
        yield


def test_a_failed_call_takes_no_room_but_in_spend(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 0)
    limit(acme, "spend", "0.02")

    event = call(status="error", quantities={"requests": 1})
    assert [acme_api.record(**event).status_code for _ in range(3)] == [201, 201, 429]
    assert (used(acme_api, "api_calls"), used(acme_api, "spend")) == ("0", "0.02")


def test_a_guarded_record_names_a_unit_of_each_hard_sum_that_lists_its_operation(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    limit(acme, "tokens", 100)

    refused = acme_api.record(operation="ai_response", quantities={"messages": 1})

    assert (refused.status_code, refused.json()["errors"][0]["error"]) == (400, "missing_unit")
    assert acme_api.record(operation="ai_response").status_code == 400
    for fine in ({"tokens": 1}, {"output_tokens": 1, "messages": 1}):
        assert acme_api.record(operation="ai_response", quantities=fine).status_code == 201
    assert acme_api.record(operation="ai_response", status="error").status_code == 201
    fact = {"account": acme.public_id, "operation": "ai_response", "quantities": {"messages": 1}}
    assert service_api.record(**fact).status_code == 201
    assert Refusal.objects.count() == 0


def test_a_sum_over_all_operations_asks_none_of_them_for_its_units(acme: Account, acme_api: Api) -> None:
    limit(acme, "chat_messages", 1)

    assert acme_api.record(**call()).status_code == 201
    answers = [acme_api.record(operation="message_sent").status_code for _ in range(2)]
    assert answers == [201, 429]


@pytest.mark.parametrize("enforcement", ["soft", "none"])
def test_no_unit_is_missed_where_nothing_is_refused(acme: Account, acme_api: Api, enforcement: str) -> None:
    limit(acme, "tokens", 100, enforcement=enforcement)

    assert acme_api.record(operation="ai_response", quantities={"messages": 1}).status_code == 201


# Cost.


def test_a_budget_is_kept_to_the_tenth_place(acme: Account, acme_api: Api) -> None:
    add_price(operation="tiny", requests="0.0000000001")
    limit(acme, "spend", "0.0000000003")

    answers = [acme_api.record(operation="tiny").status_code for _ in range(4)]

    assert answers == [201, 201, 201, 429]
    shown = meter(acme_api, "spend")
    assert (shown["used"], shown["limit"], shown["remaining"]) == ("0.0000000003", "0.0000000003", "0")


def test_a_budget_of_1_usd_is_exactly_a_hundred_calls_of_a_cent(acme: Account, acme_api: Api) -> None:
    limit(acme, "spend", 1)

    assert acme_api.post("usage/", [call()] * 130).json()["accepted"] == 100
    free = acme_api.record(operation="message_sent")
    assert free.status_code == 201


@pytest.mark.parametrize(
    "event",
    [
        {"operation": "never_priced"},
        {"operation": "api_call", "quantities": {"requests": 1, "pages": 1}},
        {"operation": "never_priced", "status": "error", "quantities": {"requests": 1}},
    ],
    ids=["no price", "one unit without one", "failed"],
)
def test_under_a_budget_what_has_no_price_is_not_permitted(
    acme: Account, acme_api: Api, service_api: Api, event: dict
) -> None:
    limit(acme, "spend", 100)

    refused = acme_api.record(**event)

    assert (refused.status_code, refused.json()["error"]) == (403, "unpriced")
    assert (refused.json()["meter"], refused.json()["scope"]) == ("spend", "account")
    assert sum(Refusal.objects.values_list("attempts", flat=True)) == 1
    assert service_api.record(account=acme.public_id, **event).status_code == 201


def test_in_an_array_only_what_has_no_price_is_rejected_for_it(acme: Account, acme_api: Api) -> None:
    limit(acme, "spend", 100)

    answer = acme_api.post("usage/", [call(), {"operation": "never_priced"}, call()])

    assert (answer.status_code, answer.json()["accepted"]) == (207, 2)
    assert [(r["index"], r["error"]) for r in answer.json()["rejected"]] == [(1, "unpriced")]


@pytest.mark.parametrize("enforcement", ["soft", "none"])
def test_a_soft_budget_permits_what_has_no_price(acme: Account, acme_api: Api, enforcement: str) -> None:
    limit(acme, "spend", 100, enforcement=enforcement)

    assert acme_api.record(operation="never_priced").status_code == 201


def test_refusals_are_counted_by_the_minute_and_move_nothing(acme: Account, acme_api: Api) -> None:
    limit(acme, "api_calls", 1)
    acme_api.record(**call())
    before = meters(acme_api)

    acme_api.record(**call())
    acme_api.post("usage/", [call(), call()])
    with time_machine.travel("2026-11-20T10:01:00Z", tick=False):
        acme_api.record(**call())

    rows = Refusal.objects.order_by("minute").values_list("minute", "attempts", "local_day")
    assert [(f"{minute:%H:%M}", attempts, f"{day}") for minute, attempts, day in rows] == [
        ("10:00", 3, "2026-11-20"),
        ("10:01", 1, "2026-11-20"),
    ]
    assert {row.account_id for row in Refusal.objects.all()} == {acme.pk}
    assert meters(acme_api) == before
    listed = acme_api.get("usage/history/", status="rate_limited").json()["results"]
    assert [entry["cost"]["USD"] for entry in listed] == ["0.0000000000"] * 2


def test_a_refusal_stands_on_the_day_on_which_it_was_asked(acme: Account, acme_api: Api) -> None:
    acme.time_zone = "Asia/Kolkata"
    acme.save(update_fields=["time_zone"])
    limit(acme, "api_calls", 0)

    with time_machine.travel("2026-11-20T18:30:00Z", tick=False):  # midnight in Kolkata
        acme_api.record(**call(occurred_at="2026-11-20T18:29:59Z"))
        acme_api.post("usage/", [call(), call(occurred_at="2026-11-20T10:00:00Z")])

    (refusal,) = Refusal.objects.all()
    assert (f"{refusal.local_day}", refusal.attempts) == ("2026-11-21", 3)


def test_what_is_no_refusal_of_permission_is_not_counted(acme: Account, acme_api: Api) -> None:
    limit(acme, "tokens", 1)
    acme_api.record(operation="ai_response")
    acme_api.record(operation="api_call", quantities={"requests": "-1"})
    acme_api.record(operation="api_call", event_id="a")
    acme_api.record(operation="api_call", event_id="a", quantities={"requests": 2})

    assert Refusal.objects.count() == 0


def test_a_members_quota_counts_that_member_alone(
    acme: Account, acme_api: Api, alice: User, bob: User
) -> None:
    limit(acme, "api_calls", 1, scope="member", scope_id=bob.pk)

    assert statuses(acme_api, 2, user="bob@example.com") == [201, 429]
    assert statuses(acme_api, 2, user="alice@example.com") == [201, 201]
    assert statuses(acme_api, 1) == [201]
    refused = acme_api.record(**call(user="bob@example.com")).json()
    assert refused["scope"] == "member:bob@example.com"
    assert used(acme_api, "api_calls", "member:bob@example.com") == "1"
    assert used(acme_api, "api_calls") == "4"


def test_a_campaigns_quota_counts_that_campaign_alone(acme: Account, acme_api: Api) -> None:
    spring = Campaign.objects.create(account=acme, name="spring")
    limit(acme, "api_calls", 1, scope="campaign", scope_id=spring.pk)

    assert statuses(acme_api, 2, campaign="spring") == [201, 429]
    assert statuses(acme_api, 2, campaign="summer") == [201, 201]
    assert acme_api.record(**call(campaign="spring")).json()["scope"] == "campaign:spring"


def test_a_keys_quota_counts_that_key_alone(acme: Account, acme_api: Api) -> None:
    key, token = keys.make_key(acme, name="second")
    limit(acme, "api_calls", 1, scope="key", scope_id=key.pk)

    assert statuses(Api(token), 2) == [201, 429]
    assert statuses(acme_api, 2) == [201, 201]
    assert Api(token).record(**call()).json()["scope"] == f"key:{key.prefix}"


def test_several_meters_are_all_taken_or_none(acme: Account, acme_api: Api, bob: User) -> None:
    limit(acme, "api_calls", 3)
    limit(acme, "api_calls", 2, window="day")
    limit(acme, "spend", "0.05")
    limit(acme, "api_calls", 1, scope="member", scope_id=bob.pk)
    kept = ("api_calls", "account"), ("spend", "account"), ("api_calls", "member:bob@example.com")

    def state() -> list[str]:
        return [m["used"] for m in meters(acme_api) if (m["meter"], m["scope"]) in kept]

    assert statuses(acme_api, 2, user="bob@example.com") == [201, 429]
    assert state() == ["1", "1", "1", "0.01"]
    assert statuses(acme_api, 2) == [201, 429]
    assert state() == ["2", "2", "1", "0.02"]
    with time_machine.travel("2026-11-21T10:00:00Z", tick=False):
        assert statuses(acme_api, 2) == [201, 429]
        assert state() == ["3", "1", "1", "0.03"]


def test_another_accounts_usage_takes_no_room(acme: Account, acme_api: Api, charlie_api: Api) -> None:
    limit(acme, "api_calls", 1)

    assert statuses(charlie_api, 2) == [201, 201]
    assert statuses(acme_api, 2) == [201, 429]


def test_an_account_without_a_quota_on_a_meter_is_unlimited_in_it(acme_api: Api) -> None:
    assert acme_api.record(**call(quantities={"requests": "100000000"})).status_code == 201
    shown = meter(acme_api, "api_calls")
    assert (shown["limit"], shown["enforcement"], shown["window"]) == (None, "none", "calendar_month")
