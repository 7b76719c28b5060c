"""A single record in one round trip, on MariaDB.

One compound statement begins, locks the account, compares catalogue and time zone,
inserts, adds up, asks the quotas and commits. Whenever something is not as expected it
rolls back and says so with no id; then the record goes the long way, which finds out why. Waiting for
several round trips costs a small transaction more than what it does.
"""

from collections.abc import Sequence

from django.db.backends.base.base import BaseDatabaseWrapper

from usage.bulk import row_texts

_STATEMENT = """BEGIN NOT ATOMIC
DECLARE as_rated, inserted, warned, refused INT DEFAULT 0;
DECLARE new_id BIGINT DEFAULT NULL;
DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN ROLLBACK; RESIGNAL; END;
START TRANSACTION;
SELECT COUNT(*) INTO as_rated FROM accounts_account a WHERE a.id = {account_id} AND a.time_zone = {time_zone}
 AND a.revision = {revision}
 AND (SELECT version FROM usage_catalogueversion WHERE id = 1) = {version} LOCK IN SHARE MODE;
IF as_rated = 1 THEN
{insert};
SET inserted = ROW_COUNT(), warned = @@warning_count, new_id = LAST_INSERT_ID();
END IF;
IF inserted = 1 AND warned = 0 THEN
{others}{guards}IF refused = 0 THEN
COMMIT;
ELSE
SET new_id = {no_room};
ROLLBACK;
END IF;
ELSE
SET new_id = NULL;
ROLLBACK;
END IF;
SELECT new_id;
END"""
_GUARD = "IF refused = 0 THEN\n{guard};\nIF ROW_COUNT() = 0 THEN SET refused = 1; END IF;\nEND IF;\n"
NO_ROOM = -1


def is_possible(database: BaseDatabaseWrapper) -> bool:
    """Whether this connection understands compound statements, and no transaction is open on it."""
    is_free = not database.in_atomic_block and database.get_autocommit()
    return database.vendor == "mysql" and is_free and database.mysql_is_mariadb  # type: ignore[attr-defined]


def store(
    database: BaseDatabaseWrapper,
    *,
    account_id: int,
    time_zone: str,
    revision: int,
    version: int,
    insert: str,
    others: Sequence[str],
    guards: Sequence[str] = (),
) -> int | None:
    """Store one record and commit.

    Args:
        time_zone, revision, version: of the account and of the catalogue, by which the record was rated.
        insert: the conflict-ignoring INSERT of the record.
        others: what belongs to it, with `new_id` for the record's id; the totals last.
        guards: after all of that, statements of which each has to change a row.

    Returns:
        The record's id; None when nothing was stored: it is known already, or something has moved;
        NO_ROOM when nothing was stored because a guard changed no row.
    """
    sql = _STATEMENT.format(
        account_id=account_id,
        time_zone=row_texts(database, [(time_zone,)])[0],
        revision=revision,
        version=version,
        insert=insert,
        others="".join(f"{other};\n" for other in others),
        guards="".join(_GUARD.format(guard=guard) for guard in guards),
        no_room=NO_ROOM,
    )
    return ask(database, sql)


def ask(database: BaseDatabaseWrapper, sql: str) -> int | None:
    """The one value that a compound statement answers with.

    Straight from the driver: the cursors of Django and of MySQLdb would double what this costs.
    """
    database.ensure_connection()
    with database.wrap_database_errors:
        driver = database.connection
        driver.query(sql.encode())
        answer = driver.store_result().fetch_row()[0][0]
        # The end of the compound statement, after which nothing comes. Each of these calls lets go of the
        # interpreter, and under load another thread takes it.
        driver.next_result()
    return answer
