"""Metered views when something else goes wrong: asking fails closed, recording never breaks an answer."""

import json
import logging
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError
from django.utils import timezone

from accounts import keys
from accounts.lifecycle import delete_account
from accounts.models import Account
from tests.config.test_problems import assert_problem
from tests.conftest import Api
from tests.usage import metered_views
from tests.usage.test_metered_views import Caller, allow, balance, recorded, states
from usage.models import Record, Reservation
from usage.permission import headers as quota_headers
from usage.permission import reservations
from usage.retrying import away

pytestmark = pytest.mark.usefixtures("totals_agree")
State = Reservation.State
LOG = "tollgate.metered"


@pytest.fixture(autouse=True)
def _served(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.usage.metered_views"
    metered_views.runs.clear()


@pytest.fixture
def token(acme: Account) -> str:
    allow(acme, 100)
    return keys.make_key(acme)[1]


@pytest.fixture
def app(token: str) -> Caller:
    return Caller(token)


def fail_with(error: BaseException) -> Any:
    def fail(*args: object, **options: object) -> object:
        raise error

    return fail


@pytest.mark.parametrize(
    "error",
    [away(), OperationalError(2006, "gone"), OperationalError("database is locked"), InterfaceError(0, "")],
)
def test_nothing_runs_while_quotas_cannot_be_asked(
    acme: Account, app: Caller, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(reservations, "reserve", fail_with(error))

    for path in ("/plain/", "/gallery/", "/stream/"):
        response = app.post(path)
        assert_problem(response, 503, "database_unavailable")
        assert response["Retry-After"] == "1"
    assert metered_views.runs == []


def test_a_bug_in_the_reservation_is_no_permission(
    acme: Account, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "reserve", fail_with(OperationalError("no such table: usage_hold")))

    assert app.post("/plain/").status_code == 500
    assert metered_views.runs == []


def test_what_cannot_be_recorded_is_logged_to_be_posted_later(
    acme: Account,
    app: Caller,
    service_api: Api,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR, LOG):
        patched.setattr(reservations, "settle", fail_with(away()))
        response = app.post("/careful/?token=hush", headers={"User-Agent": "sk_live_abcdefgh12345678"})

    assert (response.status_code, response.content) == (200, b"done")
    assert (recorded(), balance(acme), states()) == ([], (0, 1), [State.OPEN])
    logged = next(r.getMessage() for r in caplog.records if "not recorded" in r.getMessage())
    assert "hush" not in logged
    assert "abcdefgh" not in logged
    body = json.loads(logged[logged.index("{") :])
    assert service_api.post("usage/", body).status_code == 201
    assert service_api.post("usage/", body).status_code == 200
    assert reservations.expire(acme.pk, Reservation.objects.get().expires_at) == 1
    assert (recorded(), balance(acme)) == ([{"output_images": "2"}], (2, 0))


def test_what_cannot_be_given_back_comes_back_by_itself(
    acme: Account, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reservations, "release", fail_with(OperationalError(2013, "lost")))

    assert app.post("/plain/?status=404").status_code == 404
    assert balance(acme) == (0, 1)
    reservations.expire(acme.pk, Reservation.objects.get().expires_at)
    assert balance(acme) == (0, 0)


def test_what_is_reported_and_cannot_be_stored_breaks_no_answer(
    acme: Account, app: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, LOG):
        response = app.post("/gallery/", {"made": "1.23456"}, content_type="application/json")

    assert response.status_code == 200
    assert any('"1.23456"' in record.getMessage() for record in caplog.records)
    assert (recorded(), states()) == ([], [State.OPEN])


def test_headers_that_cannot_be_had_break_no_answer(
    acme: Account, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota_headers, "of_reservation", fail_with(OperationalError(2006, "gone")))

    response = app.post("/plain/")

    assert (response.status_code, "RateLimit" in response) == (200, False)
    assert balance(acme) == (1, 0)


def test_what_stops_a_worker_gives_the_room_back(
    acme: Account, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metered_views, "paint", fail_with(SystemExit()))

    with pytest.raises(SystemExit):
        app.post("/generate/", {"prompt": "one"})

    assert (balance(acme), states()) == ((0, 0), [State.RELEASED])


def test_a_client_cannot_settle_in_the_place_of_the_view(
    acme: Account, app: Caller, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def settled_meanwhile(prompt: str) -> list[str]:
        mine = Api(token).post(
            f"quotas/reservations/res_{Reservation.objects.get().pk}/settle/",
            {"operation": "image_generation", "quantities": {"output_images": 0}},
        )
        assert mine.status_code == 201
        return prompt.split()

    monkeypatch.setattr(metered_views, "paint", settled_meanwhile)

    assert app.post("/generate/", {"prompt": "one two three"}).status_code == 200
    assert recorded() == [{"output_images": "0"}, {"output_images": "3"}]
    assert balance(acme) == (3, 0)


def test_a_client_cannot_take_the_event_id_beforehand(acme: Account, app: Caller, token: str) -> None:
    app.post("/plain/")
    after = Reservation.objects.get().pk + 1
    taken = Api(token).record(event_id=f"res_{after}", operation="message_sent")

    assert (taken.status_code, app.post("/plain/").status_code) == (201, 200)
    assert balance(acme) == (2, 0)


def test_an_idempotency_key_is_no_way_to_run_twice_for_the_price_of_one(acme: Account, app: Caller) -> None:
    for _ in range(2):
        assert app.post("/plain/", headers={"Idempotency-Key": "again"}).status_code == 200

    assert balance(acme) == (2, 0)


def test_what_runs_past_its_reservation_is_recorded_all_the_same(
    acme: Account, app: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(prompt: str) -> list[str]:
        reservations.expire(acme.pk, Reservation.objects.get().expires_at)
        return ["a.png"]

    monkeypatch.setattr(metered_views, "paint", slow)

    assert app.post("/generate/", {"prompt": "one"}).status_code == 200
    assert (balance(acme), states()) == ((1, 0), [State.SETTLED])


def test_it_counts_when_it_was_permitted(acme: Account, app: Caller) -> None:
    before = timezone.now()

    app.post("/plain/")

    assert before <= Record.objects.get().occurred_at == Reservation.objects.get().occurred_at


def test_the_account_may_be_gone_before_the_view_is_through(
    acme: Account, app: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(prompt: str) -> list[str]:
        delete_account(acme, actor="test", reason="test")
        return ["a.png"]

    monkeypatch.setattr(metered_views, "paint", gone)

    with caplog.at_level(logging.ERROR, LOG):
        assert app.post("/generate/", {"prompt": "one"}).status_code == 200
    assert (recorded(), states()) == ([], [])
    assert "not recorded" in caplog.text
