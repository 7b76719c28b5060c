"""Settings come from the environment: each has a default, and a bad value is refused with one line."""

import os
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from config.environment import Environment, is_loopback

ROOT = Path(__file__).resolve().parents[2]
LONG = "x" * 40
SECRETS = {"SECRET_KEY": LONG, "API_KEY_PEPPER": LONG}


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    monkeypatch.delenv("NAME", raising=False)
    return Environment(tmp_path / ".tollgate.env")


def refusal(read: Any) -> str:
    with pytest.raises(SystemExit) as refused:
        read()
    message = str(refused.value)
    assert message.startswith("tollgate: NAME: ")
    assert "\n" not in message
    return message


READERS: dict[str, tuple[Any, Any, dict[str, Any], list[str]]] = {
    # reader: (how it is asked, the default, good values, bad values)
    "flag": (
        lambda env: env.flag("NAME", default=False),
        False,
        {
            "true": True,
            "1": True,
            "Yes": True,
            "on": True,
            "false": False,
            "0": False,
            "NO": False,
            "off": False,
        },
        ["maybe", "2", "truee"],
    ),
    "whole_number": (
        lambda env: env.whole_number("NAME", 8000, 1, 65535),
        8000,
        {"1": 1, "65535": 65535, " 80 ": 80},
        ["0", "65536", "-1", "1.5", "eighty", "²", "1_000", "9" * 5000],
    ),
    "origin": (
        lambda env: env.origin("NAME", "http://127.0.0.1:8000"),
        "http://127.0.0.1:8000",
        {"https://a.example.com/": "https://a.example.com", "http://[::1]:80": "http://[::1]:80"},
        [
            "a.example.com",
            "ftp://a",
            "http://",
            "http://a/b",
            "http://a?b",
            "http://u@a",
            "http://a:0",
            "http://a:x",
        ],
    ),
    "url": (
        lambda env: env.url("NAME", "https://api.stripe.com", ("http", "https")),
        "https://api.stripe.com",
        {"http://127.0.0.1:1/x": "http://127.0.0.1:1/x"},
        ["x", "redis://a", "http://", "http://a b", "http://a:99999"],
    ),
    "hosts": (
        lambda env: env.hosts("NAME", ["localhost"]),
        ["localhost"],
        {
            "a.example.com, .b.example.com": ["a.example.com", ".b.example.com"],
            "*": ["*"],
            "[::1]": ["[::1]"],
        },
        ["https://a.example.com", "a.example.com:8000", "a b", "a/b", "a..b", "*.example.com"],
    ),
    "networks": (
        lambda env: env.networks("NAME"),
        [],
        {"10.0.0.1,10.1.0.0/16": [ip_network("10.0.0.1/32"), ip_network("10.1.0.0/16")]},
        ["proxy", "10.0.0.0/33", "300.1.1.1"],
    ),
    "time_zone": (
        lambda env: env.time_zone("NAME", "UTC"),
        "UTC",
        {"Asia/Kolkata": "Asia/Kolkata"},
        ["Mars/Olympus", "../etc/passwd", "/etc/localtime", "\x00"],
    ),
    "choice": (
        lambda env: env.choice("NAME", "429", ("429", "403")),
        "429",
        {"403": "403"},
        ["400", "forty"],
    ),
    "mail_address": (
        lambda env: env.mail_address("NAME", "a@b.c"),
        "a@b.c",
        {"Tollgate <t@example.com>": "Tollgate <t@example.com>", "t@example.com": "t@example.com"},
        ["Tollgate", "a@", "@b", "a@b\nBcc: c@d"],
    ),
}
BACKEND = "django.core.mail.backends"


@pytest.mark.parametrize("reader", READERS)
def test_a_value_that_is_not_set_or_empty_is_the_default(
    env: Environment, monkeypatch: pytest.MonkeyPatch, reader: str
) -> None:
    read, default, _, _ = READERS[reader]
    assert read(env) == default
    for empty in ("", "  "):
        monkeypatch.setenv("NAME", empty)
        assert read(env) == default


@pytest.mark.parametrize(
    ("reader", "value", "meant"),
    [(r, v, m) for r, (_, _, good, _) in READERS.items() for v, m in good.items()],
)
def test_a_good_value_is_read(
    env: Environment, monkeypatch: pytest.MonkeyPatch, reader: str, value: str, meant: Any
) -> None:
    monkeypatch.setenv("NAME", value)

    assert READERS[reader][0](env) == meant


@pytest.mark.parametrize(("reader", "value"), [(r, v) for r, (_, _, _, bad) in READERS.items() for v in bad])
def test_a_bad_value_is_refused_in_one_line(
    env: Environment, monkeypatch: pytest.MonkeyPatch, reader: str, value: str
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "NAME": value})

    refusal(lambda: READERS[reader][0](env))


@pytest.mark.parametrize(
    "value",
    ["postgres://u:hunter2@h/d", "foo", "mysql://u:hunter2@h", "mysql://u:hunter2@h:x/d", "sqlite3:x"],
)
def test_a_database_that_is_not_supported_is_refused_without_its_password(
    env: Environment, monkeypatch: pytest.MonkeyPatch, recwarn: Any, value: str
) -> None:
    monkeypatch.setenv("NAME", value)

    assert "hunter2" not in refusal(lambda: env.database("NAME", ""))
    assert len(recwarn) == 0


