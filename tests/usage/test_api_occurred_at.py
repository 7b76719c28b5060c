"""When it happened: with an offset, not in the future, and for an account key not long ago."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from accounts.models import Account
from tests.conftest import Api

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _at_ten(acme_api: Api, service_api: Api) -> object:
    with time_machine.travel(NOW, tick=False):
        yield


def test_it_is_now_by_default(acme_api: Api) -> None:
    record = acme_api.record(operation="api_call").json()

    assert record["occurred_at"] == record["recorded_at"] == "2026-11-20T10:00:00Z"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-11-20T15:30:00+05:30", "2026-11-20T10:00:00Z"),
        ("2026-11-20T09:59:59.123456Z", "2026-11-20T09:59:59.123456Z"),
        ("2026-11-20t10:00:00z", "2026-11-20T10:00:00Z"),
        ("2026-11-20 10:00:00Z", "2026-11-20T10:00:00Z"),
    ],
)
def test_any_offset_is_read_and_utc_is_shown(acme_api: Api, sent: str, kept: str) -> None:
    assert acme_api.record(operation="api_call", occurred_at=sent).json()["occurred_at"] == kept


@pytest.mark.parametrize(
    ("away", "status", "error"),
    [
        (timedelta(minutes=5), 201, None),
        (timedelta(minutes=5, microseconds=1), 400, "in_the_future"),
        (timedelta(hours=-24), 201, None),
        (timedelta(hours=-24, microseconds=-1), 400, "too_old"),
    ],
)
def test_an_account_key_reports_the_last_day_and_five_minutes_ahead(
    acme_api: Api, away: timedelta, status: int, error: str | None
) -> None:
    response = acme_api.record(operation="api_call", occurred_at=(NOW + away).isoformat())

    assert (response.status_code, response.json().get("error")) == (status, error)


def test_a_service_key_reports_any_age_but_not_the_future(acme: Account, service_api: Api) -> None:
    def status(occurred_at: str) -> int:
        event = {"account": acme.public_id, "operation": "api_call", "occurred_at": occurred_at}
        return service_api.post("usage/", event).status_code

    assert status("1970-01-01T00:00:00Z") == 201
    assert status("2024-02-29T23:59:59-12:00") == 201
    assert status("2026-11-20T10:05:01Z") == 400


@pytest.mark.parametrize(
    "sent",
    [
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z", "2026-11-20T24:00:01Z", "2026-11-20T10:00Z+",
        "2026-11-20T10:00:00", "2026-11-20", "10:00:00Z", "now", "1763632800",
    ],
)  # fmt: skip
def test_what_is_no_instant_or_no_possible_one_is_refused(acme: Account, service_api: Api, sent: str) -> None:
    response = service_api.record(account=acme.public_id, operation="api_call", occurred_at=sent)

    assert response.status_code == 400
    assert response.json()["errors"][0]["field"] == "occurred_at"
