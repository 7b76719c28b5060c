"""The secrets that nobody gave are made once, in a file that only its owner reads."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config.environment import Environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _no_secrets_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET_KEY", "API_KEY_PEPPER"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def read(file: Path) -> tuple[str, str]:
    env = Environment(file)
    return env.secret("SECRET_KEY", may_generate=True), env.secret("API_KEY_PEPPER", may_generate=True)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SECRET_KEY", "API_KEY_PEPPER"):
        monkeypatch.delenv(name, raising=False)


def test_they_are_made_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".tollgate.env"

    first = read(file)
    written = file.read_bytes()
    forget(monkeypatch)
    again = read(file)

    assert first == again
    assert file.read_bytes() == written
    assert first[0] != first[1]
    assert min(map(len, first)) >= 60
    assert [path.name for path in tmp_path.iterdir()] == [".tollgate.env"]


def test_only_its_owner_reads_the_file(tmp_path: Path) -> None:
    read(tmp_path / ".tollgate.env")

    assert stat.S_IMODE((tmp_path / ".tollgate.env").stat().st_mode) == 0o600


def test_a_secret_that_is_given_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".tollgate.env"
    _, pepper = read(file)
    forget(monkeypatch)
    monkeypatch.setenv("SECRET_KEY", "g" * 40)

    assert read(file) == ("g" * 40, pepper)


def test_a_secret_set_to_nothing_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".tollgate.env"
    first = read(file)
    monkeypatch.setenv("SECRET_KEY", "")
    monkeypatch.setenv("API_KEY_PEPPER", " ")

    assert read(file) == first


def test_on_https_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="tollgate: SECRET_KEY: is not set"):
        Environment(tmp_path / ".tollgate.env").secret("SECRET_KEY", may_generate=False)

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"tollgate: SECRET_KEY: is not set, and \.tollgate\.env cannot"):
        Environment(tmp_path / "missing" / ".tollgate.env").secret("SECRET_KEY", may_generate=True)


def test_a_file_that_another_process_made_meanwhile_is_read_and_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / ".tollgate.env"
    env = Environment(file)  # looked, and there was none
    file.write_text(f"SECRET_KEY={'a' * 40}\nAPI_KEY_PEPPER={'b' * 40}\n")

    found = env.secret("SECRET_KEY", may_generate=True), env.secret("API_KEY_PEPPER", may_generate=True)

    assert found == ("a" * 40, "b" * 40)
    assert file.read_text().startswith("SECRET_KEY=aaa")


def test_processes_that_start_at_once_agree(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from config.environment import Environment;"
        " sys.stdin.read(); env = Environment(Path(sys.argv[1]));"
        " print(env.secret('SECRET_KEY', may_generate=True))"
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / ".tollgate.env")],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(6)
    ]  # fmt: skip
    for process in started:
        assert process.stdin is not None
        process.stdin.close()  # all of them were waiting for this
        process.stdin = None

    found = {process.communicate(timeout=60)[0].strip() for process in started}

    assert len(found) == 1
    assert len(found.pop()) >= 60
    assert [path.name for path in tmp_path.iterdir()] == [".tollgate.env"]
