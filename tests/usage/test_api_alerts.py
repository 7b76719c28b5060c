"""GET /api/v1/usage/alerts/: what was told, newest first, in keyset pages."""

import re

import pytest
from django.utils.dateparse import parse_datetime

from accounts.models import Account
from billing import plans
from billing.models import Plan
from tests.conftest import Api
from tests.usage.alerted import cost, cost_thresholds, look, look_at_costs, thresholds, use
from tests.usage.quotas import limit
from usage import worker

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def limited(acme: Account) -> None:
    plans.change_plan(acme, Plan.objects.get(code="enterprise"), actor="staff@example.com")
    limit(acme, "api_calls", 100)


def test_an_account_without_alerts_has_an_empty_list(acme_api: Api) -> None:
    assert acme_api.get("usage/alerts/").json() == {"next": None, "previous": None, "results": []}


def test_each_threshold_is_listed_with_its_messages(acme: Account, acme_api: Api, service_api: Api) -> None:
    use(service_api, "96.5", account=acme.public_id)
    look()
    worker.drain()
    newest, older = acme_api.get("usage/alerts/").json()["results"]
    assert (newest["meter"], newest["threshold"], newest["percentage"]) == ("api_calls", "95", "96.5")
    assert (newest["used"], newest["limit"], newest["included"]) == ("96.5", "100", None)
    assert newest["threshold_cost"] is None
    assert newest["deliveries"][0]["state"] == "delivered"
    assert newest["deliveries"][0]["channel"] == "email"
    assert (older["threshold"], older["deliveries"]) == ("80", [])
    instants = [parse_datetime(newest[name]) for name in ("window_start", "crossed_at", "resets_at")]
    assert instants == sorted(instants)  # type: ignore[type-var]


def test_a_threshold_of_cost_has_no_meter(acme: Account, acme_api: Api, service_api: Api) -> None:
    cost_thresholds(acme, "25")
    cost(service_api, acme, "30")
    look_at_costs()
    (alert,) = acme_api.get("usage/alerts/").json()["results"]
    assert (alert["meter"], alert["threshold"], alert["limit"], alert["percentage"]) == (
        None,
        None,
        None,
        None,
    )
    assert alert["threshold_cost"] == {"USD": "25.0000000000"}
    assert (alert["used"], alert["unit"]) == ("30", "USD")


def test_pages_follow_each_other_without_a_gap(acme: Account, acme_api: Api, service_api: Api) -> None:
    thresholds(acme, "api_calls", *range(10, 20))
    use(service_api, 50, account=acme.public_id)
    look()
    found: list[str] = []
    query: dict[str, str] = {"page_size": "3"}
    sizes = []
    while True:
        answer = acme_api.get("usage/alerts/", **query).json()
        found += [alert["threshold"] for alert in answer["results"]]
        sizes.append(len(answer["results"]))
        if answer["next"] is None:
            break
        cursor = re.search(r"cursor=(\d+)", answer["next"])
        assert cursor is not None
        query["cursor"] = cursor[1]
    assert found == [str(n) for n in range(19, 9, -1)]
    assert sizes == [3, 3, 3, 1]


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 40, "²"])
def test_a_cursor_that_nobody_gave_is_refused(acme_api: Api, cursor: str) -> None:
    answer = acme_api.get("usage/alerts/", cursor=cursor)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "cursor")


def test_another_account_s_alerts_are_not_there(acme: Account, charlie_api: Api, service_api: Api) -> None:
    use(service_api, 96, account=acme.public_id)
    look()
    assert charlie_api.get("usage/alerts/").json()["results"] == []
    assert charlie_api.get("usage/alerts/", account=acme.public_id).status_code == 404
