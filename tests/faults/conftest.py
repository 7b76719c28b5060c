"""Faults and races, against real servers over databases of their own, whatever database the run has.

Both engines are tried in one run (`make test` leaves this folder out of its MariaDB run).
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.faults.installation import Installation
from tests.mariadb import private_mariadb


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)
            item.add_marker(pytest.mark.xdist_group("faults"))  # one worker: its servers serve them all


@pytest.fixture(autouse=True)
def _empty_memories() -> None:
    """The servers are processes of their own; there is nothing to forget in this one."""


@pytest.fixture(scope="session")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("sqlite")
    installation = Installation(f"sqlite:///{folder / 'tollgate.sqlite3'}", folder)
    try:
        yield installation
    finally:
        installation.close()


@pytest.fixture(scope="session")
def on_mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with private_mariadb(durable=True) as mariadb:
        installation = Installation(mariadb.url, tmp_path_factory.mktemp("mariadb"), mariadb)
        try:
            yield installation
        finally:
            installation.close()


@pytest.fixture(params=["sqlite", "mariadb"])
def tollgate(request: pytest.FixtureRequest) -> Iterator[Installation]:
    """A running Tollgate on each engine; its log tells of no bug, and its totals agree afterwards."""
    yield from _running(request.getfixturevalue(f"on_{request.param}"))


@pytest.fixture
def tollgate_on_mariadb(on_mariadb: Installation) -> Iterator[Installation]:
    yield from _running(on_mariadb)


def _running(installation: Installation) -> Iterator[Installation]:
    installation.serve()
    before = len(installation.log.read_text())
    yield installation
    logged = installation.log.read_text()[before:]
    assert "Traceback" not in logged, logged
    installation.assert_totals_agree()


_names = count(1)


@pytest.fixture
def name() -> str:
    """Of an account that only this test uses; its event ids begin with it, too."""
    return f"fault-{next(_names)}-"
