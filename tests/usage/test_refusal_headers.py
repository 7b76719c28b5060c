"""Refusals of the API's own endpoints carry what a client needs to wait: when, how much, how long."""

import re
from decimal import Decimal
from typing import Any

import pytest

from accounts import keys
from accounts.models import Account
from tests.config.test_problems import assert_problem
from tests.conftest import Api
from usage.models import Meter
from usage.quotas import limits

pytestmark = pytest.mark.usefixtures("totals_agree")
PATHS = ["usage/", "quotas/reservations/"]


def allow(account: Account, limit: str) -> None:
    meter = Meter.objects.get(slug="image_generations")
    limits.override(account, meter, Decimal(limit), actor="test", reason="test", window="day")


def image(api: Api, path: str, images: object = 1) -> Any:
    return api.post(path, {"operation": "image_generation", "quantities": {"output_images": images}})


def assert_headers(response: Any, quota: int, room: int) -> dict[str, Any]:
    """The RateLimit headers, and that none of them stands in the document."""
    assert response["RateLimit-Policy"] == f'"image_generations";q={quota};w=86400'
    told = re.fullmatch(r'"image_generations";r=(\d+);t=(\d+)', response["RateLimit"])
    assert told is not None
    assert (int(told[1]), 1 <= int(told[2]) <= 86_401) == (room, True)
    document = response.json()
    assert not {"headers", "retry_after", "event_id"} & set(document)
    return document


@pytest.mark.parametrize("path", PATHS)
def test_429_tells_when_to_come_back(acme: Account, acme_api: Api, path: str) -> None:
    allow(acme, "2")
    assert image(acme_api, path, 2).status_code == 201

    refused = image(acme_api, path)

    assert_problem(refused, 429, "usage_limit_exceeded")
    document = assert_headers(refused, 2, 0)
    assert document["message"] == "You have reached your daily limit. Upgrade your plan to continue."
    assert 1 <= int(refused["Retry-After"]) <= 3600


@pytest.mark.parametrize("path", PATHS)
def test_403_tells_no_time_because_waiting_does_not_help(
    acme: Account, acme_api: Api, settings: Any, path: str
) -> None:
    allow(acme, "0")
    none_at_all = image(acme_api, path)
    allow(acme, "1")
    settings.QUOTA_REFUSED_STATUS = 403
    too_much = image(acme_api, path, 2)

    for response, quota, room in ((none_at_all, 0, 0), (too_much, 1, 1)):
        assert_problem(response, 403, "usage_limit_exceeded")
        assert_headers(response, quota, room)
        assert "Retry-After" not in response


def test_what_is_held_is_no_room(acme: Account, acme_api: Api) -> None:
    allow(acme, "3.5")
    image(acme_api, "quotas/reservations/", "2.25")

    refused = image(acme_api, "usage/", "1.5")

    assert assert_headers(refused, 4, 1)["used"] == "0"


def test_requests_a_minute_are_told_beside_the_quota(acme: Account, acme_api: Api) -> None:
    limited = Api(keys.make_key(acme, requests_per_minute=5)[1])
    allow(acme, "0")

    refused = image(limited, "usage/")

    assert refused["RateLimit-Policy"].count('"requests";q=5;w=60') == 1
    assert refused["RateLimit-Policy"].count('"image_generations";q=0;w=86400') == 1
