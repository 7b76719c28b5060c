"""`make run` as its user meets it: an empty database, one command, a server that answers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from config import stripe_lookalike
from config.stripe_lookalike import MODULE
from tests.fakes.stripe.delivery import signed

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


def post(demo: dict[str, Any], path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{demo['env']['PORT']}/api/v1/{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {demo['env']['DEMO_KEY']}", "Content-Type": "application/json"},
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


def children(demo: dict[str, Any], word: str) -> list[int]:
    """The processes beside the server whose command line has a word."""
    pid = demo["process"].pid
    started = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in started if f"\0{word}\0".encode() in command_line(child)]


def job_workers(demo: dict[str, Any]) -> list[int]:
    """Those that run background jobs."""
    return children(demo, "work")


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


def lookalike_of(demo: dict[str, Any]) -> str:
    """The address that the banner names."""
    found = re.search(r"Payments +(http://127\.0\.0\.1:\d+)/\n.*look-alike of Stripe", demo["banner"])
    assert found is not None, demo["banner"]
    return found[1]


def at_stripe(demo: dict[str, Any], path: str, **form: str) -> Any:
    """Ask the look-alike's API."""
    body = urlencode(form).encode() if form else None
    headers = {"Authorization": "Bearer sk_test_of_somebody"}
    with urllib.request.urlopen(
        urllib.request.Request(f"{lookalike_of(demo)}/v1/{path}", body, headers), timeout=10
    ) as answer:
        return json.load(answer)


def test_without_a_stripe_key_a_look_alike_sells_our_plans_beside_it(demo: dict[str, Any]) -> None:
    (process,) = children(demo, MODULE)
    assert f"--webhook\0http://127.0.0.1:{demo['env']['PORT']}/webhooks/stripe/".encode() in command_line(
        process
    )

    prices = {p["lookup_key"]: p["unit_amount"] for p in at_stripe(demo, "prices")["data"]}

    assert (prices["basic_monthly"], prices["pro_monthly"]) == (1000, 2000)


def test_nobody_can_read_the_secrets_from_the_command_line(demo: dict[str, Any]) -> None:
    (process,) = children(demo, MODULE)
    line = command_line(process)
    assert line
    assert b"whsec_" not in line
    assert b"sk_test_" not in line


def test_what_is_paid_there_is_in_force_here(demo: dict[str, Any]) -> None:
    session = post(demo, "billing/checkout/", {"plan": "pro"})
    paying = urllib.request.Request(session["url"], urlencode({"do": "pay", "card": "ok"}).encode())
    with pytest.raises(urllib.error.HTTPError, match="303"):
        urllib.request.build_opener(NoRedirect).open(paying, timeout=10)

    deadline = time.monotonic() + READY_WITHIN_S
    while get(demo, "usage/current/")["plan"]["code"] != "pro" and time.monotonic() < deadline:
        time.sleep(0.1)

    assert get(demo, "usage/current/")["plan"]["code"] == "pro"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Stays where it is, for the success page wants somebody signed in."""

    def redirect_request(self, *args: Any) -> None:
        return None


@pytest.mark.parametrize(("secret", "expected"), [(GIVEN_SECRET, 200), ("whsec_of_somebody", 400)])
def test_secrets_that_were_given_stay_valid(demo: dict[str, Any], secret: str, expected: int) -> None:
    event = {
        "id": "evt_by_hand",
        "object": "event",
        "type": "ping",
        "livemode": False,
        "data": {"object": {}},
    }
    body, headers = signed(event, [secret])
    address = f"http://127.0.0.1:{demo['env']['PORT']}/webhooks/stripe/"
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=10) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code

    assert status == expected


def test_a_second_start_keeps_the_data_and_sends_nothing_again(demo: dict[str, Any]) -> None:
    before = get(demo, "usage/history/?page_size=1")["results"][0]["id"]
    paid = at_stripe(demo, "invoices")["data"]
    beside = [*job_workers(demo), *children(demo, MODULE)]
    assert stop(demo["process"]) == 0
    assert len(beside) == 2
    assert [command_line(one) for one in beside] == [b"", b""]

    log = demo["folder"] / "second.log"
    process = start(demo["env"], log)
    try:
        banner = wait_for_banner(process, log)
        assert get(demo, "usage/history/?page_size=1")["results"][0]["id"] == before
        assert lookalike_of({"banner": banner}) == lookalike_of(demo)
        assert paid
        assert at_stripe(demo, "invoices")["data"] == paid
    finally:
        stop(process)

    assert "Replaying" not in banner


def test_with_a_stripe_key_no_look_alike_is_chosen(settings: Any) -> None:
    settings.STRIPE_SECRET_KEY = "sk_test_of_an_account_at_stripe"
    before = dict(os.environ)

    assert stripe_lookalike.choose("http://127.0.0.1:8000") is None
    assert dict(os.environ) == before


def test_the_look_alike_ends_when_who_started_it_is_gone() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    line = [sys.executable, "-m", MODULE, "--parent", str(gone.pid)]

    run = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=30)

    assert (run.returncode, run.stderr) == (0, "")


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
