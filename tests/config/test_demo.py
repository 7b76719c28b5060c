"""`make run` as its user meets it: an empty database, one command, a server that answers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("demo")  # one server, and tests that build on each other

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 120
GIVEN_SECRET = "whsec_that_was_given"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(folder: Path, port: int) -> dict[str, str]:
    secrets = {name: f"{name.lower()}-{'x' * 40}" for name in ("SECRET_KEY", "API_KEY_PEPPER")}
    demo = {
        "DEMO_PASSWORD": "a demo password",
        "DEMO_KEY": "tg_live_demodemo" + "a" * 43,
        "DEMO_SERVICE_KEY": "tg_live_servdemo" + "b" * 43,
        "STRIPE_WEBHOOK_SECRETS": GIVEN_SECRET,
    }
    left_out = ("DJANGO_SETTINGS_MODULE", "STRIPE_SECRET_KEY", "STRIPE_API_BASE")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return {
        **kept,
        **secrets,
        **demo,
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{folder / 'demo.sqlite3'}",
    }


def start(env: dict[str, str], log: Path) -> subprocess.Popen:
    with log.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "manage.py", "demo", "--serve"], cwd=ROOT, env=env, stdout=output, stderr=output
        )


def wait_for_banner(process: subprocess.Popen, log: Path) -> str:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        text = log.read_text()
        if "Stop with Ctrl+C" in text:
            return text
        assert process.poll() is None, text
        time.sleep(0.1)
    raise AssertionError(f"no banner within {READY_WITHIN_S} s: {log.read_text()}")


def stop(process: subprocess.Popen) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=30)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo")
    env = environment(folder, free_port())
    log = folder / "log"
    process = start(env, log)
    try:
        yield {"env": env, "folder": folder, "banner": wait_for_banner(process, log), "process": process}
    finally:
        if process.poll() is None:
            stop(process)


def get(demo: dict[str, Any], path: str) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{demo['env']['PORT']}/api/v1/{path}",
        headers={"Authorization": f"Bearer {demo['env']['DEMO_KEY']}"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)


def test_the_trace_has_gone_through_the_api_to_the_last_decimal(demo: dict[str, Any]) -> None:
    current = get(demo, "usage/current/")

    assert current["lifetime_cost"] == {"USD": "9.6791325000", "INR": "808.2075637500"}
    assert current["plan"]["code"] == "enterprise"


def test_the_banner_names_address_logins_key_and_a_curl_line_that_works(demo: dict[str, Any]) -> None:
    banner = demo["banner"]
    assert f"http://127.0.0.1:{demo['env']['PORT']}" in banner
    assert "maya@example.com" in banner
    assert "staff@example.com" in banner
    curl = re.search(r"^\s*(curl .*)$", banner, re.MULTILINE)
    assert curl is not None

    answer = subprocess.run(["bash", "-c", f"{curl[1]} -s"], capture_output=True, text=True, check=True)

    assert json.loads(answer.stdout)["cost"]["USD"] == "0.1002000000"


def test_the_totals_agree_with_the_ledger_beside_the_running_server(demo: dict[str, Any]) -> None:
    audit = subprocess.run(
        [sys.executable, "manage.py", "audit_usage"],
        cwd=ROOT,
        env=demo["env"],
        capture_output=True,
        text=True,
    )

    assert (audit.returncode, audit.stdout.strip()) == (0, "The totals agree with the ledger."), audit.stderr


def job_workers(demo: dict[str, Any]) -> list[int]:
    """The processes beside the server that run background jobs."""
    pid = demo["process"].pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children if b"\0work\0" in command_line(child)]


def command_line(pid: str | int) -> bytes:
    """Of a process that runs; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""


def test_a_job_worker_runs_beside_it_and_is_started_again_when_it_is_killed(demo: dict[str, Any]) -> None:
    (first,) = job_workers(demo)

    os.kill(first, signal.SIGKILL)

    deadline = time.monotonic() + READY_WITHIN_S
    while job_workers(demo) in ([], [first]) and time.monotonic() < deadline:
        time.sleep(0.1)
    (second,) = job_workers(demo)
    assert second != first


def test_a_second_start_keeps_the_data_and_sends_nothing_again(demo: dict[str, Any]) -> None:
    before = get(demo, "usage/history/?page_size=1")["results"][0]["id"]
    workers = job_workers(demo)
    assert stop(demo["process"]) == 0
    assert len(workers) == 1
    assert [command_line(worker) for worker in workers] == [b""]

    log = demo["folder"] / "second.log"
    process = start(demo["env"], log)
    try:
        banner = wait_for_banner(process, log)
        assert get(demo, "usage/history/?page_size=1")["results"][0]["id"] == before
    finally:
        stop(process)

    assert "Replaying" not in banner


def test_a_taken_port_is_said_in_one_line(demo: dict[str, Any], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        env = environment(tmp_path, port)
        run = subprocess.run(
            [sys.executable, "manage.py", "demo"], cwd=ROOT, env=env, capture_output=True, text=True
        )

    assert run.returncode == 1
    assert (
        run.stderr.strip()
        == f"CommandError: PORT {port} on 127.0.0.1 cannot be used: Address already in use."
    )
