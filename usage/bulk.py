"""Multi-row statements for the hot path, in the dialect of each engine.

mysqlclient's executemany goes row by row as soon as VALUES holds anything but
%s, and formats parameters at the cost of the insert itself; so MariaDB gets one
statement whose text is built here with the driver's own escaping. SQLite has no
round trips, and its prepared executemany is the fastest way in.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from functools import cache
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

Row = Sequence[object]
STATEMENT_CHARACTERS_AT_MOST = 2_000_000  # of up to 4 bytes each: below 16 MiB in any script


class TruncatedError(Exception):
    """The engine stored something else than was given; the transaction must be rolled back."""


def insert_new(
    connection: BaseDatabaseWrapper, table: str, columns: Sequence[str], rows: Sequence[Row]
) -> int:
    """Insert the rows whose unique keys are not there yet; how many were.

    Raises:
        TruncatedError: MariaDB's INSERT IGNORE also clamps what does not fit, and says so in a warning.
    """
    head = insert_head(connection.vendor, table, tuple(columns))
    if connection.vendor == "sqlite":
        return sqlite_executemany(connection, f"{head} ({','.join('?' * len(columns))})", rows)
    inserted = 0
    with connection.cursor() as cursor:
        for count, values in values_texts(connection, rows):
            cursor.execute(head + values)
            if cursor.rowcount == count:
                _refuse_warnings(connection, table)
            inserted += cursor.rowcount
    return inserted


def insert_one(connection: BaseDatabaseWrapper, table: str, columns: Sequence[str], row: Row) -> int | None:
    """Insert one row and return its id; None when its unique key is there already.

    Raises:
        TruncatedError: as `insert_new`.
    """
    head = insert_head(connection.vendor, table, tuple(columns))
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            marks = ",".join(["%s"] * len(columns))
            cursor.execute(f"{head} ({marks})", [sqlite_value(value) for value in row])
        else:
            cursor.execute(head + row_texts(connection, [row])[0])
        if not cursor.rowcount:
            return None
        if connection.vendor != "sqlite":
            _refuse_warnings(connection, table)
        return cursor.lastrowid


def _refuse_warnings(connection: BaseDatabaseWrapper, table: str) -> None:
    if connection.connection.warning_count():
        raise TruncatedError(f"a value did not fit into {table}")


def rows_of(connection: BaseDatabaseWrapper, sql: str) -> Sequence[tuple]:
    """The rows of a small SELECT, straight from the driver: a cursor would cost as much as the reading."""
    connection.ensure_connection()
    with connection.wrap_database_errors:
        driver = connection.connection
        if connection.vendor == "sqlite":
            return driver.execute(sql).fetchall()
        driver.query(sql.encode())
        return driver.store_result().fetch_row(0)


class Addition(NamedTuple):
    """Totals to be added to the stored row of each key, or inserted.

    `key`, `totals` and `maxima` name the columns, in the order of each row's values;
    `rows` are sorted by key, so that two writers lock in one order.
    """

    table: str
    key: tuple[str, ...]
    totals: tuple[str, ...]
    maxima: tuple[str, ...]
    rows: Sequence[Row]


def add_to_totals(connection: BaseDatabaseWrapper, addition: Addition) -> None:
    """Add each row's totals to the stored row of its key, or insert it."""
    if connection.vendor == "sqlite":
        head, tail = _around_totals("sqlite", *addition[:4])
        marks = ",".join("?" * len(addition.rows[0]))
        sqlite_executemany(connection, f"{head} ({marks}) {tail}", addition.rows)
        return
    with connection.cursor() as cursor:
        for sql in totals_statements(connection, addition):
            cursor.execute(sql)


def totals_statements(connection: BaseDatabaseWrapper, addition: Addition) -> list[str]:
    """The statements, mostly one, that do it on MariaDB."""
    head, tail = _around_totals("mysql", *addition[:4])
    return [head + values + tail for _, values in values_texts(connection, addition.rows)]


@cache
def insert_head(vendor: str, table: str, columns: tuple[str, ...]) -> str:
    """A conflict-ignoring INSERT up to its values."""
    ignore = "OR IGNORE" if vendor == "sqlite" else "IGNORE"
    return f"INSERT {ignore} INTO {table} ({names(vendor, columns)}) VALUES "


