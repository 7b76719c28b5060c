"""Many writers over the thresholds, many who look, and kills between: each fires once, and none is missed."""

import os
import signal
import subprocess
import sys
import time

from tests.faults.crowd import answers_of, tasks
from tests.faults.installation import ROOT, Installation
from tests.faults.limited import Limited, fewer_rounds, one_limit, slug_of

CLIENTS = 8
EACH = 15  # records of each client: 120 in all, of a limit of 100
LOOKERS = 4
WITHIN_S = 30

LOOK = """
import django, sys, time
django.setup()
from usage.alerts import costs, crossings
print("ready", flush=True)
while True:
    crossings.find()
    costs.check()
    time.sleep(0.002)
"""
ON_A_PLAN_WITH_ALERTS = """
from accounts.models import User
from usage.alerts import rules
plans.change_plan(account, Plan.objects.get(code="enterprise"), actor="test")
rules.save_thresholds(account, {}, ["0.5", "1"], rules.By("test"))
"""


def alerted(tollgate: Installation, name: str) -> Limited:
    """An account with a limit of 100, thresholds of cost, and a plan that has alerts."""
    account = one_limit(tollgate, name, "100", window="calendar_month")
    account.clerk(ON_A_PLAN_WITH_ALERTS)
    return account


def fired(account: Limited) -> list[tuple[str, int]]:
    """What was written down, each as often as it was: cost in tenths of a dollar."""
    rows = account.tollgate.query(
        "SELECT l.watched, l.threshold FROM usage_alert l JOIN accounts_account a ON a.id = l.account_id"
        f" WHERE a.public_id = '{account.public_id}' ORDER BY l.threshold, l.id"
    )
    return [("cost", n // 10**9) if watched == "cost" else ("meter", n) for watched, n in rows]


ALL = [("meter", 80), ("meter", 95), ("meter", 100), ("cost", 5), ("cost", 10)]


def start_looking(tollgate: Installation) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", LOOK]
    looker = subprocess.Popen(
        line, cwd=ROOT, env=tollgate.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert looker.stdout is not None
    assert looker.stdout.readline() == "ready\n"
    return looker


def write_beyond_all(account: Limited) -> None:
    event = {
        "operation": slug_of(account.name),
        "quantities": {"requests": 1},
        "account": account.public_id,
        "cost": {"amount": "0.01", "currency": "USD"},
    }
    bodies = [[event] * EACH for _ in range(CLIENTS)]
    answers = answers_of(tasks(account.tollgate.port, account.tollgate.token, "usage/", bodies))
    assert {answer.status for answer in answers} == {201}


def wait_for_all(account: Limited) -> None:
    """Until everything fired, and a moment more for what would fire twice."""
    deadline = time.monotonic() + WITHIN_S
    while len(fired(account)) < len(ALL) and time.monotonic() < deadline:
        account.clerk(
            "from usage.models import AlertSettings\nAlertSettings.objects.filter(account=account).exclude(cost_due_at=None).update(cost_due_at=timezone.now())"
        )
        time.sleep(0.1)
    time.sleep(0.3)


@fewer_rounds
def test_each_threshold_fires_once_for_many_writers_and_many_who_look(
    round_: int, tollgate: Installation, name: str
) -> None:
    account = alerted(tollgate, name)
    lookers = [start_looking(tollgate) for _ in range(LOOKERS)]
    try:
        write_beyond_all(account)
        wait_for_all(account)
        assert [looker.poll() for looker in lookers] == [None] * LOOKERS, lookers[0].stderr
    finally:
        for looker in lookers:
            looker.kill()
            looker.wait()

    assert fired(account) == ALL
    ((messages, alerts),) = tollgate.query(
        "SELECT COUNT(*), COUNT(DISTINCT d.alert_id) FROM usage_alertdelivery d"
        f" JOIN accounts_account a ON a.id = d.account_id WHERE a.public_id = '{account.public_id}'"
    )
    assert messages == alerts


@fewer_rounds
def test_who_is_killed_while_looking_leaves_no_half_of_a_crossing(
    round_: int, tollgate: Installation, name: str
) -> None:
    account = alerted(tollgate, name)
    looker = start_looking(tollgate)
    try:
        for _ in range(4):
            write_beyond_all(account) if fired(account) == [] else time.sleep(0.05)
            os.kill(looker.pid, signal.SIGKILL)
            looker.wait()
            looker = start_looking(tollgate)
        wait_for_all(account)
        assert looker.poll() is None
    finally:
        looker.kill()
        looker.wait()

    assert fired(account) == ALL
    ((half,),) = tollgate.query(
        "SELECT COUNT(*) FROM usage_alertdelivery d LEFT JOIN usage_job j"
        " ON j.name = 'usage.deliver_alert' AND j.arguments LIKE CONCAT('%: ', d.id, '}')"
        " WHERE j.id IS NULL"
        if tollgate.mariadb is not None
        else "SELECT COUNT(*) FROM usage_alertdelivery d LEFT JOIN usage_job j"
        " ON j.name = 'usage.deliver_alert' AND j.arguments LIKE '%: ' || d.id || '}'"
        " WHERE j.id IS NULL"
    )
    assert half == 0
