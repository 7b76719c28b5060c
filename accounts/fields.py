"""Column types that compare the same on every engine: exact text and short bytes."""

import secrets
from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u


def random_identifier(prefix: str, length: int = 20) -> str:
    """A public identifier such as `acc_7k…`: `length` × 5 random bits behind a readable prefix."""
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(length))


class ExactCharField(models.CharField):
    """Text that is compared byte by byte.

    MariaDB's default collation holds 'José' = 'Jose', and even utf8mb4_bin ignores
    trailing spaces; an identifier of a client must not be merged with another so.
    SQLite compares bytes already.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            is_mariadb = connection.mysql_is_mariadb  # type: ignore[attr-defined]
            parameters["collation"] = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
        return parameters


class ExactEmailField(ExactCharField, models.EmailField):
    """An e-mail address that is compared byte by byte: josé@ is not jose@, whoever is looked up or billed."""


class BytesField(models.Field):
    """A fixed number of bytes that can be indexed (Django's BinaryField is a blob on MySQL)."""

    def __init__(self, *args: object, length: int, **kwargs: object) -> None:
        self.length = length
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def deconstruct(self) -> tuple:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {**kwargs, "length": self.length}

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return f"binary({self.length})" if connection.vendor == "mysql" else "BLOB"

    def from_db_value(self, value: object, expression: object, connection: object) -> bytes | None:
        return None if value is None else bytes(value)  # type: ignore[call-overload]

    def to_python(self, value: object) -> object:
        return bytes.fromhex(value) if isinstance(value, str) else value

    def value_to_string(self, obj: models.Model) -> str:
        value: Any = self.value_from_object(obj)
        return value.hex()
