"""Tables whose rows the database itself protects from UPDATE and DELETE.

Each protected table has triggers that refuse both, unless the transaction has
taken a permit: a row of its own in `accounts_permit`, inserted and deleted
within that transaction, so that no other connection ever sees it.

SQLite drops a table's triggers whenever a migration remakes the table, so
`install` runs after every migrate and puts back what is missing.
"""

import contextlib
from collections.abc import Iterator

from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning
from django.db import DatabaseError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

REFUSAL = "rows of this table are append-only"
PERMITS = "accounts_permit"
_protected: list[type[models.Model]] = []


def append_only(model: type[models.Model]) -> type[models.Model]:
    """Class decorator: rows of this model are inserted, and never changed or deleted without a permit."""
    _protected.append(model)
    return model


def protected_tables() -> list[str]:
    return sorted(model._meta.db_table for model in _protected)


@contextlib.contextmanager
def permit(reason: str, using: str = "default") -> Iterator[None]:
    """Let this transaction change protected rows; must be used inside `transaction.atomic`.

    Only the guarded paths take one: deleting an account, pruning, erasing personal data.

    Args:
        reason: which path it is; stands in the row while the permit lasts.
    """
    connection = connections[using]
    if not connection.in_atomic_block:
        raise transaction.TransactionManagementError("a permit lives inside a transaction")
    permits = apps.get_model("accounts", "Permit").objects.using(using)
    row = permits.create(reason=reason)
    try:
        yield
    finally:
        # Also when the caller survives an error; a transaction that must roll back takes it along.
        if not connection.needs_rollback:
            permits.filter(pk=row.pk).delete()


def _trigger_sql(connection: BaseDatabaseWrapper, table: str, action: str) -> tuple[str, str]:
    name = f"{table}_no_{action.lower()}"
    unless = f"NOT EXISTS (SELECT 1 FROM {PERMITS})"
    if connection.vendor == "sqlite":
        body = f"WHEN {unless} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        return name, f'CREATE TRIGGER "{name}" BEFORE {action} ON "{table}" {body}'
    body = f"IF {unless} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{REFUSAL}'; END IF"
    return name, f"CREATE TRIGGER `{name}` BEFORE {action} ON `{table}` FOR EACH ROW {body}"


def _existing_triggers(connection: BaseDatabaseWrapper) -> set[str]:
    source = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.vendor == "sqlite"
        else "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
    )
    with connection.cursor() as cursor:
        cursor.execute(source)
        return {row[0] for row in cursor.fetchall()}


def missing_triggers(using: str = "default") -> dict[str, str]:
    """Triggers that should exist and do not: name → the statement that makes it."""
    connection = connections[using]
    existing = _existing_triggers(connection)
    present = set(connection.introspection.table_names())
    wanted = (
        _trigger_sql(connection, table, action)
        for table in protected_tables()
        if table in present
        for action in ("UPDATE", "DELETE")
    )
    return {name: sql for name, sql in wanted if name not in existing}


def install(using: str = "default", **_: object) -> None:
    """Create the missing triggers (called after every migrate).

    A managed MySQL with binary log refuses CREATE TRIGGER to users without SUPER
    (error 1419): migrate goes on, and the system check says how to mend it.
    """
    connection = connections[using]
    for sql in missing_triggers(using).values():
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql)
        except DatabaseError as error:
            if not error.args or error.args[0] not in (1419, 1142, 1227):
                raise


def check_triggers(databases: list[str] | None = None, **_: object) -> list[CheckMessage]:
    """System check (database tag): the append-only tables are really protected."""
    found: list[CheckMessage] = []
    for using in databases or []:
        for name in missing_triggers(using):
            found.append(
                Warning(
                    f"trigger {name} is missing: the ledger can be changed by hand",
                    hint="Run migrate; if the server refuses triggers (error 1419), have an administrator set"
                    " log_bin_trust_function_creators = 1 or run migrate once with SUPER.",
                    id="accounts.W001",
                )
            )
        found.extend(_forgotten_permits(using))
    return found


def _forgotten_permits(using: str) -> list[CheckMessage]:
    """A permit that was committed switches the protection off for everybody."""
    connection = connections[using]
    if PERMITS not in connection.introspection.table_names():
        return []
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {PERMITS}")
        count = cursor.fetchone()[0]
    if not count:
        return []
    hint = f"Find out who wrote it, then: DELETE FROM {PERMITS}; and hold the totals against the ledger."
    return [
        Error(f"{count} permits were committed: the ledger can be changed by hand", hint, id="accounts.E001")
    ]
