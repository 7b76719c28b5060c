"""Multi-row statements for the hot path, in the dialect of each engine.

mysqlclient's executemany goes row by row as soon as VALUES holds anything but
%s, and formats parameters at the cost of the insert itself; so MariaDB gets one
statement whose text is built here with the driver's own escaping. SQLite has no
round trips, and its prepared executemany is the fastest way in.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime

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
    if connection.vendor == "sqlite":
        marks = ",".join("?" * len(columns))
        sql = f"INSERT OR IGNORE INTO {table} ({_names(connection, columns)}) VALUES ({marks})"
        return _sqlite_executemany(connection, sql, rows)
    inserted = 0
    names = _names(connection, columns)
    with connection.cursor() as cursor:
        for count, values in values_texts(connection, rows):
            cursor.execute(f"INSERT IGNORE INTO {table} ({names}) VALUES {values}")
            if cursor.rowcount == count and connection.connection.warning_count():
                raise TruncatedError(f"a value did not fit into {table}")
            inserted += cursor.rowcount
    return inserted


def add_to_totals(
    connection: BaseDatabaseWrapper,
    table: str,
    key: Sequence[str],
    totals: Sequence[str],
    maxima: Sequence[str],
    rows: Sequence[Row],
) -> None:
    """Add each row's totals to the stored row of its key, or insert it.

    Args:
        key, totals, maxima: column names, in the order of each row's values.
        rows: sorted by key, so that two writers lock in one order.
    """
    columns = _names(connection, (*key, *totals, *maxima))
    if connection.vendor == "sqlite":
        marks = ",".join("?" * (len(key) + len(totals) + len(maxima)))
        sets = [f"{c}={c}+excluded.{c}" for c in totals] + [f"{c}=max({c},excluded.{c})" for c in maxima]
        sql = f"INSERT INTO {table} ({columns}) VALUES ({marks}) ON CONFLICT DO UPDATE SET {','.join(sets)}"
        _sqlite_executemany(connection, sql, rows)
        return
    sets = [f"{c}={c}+VALUES({c})" for c in totals] + [f"{c}=GREATEST({c},VALUES({c}))" for c in maxima]
    with connection.cursor() as cursor:
        for _, values in values_texts(connection, rows):
            cursor.execute(
                f"INSERT INTO {table} ({columns}) VALUES {values} ON DUPLICATE KEY UPDATE {','.join(sets)}"
            )


def _names(connection: BaseDatabaseWrapper, columns: Sequence[str]) -> str:
    return ",".join(connection.ops.quote_name(column) for column in columns)


def _sqlite_executemany(connection: BaseDatabaseWrapper, sql: str, rows: Sequence[Row]) -> int:
    # Straight to the driver: Django's wrapper would rewrite the statement for every call.
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = connection.connection.executemany(sql, [[sqlite_value(v) for v in row] for row in rows])
        count = cursor.rowcount
        cursor.close()
        return count


def sqlite_value(value: object) -> object:
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
    escape = connection.connection.escape_string

    def text(value: str) -> str:
        return f"'{escape(value.encode()).decode()}'"

    literal: dict[type, Callable] = {
        int: int.__repr__,
        bool: lambda v: "1" if v else "0",
        str: text,
        bytes: lambda v: f"x'{v.hex()}'",
        type(None): lambda v: "NULL",
        datetime: lambda v: f"'{v.replace(tzinfo=None)}'",
        date: lambda v: f"'{v}'",
    }
    return ["(" + ",".join([literal[type(v)](v) for v in row]) + ")" for row in rows]
