"""Reading the environment: every value is checked, a bad one is refused with one line.

Secrets that nobody gave are made once and kept in an ignored file beside
manage.py, so that every process of this checkout reads the same ones.
"""

import contextlib
import ipaddress
import os
import re
import secrets
from email.utils import parseaddr
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import environ

GENERATED = ("SECRET_KEY", "API_KEY_PEPPER")


_HOST = re.compile(r"\*|\[[0-9A-Fa-f:.]+\]|\.?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())


def refuse(name: str, reason: str) -> NoReturn:
    """Stop the process with one line that names the variable and what is wrong with it."""
    raise SystemExit(f"tollgate: {name}: {reason}")


class Environment:
    """Typed readers over os.environ and the secrets file; each refuses what it cannot read."""

    def __init__(self, secrets_file: Path) -> None:
        self.secrets_file = secrets_file
        self._environ = environ.Env()
        if secrets_file.exists():
            self._read_secrets()

    def text(self, name: str, default: str = "") -> str:
        return os.environ.get(name, "").strip() or default

    def flag(self, name: str, default: bool) -> bool:
        value = self.text(name).lower()
        if value in ("", "1", "true", "yes", "on", "0", "false", "no", "off"):
            return default if value == "" else value in ("1", "true", "yes", "on")
        refuse(name, f"{value!r} is neither true nor false")

    def whole_number(self, name: str, default: int, low: int, high: int) -> int:
        value = self.text(name, str(default))
        if not re.fullmatch("[0-9]{1,18}", value) or not low <= int(value) <= high:
            refuse(name, f"{value!r} is not a whole number from {low} to {high}")
        return int(value)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in choices:
            refuse(name, f"{value!r} is not one of {', '.join(choices)}")
        return value

    def names(self, name: str, default: list[str]) -> list[str]:
        values = [item.strip() for item in self.text(name).split(",") if item.strip()]
        return values or default

    def networks(self, name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        found = []
        for item in self.names(name, []):
            try:
                found.append(ipaddress.ip_network(item, strict=False))
            except ValueError:
                refuse(name, f"{item!r} is not an IP address or network")
        return found

    def url(self, name: str, default: str, schemes: tuple[str, ...]) -> str:
        value = self.text(name, default)
        try:
            parts = urlsplit(value)
            usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
            usable = usable and not re.search(r"\s", value)
        except ValueError:
            usable = False
        if not usable:
            refuse(name, f"{value!r} is not a URL of the kind {' or '.join(s + '://host' for s in schemes)}")
        return value.rstrip("/")

    def origin(self, name: str, default: str) -> str:
        """An http or https address without a path: cookies, hosts and links are made from it."""
        value = self.url(name, default, ("http", "https"))
        parts = urlsplit(value)
        if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            refuse(name, f"{value!r} has more than a scheme, a host and a port")
        return value

    def hosts(self, name: str, default: list[str]) -> list[str]:
        """Host names as Django compares them: no scheme and no port; .example.com and * are patterns."""
        values = self.names(name, default)
        for value in values:
            if not _HOST.fullmatch(value):
                refuse(
                    name, f"{value!r} is not a host name such as tollgate.example.com (no scheme, no port)"
                )
        return values

    def mail_address(self, name: str, default: str) -> str:
        value = self.text(name, default)
        if not value.isprintable() or not re.fullmatch(r"[^@\s]+@[^@\s]+", parseaddr(value)[1]):
            refuse(name, f"{value!r} is not an address such as Tollgate <tollgate@example.com>")
        return value

    def mail(self, name: str, default: str) -> dict:
        """Django's EMAIL_… settings for a mail URL."""
        value = self.text(name, default)
        try:
            config = dict(environ.Env.email_url_config(value))
        except Exception as error:
            refuse(name, f"cannot be read as a mail URL ({_reason(error)})")
        if value.startswith("smtp") and not config["EMAIL_HOST"]:
            refuse(name, "names no mail server, as in smtp://user:password@mail.example.com:25")
        if value.startswith("consolemail"):
            config["EMAIL_BACKEND"] = "config.console_mail.EmailBackend"
        return config

    def time_zone(self, name: str, default: str) -> str:
        value = self.text(name, default)
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            refuse(name, f"{value!r} is not a time zone such as Asia/Kolkata")
        return value

    def secret(self, name: str, *, may_generate: bool) -> str:
        value = self.text(name)
        if not value and may_generate:
            self._generate_secrets()
            value = self.text(name)
        if not value:
            refuse(name, "is not set; give a long random value")
        if len(value) < 32:
            refuse(name, f"has {len(value)} characters; give at least 32 random ones")
        return value

    def _generate_secrets(self) -> None:
        """Write the secrets file once; whoever comes second reads the first one's."""
        lines = [f"{name}={secrets.token_urlsafe(48)}\n" for name in GENERATED]
        draft = self.secrets_file.with_name(f"{self.secrets_file.name}.{os.getpid()}")
        try:
            draft.touch(mode=0o600)
            draft.write_text("".join(lines))
            # A hard link appears whole or not at all, and never replaces a file that is there.
            with contextlib.suppress(FileExistsError):
                os.link(draft, self.secrets_file)
            draft.unlink()
        except OSError as error:
            refuse(
                GENERATED[0], f"is not set, and {self.secrets_file.name} cannot be written ({error.strerror})"
            )
        self._read_secrets()

    def _read_secrets(self) -> None:
        for name in GENERATED:
            if not self.text(name):
                os.environ.pop(name, None)  # set to nothing is not set: the file's value holds
        environ.Env.read_env(str(self.secrets_file))

    def database(self, name: str, default: str) -> dict:
        """Django's settings for DATABASE_URL: SQLite, or MariaDB and MySQL by a mysql:// URL."""
        value = self.text(name, default)
        if not value.startswith(("sqlite://", "mysql://")):
            refuse(name, "must begin with sqlite:/// or mysql://")
        try:
            config = dict(self._environ.db_url_config(value))
        except Exception as error:
            refuse(name, f"cannot be read as a database URL ({_reason(error)})")
        if not config.get("NAME"):
            refuse(name, "names no database, as in mysql://user:password@127.0.0.1:3306/tollgate")
        if value.startswith("sqlite://"):
            return {**config, **sqlite_options()}
        return {**config, **mysql_options(config.get("OPTIONS") or {})}


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def sqlite_options() -> dict:
    """WAL with immediate transactions: readers never wait, writers queue instead of failing.

    Connections are kept, because making one costs more than recording a single event.
    synchronous=FULL because an acknowledged record has to survive a power cut;
    recursive_triggers so that REPLACE, which deletes, meets the append-only triggers too.
    """
    return {
        "CONN_MAX_AGE": 300,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            " PRAGMA cache_size=-65536; PRAGMA temp_store=MEMORY; PRAGMA recursive_triggers=ON;",
        },
    }


def mysql_options(given: dict) -> dict:
    """READ COMMITTED (no gap locks between writers) and strict mode, on persistent connections."""
    return {
        "CONN_MAX_AGE": 300,
        "OPTIONS": {
            "charset": "utf8mb4",
            "isolation_level": "read committed",
            "init_command": "SET sql_mode='STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION',"
            " innodb_lock_wait_timeout=5",
            "connect_timeout": 5,
            **given,
        },
    }
