"""Many clients of views that are metered: they run exactly as often as the limit allows."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.faults.crowd import answers_of, tasks
from tests.faults.installation import Installation
from tests.faults.limited import Limit, Limited, fewer_rounds, open_limited

LIMIT = 100
METER = "image_generations"


@pytest.fixture(scope="module", params=["sqlite", "mariadb"])
def serving(request: pytest.FixtureRequest) -> Iterator[Installation]:
    """The installation of all tests, whose server has metered views for those of this file."""
    installation: Installation = request.getfixturevalue(f"on_{request.param}")
    ordinary = installation.environment["DJANGO_SETTINGS_MODULE"]
    installation.stop()
    installation.environment["DJANGO_SETTINGS_MODULE"] = "tests.faults.metered_settings"
    try:
        installation.serve()
        yield installation
    finally:
        installation.stop()
        installation.environment["DJANGO_SETTINGS_MODULE"] = ordinary


@pytest.fixture
def studio(serving: Installation) -> Iterator[Installation]:
    """It tells of no bug, and its totals agree afterwards."""
    before = len(serving.log.read_text())
    yield serving
    logged = serving.log.read_text()[before:]
    assert "Traceback" not in logged, logged
    serving.assert_totals_agree()


def limited(studio: Installation, name: str) -> Limited:
    return open_limited(studio, name, Limit(METER, str(LIMIT), ()))


def ask(studio: Installation, account: Limited, view: str, each: int) -> Counter[int]:
    """What 32 clients are told, of which each asks so many times; on SQLite 4, each more often."""
    clients = 32 if studio.mariadb else 4
    bodies: list[list[dict]] = [[{}] * (each * 32 // clients)] * clients
    answers = answers_of(tasks(studio.port, account.token, f"studio/{view}/", bodies))
    assert {a.body["error"] for a in answers if a.status == 429} <= {"usage_limit_exceeded"}
    return Counter(answer.status for answer in answers)


@fewer_rounds
@pytest.mark.parametrize("view", ["paint", "draw"])
def test_a_metered_view_runs_exactly_as_often_as_the_limit_allows(
    view: str, round_: int, studio: Installation, name: str
) -> None:
    account = limited(studio, name)

    assert ask(studio, account, view, 5) == {200: LIMIT, 429: 160 - LIMIT}
    assert (account.used(METER), account.reserved(METER), account.count()) == (LIMIT, 0, LIMIT)
    assert account.held() == 0


@fewer_rounds
def test_room_that_a_view_gives_back_is_used_by_another_and_never_passed(
    round_: int, studio: Installation, name: str
) -> None:
    account = limited(studio, name)

    told = ask(studio, account, "sketch", 5)
    told += ask(studio, account, "paint", 1)  # whoever announces two finds no room for the last one

    assert set(told) == {200, 429}
    assert told[200] == account.used(METER) == account.count() <= LIMIT
    assert told[200] >= LIMIT - 1
    assert (account.reserved(METER), account.held()) == (0, 0)


@fewer_rounds
def test_a_view_that_fails_gives_all_its_room_back(round_: int, studio: Installation, name: str) -> None:
    account = limited(studio, name)

    assert ask(studio, account, "spoil", 5) == {502: 160}
    assert (account.used(METER), account.reserved(METER), account.held()) == (0, 0, 0)
