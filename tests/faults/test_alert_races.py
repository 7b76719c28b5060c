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
LOOKERS = 3
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
from usage.alerts import rules, webhook
plans.change_plan(account, Plan.objects.get(code="enterprise"), actor="test")
rules.save_thresholds(account, {}, ["0.5", "1"], rules.By("test"))
webhook.save_url(account, "https://hooks.example.com/", rules.By("test"))
"""
LOOK_AT_COSTS_NOW = """
from usage.models import AlertSettings
now = timezone.now()
AlertSettings.objects.filter(account=account, cost_due_at__gt=now).update(cost_due_at=now)
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
        account.clerk(LOOK_AT_COSTS_NOW)
        time.sleep(0.1)
    time.sleep(0.3)


def assert_each_message_is_queued_once(account: Limited) -> None:
    """Each alert that names itself has one message, which has one job; the others have none."""
    output = account.clerk(
        "from usage.models import Alert, AlertDelivery, Job\n"
        "named = Alert.objects.filter(account=account, is_covered=False).values_list('pk', flat=True)\n"
        "rows = AlertDelivery.objects.filter(account=account)\n"
        "keys = [f'usage.deliver_alert:{row.pk}' for row in rows]\n"
        "jobs = Job.objects.filter(key__in=keys).values_list('key', flat=True)\n"
        "told = [row.alert_id for row in rows]\n"
        "print(len(named), sorted(named) == sorted(told), sorted(jobs) == sorted(keys))"
    )
    count, *agree = output.split()
    assert agree == ["True", "True"]
    assert 2 <= int(count) <= len(ALL)


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
    assert_each_message_is_queued_once(account)


@fewer_rounds
def test_who_is_killed_while_looking_leaves_no_half_of_a_crossing(
    round_: int, tollgate: Installation, name: str
) -> None:
    account = alerted(tollgate, name)
    looker = start_looking(tollgate)
    try:
        for _ in range(3):
            if fired(account) == []:
                write_beyond_all(account)
            os.kill(looker.pid, signal.SIGKILL)
            looker.wait()
            looker = start_looking(tollgate)
        wait_for_all(account)
        assert looker.poll() is None
    finally:
        looker.kill()
        looker.wait()

    assert fired(account) == ALL
    assert_each_message_is_queued_once(account)
