"""What was recorded once is a duplicate for ever, also when it could not be recorded any more."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from accounts.models import Account
from tests.conftest import Api
from usage.models import Operation, Record

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
EVENT = {"event_id": "gen-1", "operation": "api_call", "occurred_at": "2026-11-20T11:59:00Z"}


@pytest.fixture
def recorded(acme_api: Api) -> Api:
    with time_machine.travel(NOON, tick=False):
        assert acme_api.record(**EVENT).status_code == 201
    return acme_api


def test_a_retry_two_days_later_is_a_duplicate(recorded: Api) -> None:
    with time_machine.travel(NOON + timedelta(days=2), tick=False):
        response = recorded.record(**EVENT)
        batch = recorded.post("usage/", [EVENT, {**EVENT, "event_id": "gen-2"}])

    assert response.status_code == 200
    assert response.json()["event_id"] == "gen-1"
    assert (batch.json()["accepted"], batch.json()["duplicates"]) == (0, 1)
    assert [(r["event_id"], r["error"]) for r in batch.json()["rejected"]] == [("gen-2", "too_old")]
    assert Record.objects.count() == 1


def test_other_content_two_days_later_is_too_old(recorded: Api) -> None:
    with time_machine.travel(NOON + timedelta(days=2), tick=False):
        response = recorded.record(**{**EVENT, "operation": "ai_query"})

    assert (response.status_code, response.json()["error"]) == (400, "too_old")


def test_a_retry_is_a_duplicate_after_the_operation_has_lost_its_bytes_per_minute(
    acme: Account, service_api: Api
) -> None:
    event = {
        "account": acme.public_id,
        "event_id": "call-1",
        "operation": "voice_minute",
        "audio_bytes": 960_000,
    }
    assert service_api.record(**event).status_code == 201
    voice = Operation.objects.get(slug="voice_minute")
    voice.bytes_per_minute = None
    voice.save()

    assert service_api.record(**event).status_code == 200
    assert service_api.record(**{**event, "event_id": "call-2"}).json()["error"] == "no_bytes_per_minute"
