"""The databases under the product, as the driver alone sees them: a MariaDB of our own, or a SQLite file."""

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import MySQLdb

from tests.mariadb import MariaDB, private_mariadb


class Engine(Protocol):
    """Where the rows are, and how they are written without the product."""

    name: str
    mark: str  # of a parameter

    @property
    def url(self) -> str: ...

    @property
    def pid(self) -> int | None:
        """The server's process; None where there is none."""

    def connect(self) -> Any: ...

    def columns(self, connection: Any, table: str) -> list[str]: ...

    def copy_table(self, connection: Any, table: str, prefix: str) -> None:
        """Make an empty table like another one, with its indexes and without its triggers."""


class OnMariaDB:
    name = "MariaDB"
    mark = "%s"

    def __init__(self, server: MariaDB) -> None:
        self.server = server

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def pid(self) -> int | None:
        return self.server.pid

    def connect(self) -> Any:
        url = urlsplit(self.url)
        connection = MySQLdb.connect(
            host=url.hostname,
            port=url.port,
            user=url.username,
            password=url.password,
            database=url.path[1:],
            charset="utf8mb4",
            autocommit=False,
        )
        query(connection, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        return connection

    def columns(self, connection: Any, table: str) -> list[str]:
        return [row[0] for row in query(connection, f"SHOW COLUMNS FROM {table}")]

    def copy_table(self, connection: Any, table: str, prefix: str) -> None:
        query(connection, f"CREATE TABLE IF NOT EXISTS {prefix}_{table} LIKE {table}")


class OnSQLite:
    name = "SQLite"
    mark = "?"
    pid = None

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def connect(self) -> Any:
        connection = sqlite3.connect(self.path, timeout=30)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-65536"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def columns(self, connection: Any, table: str) -> list[str]:
        return [row[1] for row in query(connection, f"PRAGMA table_info({table})")]

    def copy_table(self, connection: Any, table: str, prefix: str) -> None:
        made = query(
            connection,
            "SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL"
            f" AND tbl_name = '{table}' ORDER BY type DESC",
        )
        if query(connection, f"SELECT 1 FROM sqlite_master WHERE name = '{prefix}_{table}'"):
            return
        for name, sql in made:
            copy = sql.replace(f'"{name}"', f'"{prefix}_{name}"', 1)
            query(connection, copy.replace(f'ON "{table}"', f'ON "{prefix}_{table}"', 1))


def query(connection: Any, sql: str) -> Sequence[tuple]:
    """The rows of a statement in a transaction of its own."""
    cursor = connection.cursor()
    cursor.execute(sql)
    rows = cursor.fetchall()
    cursor.close()
    connection.commit()
    return rows


@contextlib.contextmanager
def mariadb(buffer_pool: str = "1G") -> Iterator[OnMariaDB]:
    """A durable server of our own."""
    with private_mariadb(durable=True, buffer_pool=buffer_pool) as server:
        yield OnMariaDB(server)


@contextlib.contextmanager
def sqlite() -> Iterator[OnSQLite]:
    """A durable file of our own."""
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as folder:
        yield OnSQLite(Path(folder) / "bench.sqlite3")


ENGINES: dict[str, Callable[..., contextlib.AbstractContextManager[Engine]]] = {
    "mariadb": mariadb,
    "sqlite": sqlite,
}