def test_sqlite_and_mysql_urls_are_read(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.database("NAME", "sqlite:////tmp/x.sqlite3")["NAME"] == "/tmp/x.sqlite3"
    monkeypatch.setenv("NAME", "mysql://u:p%40ss@127.0.0.1:3307/tollgate")
    config = env.database("NAME", "")
    assert (config["NAME"], config["PASSWORD"], config["PORT"]) == ("tollgate", "p@ss", 3307)
    assert config["OPTIONS"]["isolation_level"] == "read committed"


@pytest.mark.parametrize(
    ("value", "backend"),
    [
        ("smtp://u:p@mail.example.com:25", "smtp"),
        ("smtp+tls://u:p@mail.example.com:587", "smtp"),
        ("dummymail://", "dummy"),
    ],
)
def test_mail_urls_are_read(
    env: Environment, monkeypatch: pytest.MonkeyPatch, value: str, backend: str
) -> None:
    monkeypatch.setenv("NAME", value)

    assert env.mail("NAME", "consolemail://")["EMAIL_BACKEND"] == f"{BACKEND}.{backend}.EmailBackend"


@pytest.mark.parametrize("value", ["mail", "http://mail", "smtp://", "smtp://h:x"])
def test_another_mail_url_is_refused(env: Environment, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("NAME", value)

    refusal(lambda: env.mail("NAME", "consolemail://"))


def test_loopback_addresses_are_known() -> None:
    here = (
        "http://127.0.0.1:1",
        "http://127.9.9.9",
        "http://[::1]:1",
        "http://localhost",
        "http://a.localhost",
    )
    assert [is_loopback(url) for url in here] == [True] * len(here)
    assert not any(
        is_loopback(url) for url in ("https://api.stripe.com", "http://10.0.0.1", "http://127.evil.com")
    )


def start(**variables: str) -> subprocess.CompletedProcess[str]:
    """Read the settings in a process of its own, with nothing but these variables."""
    environment = {"PATH": os.environ["PATH"], **SECRETS, **variables}
    return subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


BAD = {
    "DATABASE_URL": "postgres://u:p@h/d", "SECRET_KEY": "short", "API_KEY_PEPPER": "short", "DEBUG": "maybe",
    "ALLOWED_HOSTS": "https://a", "TRUSTED_PROXIES": "proxy", "BASE_URL": "a", "PORT": "0",
    "TIME_ZONE": "Mars", "REDIS_URL": "http://x", "EMAIL_URL": "x", "DEFAULT_FROM_EMAIL": "x",
    "STRIPE_SECRET_KEY": "pk_test_1",
    "STRIPE_WEBHOOK_SECRETS": "whsec_1,x", "STRIPE_API_BASE": "http://10.0.0.1", "SENTRY_DSN": "x",
    "QUOTA_REFUSED_STATUS": "400", "RETENTION_MONTHS": "-1",
    "STAFF_TWO_STEP": "maybe",
}  # fmt: skip
DOCUMENTED = {
    "DATABASE_URL", "SECRET_KEY", "API_KEY_PEPPER", "DEBUG", "ALLOWED_HOSTS", "TRUSTED_PROXIES", "BASE_URL",
    "PORT", "TIME_ZONE", "REDIS_URL", "EMAIL_URL", "DEFAULT_FROM_EMAIL", "STRIPE_SECRET_KEY",
    "STRIPE_WEBHOOK_SECRETS", "STRIPE_API_BASE", "SENTRY_DSN", "QUOTA_REFUSED_STATUS", "RETENTION_MONTHS",
    "STAFF_TWO_STEP",
}  # fmt: skip


def test_each_setting_of_the_contract_has_a_bad_value_here() -> None:
    assert set(BAD) == DOCUMENTED


SETTINGS_ALONE = """
import os, runpy, sys
for line in sys.stdin.read().splitlines():
    name, _, value = line.partition("=")
    kept = os.environ.get(name)
    os.environ[name] = value
    try:
        runpy.run_path("config/settings.py")
        print(f"{name}|taken")
    except SystemExit as refused:
        print(f"{name}|{refused.code}")
    finally:
        os.environ.pop(name)
        if kept is not None:
            os.environ[name] = kept
"""


def test_each_bad_setting_is_refused_by_its_name() -> None:
    bad = [*BAD.items(), ("STRIPE_API_BASE", "http://127.0.0.1:12111")]
    done = subprocess.run(
        [sys.executable, "-c", SETTINGS_ALONE],
        cwd=ROOT,
        env={**SECRETS, "PATH": os.environ["PATH"], "PYTHONPATH": "."},
        input="\n".join(f"{name}={value}" for name, value in bad),
        capture_output=True,
        text=True,
        check=True,
    )

    answers = [line.split("|", 1) for line in done.stdout.splitlines()]
    assert [name for name, _ in answers] == [name for name, _ in bad]
    for name, answer in answers:
        assert answer.startswith(f"tollgate: {name}: ")


def test_a_bad_setting_ends_the_process_with_one_line_and_1(tmp_path: Path) -> None:
    done = start(TIME_ZONE="Mars/Olympus", DATABASE_URL=f"sqlite:///{tmp_path}/x.sqlite3")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tollgate: TIME_ZONE: 'Mars/Olympus' is not a time zone such as Asia/Kolkata\n"


def test_a_loopback_stripe_is_taken_with_a_test_key(tmp_path: Path) -> None:
    done = start(
        STRIPE_API_BASE="http://127.0.0.1:12111",
        STRIPE_SECRET_KEY="sk_test_1",
        BASE_URL="https://tollgate.example.com",
        DATABASE_URL=f"sqlite:///{tmp_path}/x.sqlite3",
    )

    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