@cache
def _around_totals(
    vendor: str, table: str, key: tuple[str, ...], totals: tuple[str, ...], maxima: tuple[str, ...]
) -> tuple[str, str]:
    """The text of a statement before its values, and after them."""
    new, most, conflict = ("VALUES({})", "GREATEST", "DUPLICATE KEY UPDATE")
    if vendor == "sqlite":
        new, most, conflict = ("excluded.{}", "max", "CONFLICT DO UPDATE SET")
    sets = [f"{c}={c}+{new.format(c)}" for c in totals] + [f"{c}={most}({c},{new.format(c)})" for c in maxima]
    listed = names(vendor, (*key, *totals, *maxima))
    return f"INSERT INTO {table} ({listed}) VALUES ", f" ON {conflict} {','.join(sets)}"


def names(vendor: str, columns: Sequence[str]) -> str:
    quote = "`" if vendor == "mysql" else '"'
    return ",".join(f"{quote}{column}{quote}" for column in columns)


def sqlite_executemany(connection: BaseDatabaseWrapper, sql: str, rows: Sequence[Row]) -> int:
    # Straight to the driver: Django's wrapper would rewrite the statement for every call.
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = connection.connection.executemany(sql, [[sqlite_value(v) for v in row] for row in rows])
        count = cursor.rowcount
        cursor.close()
        return count


def sqlite_execute(connection: BaseDatabaseWrapper, sql: str, row: Row = ()) -> int:
    """Run one statement, straight on the driver as well; how many rows it changed."""
    connection.ensure_connection()
    with connection.wrap_database_errors:
        return int(connection.connection.execute(sql, [sqlite_value(value) for value in row]).rowcount)


def sqlite_value(value: object) -> Any:
    """A value as Django stores it in SQLite: naive UTC text for instants, text for days."""
    if isinstance(value, datetime):
        return str(value.replace(tzinfo=None))
    if isinstance(value, date):
        return value.isoformat()
    return value


def values_texts(connection: BaseDatabaseWrapper, rows: Sequence[Row]) -> Iterator[tuple[int, str]]:
    """How many rows, and `(…),(…)` for VALUES; one statement mostly, more when the rows are large.

    A server refuses a statement above its max_allowed_packet (16 MiB on MariaDB) by
    closing the connection, which would look like a passing fault for ever.
    """
    texts = row_texts(connection, rows)
    start, size = 0, 0
    for position, text in enumerate(texts):
        size += len(text)
        if size > STATEMENT_CHARACTERS_AT_MOST and position > start:
            yield position - start, ",".join(texts[start:position])
            start, size = position, len(text)
    if texts:
        yield len(texts) - start, ",".join(texts[start:])


def row_texts(connection: BaseDatabaseWrapper, rows: Sequence[Row]) -> list[str]:
    """`(…)` for each row: whole numbers, hexadecimal bytes, text escaped by the driver."""
    connection.ensure_connection()
    literals = _literals(connection.connection.escape_string)
    if len(rows) < 8:  # too few to gain by looking at whole columns
        return [f"({','.join([literals[type(value)](value) for value in row])})" for row in rows]
    columns = [_column_texts(values, literals) for values in zip(*rows, strict=True)]
    return [f"({','.join(texts)})" for texts in zip(*columns, strict=True)]


Literals = dict[type, Callable[[Any], str]]
_PLAIN: Literals = {
    int: int.__repr__,
    bool: lambda v: "1" if v else "0",
    bytes: lambda v: f"x'{v.hex()}'",
    type(None): lambda v: "NULL",
    datetime: lambda v: f"'{v.isoformat(' ', 'microseconds')[:26]}'",
    date: lambda v: f"'{v}'",
}


def _literals(escape: Callable[[bytes], bytes]) -> Literals:
    """How a value of each type is written; instants are in UTC."""
    return {**_PLAIN, str: lambda v: f"'{escape(v.encode()).decode()}'"}


def _column_texts(values: Sequence, literals: Literals) -> Sequence[str]:
    """The values of one column as literals; what the whole column or much of it shares is written once."""
    different = set(values)
    if len(different) * 2 > len(values):
        return [literals[type(value)](value) for value in values]
    texts = {value: literals[type(value)](value) for value in different}
    return [texts[value] for value in values]
