"""Metered streams: settled when their last part was taken, also when the client went away before it."""

from typing import Any

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account
from tests.usage import metered_views
from tests.usage.test_metered_views import Caller, allow, balance, go_away, recorded, states
from usage.models import Record, Reservation, Status

pytestmark = pytest.mark.usefixtures("totals_agree")
State = Reservation.State


@pytest.fixture(autouse=True)
def _served(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.usage.metered_views"
    metered_views.runs.clear()


@pytest.fixture
def app(acme: Account) -> Caller:
    allow(acme, 100)
    return Caller(keys.make_key(acme)[1])


def test_room_is_held_until_the_last_part(acme: Account, app: Caller) -> None:
    response = app.client.get("/stream/")
    parts = iter(response)

    assert next(parts) == b"part 1\n"
    assert (balance(acme), states()) == ((0, 2), [State.OPEN])
    assert len(list(parts)) == 9
    assert (balance(acme), states()) == ((2, 0), [State.SETTLED])
    go_away(response)
    assert recorded() == [{"output_images": "2"}]


def test_what_is_reported_while_it_streams_is_what_counts(acme: Account, app: Caller) -> None:
    response = app.client.get("/stream/?report=1")

    assert len(b"".join(response).splitlines()) == 10
    assert (recorded(), balance(acme)) == ([{"output_images": "10"}], (10, 0))


@pytest.mark.parametrize("taken", [0, 1, 9])
def test_a_client_that_goes_away_gives_the_room_back(acme: Account, app: Caller, taken: int) -> None:
    response = app.client.get("/stream/")
    parts = iter(response)
    for _ in range(taken):
        next(parts)

    go_away(response)

    assert metered_views.runs == []
    assert (recorded(), balance(acme), states()) == ([], (0, 0), [State.RELEASED])


def test_a_client_that_goes_away_pays_for_what_was_reported(acme: Account, app: Caller) -> None:
    response = app.client.get("/stream/?report=1")
    parts = iter(response)
    for _ in range(3):
        next(parts)

    go_away(response)

    assert Record.objects.get().status == Status.SUCCESS
    assert (recorded(), balance(acme), states()) == ([{"output_images": "3"}], (3, 0), [State.SETTLED])


def test_a_stream_that_breaks_gives_the_room_back(acme: Account, app: Caller) -> None:
    response = app.client.get("/stream/?breaks=3")

    with pytest.raises(KeyError):
        list(response)

    go_away(response)
    assert (recorded(), balance(acme), states()) == ([], (0, 0), [State.RELEASED])


def test_a_stream_that_breaks_after_a_report_is_an_error_that_costs(acme: Account, app: Caller) -> None:
    response = app.client.get("/stream/?report=1&breaks=3")

    with pytest.raises(KeyError):
        list(response)

    go_away(response)
    assert Record.objects.get().status == Status.ERROR
    assert (recorded(), balance(acme)) == ([{"output_images": "3"}], (0, 0))


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_an_asynchronous_stream_that_breaks_gives_the_room_back(acme: Account, app: Caller) -> None:
    response = app.client.get("/later/?breaks=1")

    with pytest.raises(KeyError):
        list(response)

    assert (recorded(), balance(acme), states()) == ([], (0, 0), [State.RELEASED])


def test_an_asynchronous_stream_that_nobody_took_gives_the_room_back(acme: Account, app: Caller) -> None:
    go_away(app.client.get("/later/"))

    assert (recorded(), balance(acme), states()) == ([], (0, 0), [State.RELEASED])


def test_a_stream_that_is_refused_never_begins(acme: Account, app: Caller) -> None:
    allow(acme, 1)

    assert app.client.get("/stream/").status_code == 429
    assert states() == []


def test_the_example_counts_its_tokens(acme: Account, app: Caller) -> None:
    allow(acme, 1500, "tokens")

    response = app.post("/answer/", {"prompt": "one two three"})
    refused = app.post("/answer/", {"prompt": "while the first one holds a thousand"})

    assert b"".join(response) == b"onetwothree"
    assert refused.status_code == 429
    assert refused["RateLimit"].startswith('"tokens";r=500;t=')
    assert (recorded(), balance(acme, "tokens")) == ([{"tokens": "3"}], (3, 0))


def test_a_stream_of_a_browser_is_the_users(acme: Account, app: Caller) -> None:
    client = Client()
    client.force_login(acme.members.get(role="owner").user)

    b"".join(client.get("/stream/"))

    assert Record.objects.get().user == acme.members.get(role="owner").user
