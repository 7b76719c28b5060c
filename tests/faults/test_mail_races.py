"""Several workers over reports and cost alarms, and kills between: each is decided once, none is missed."""

import email
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.installation import ROOT, Installation

READERS = 5
ALARMS = 3
WORKERS = 3
WITHIN_S = 40
CLAIMED_S = 1

LOOK = f"""
import django, sys, time
django.setup()
from datetime import timedelta
from django.conf import settings
from django.utils import timezone
settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
settings.EMAIL_FILE_PATH = sys.argv[1]
from billing import cost_alarms, letters, reports
from billing.models import CostAlarmFiring, ReportSending
from usage import everywhere, retrying
letters.CLAIMED_FOR = timedelta(seconds={CLAIMED_S})
print("ready", flush=True)
while True:
    everywhere.follow_all()
    reports.decide(timezone.now())
    cost_alarms.check(timezone.now())
    for rows, send in ((ReportSending, reports.send), (CostAlarmFiring, cost_alarms.send)):
        for pk in rows.objects.filter(state=letters.State.WAITING).values_list("pk", flat=True):
            retrying.run(lambda: send(pk))
    time.sleep(0.01)
"""
PREPARE = f"""
from datetime import timedelta
from django.utils import timezone
from accounts.models import User
from billing.models import CostAlarm, ReportSubscription
past = timezone.now() - timedelta(days=70)
for n in range({READERS}):
    user, _ = User.objects.get_or_create(
        email=f"reader-{{n}}@example.com", defaults={{"is_staff": True, "is_superuser": True}}
    )
    ReportSubscription.objects.create(user=user, created_at=past)
for n in range({ALARMS}):
    CostAlarm.objects.create(
        name=f"alarm {{n}}", amount=1 + n, addresses=["ops@example.com"], created_at=past, warnings=[50, 80]
    )
"""
FORGET = """
from billing.models import CostAlarm, ReportSubscription
CostAlarm.objects.all().delete()
ReportSubscription.objects.all().delete()
"""
STANDING = """
from billing.models import CostAlarmFiring, ReportSending
from usage.models import Job
told = CostAlarmFiring.objects.filter(is_covered=False)
rows = [*ReportSending.objects.all(), *told]
print(ReportSending.objects.count(), CostAlarmFiring.objects.count(), told.count(),
      sum(row.state == row.State.SENT for row in rows),
      Job.objects.filter(name__in=("billing.send_report", "billing.send_cost_alarm")).count())
"""


@pytest.fixture
def prepared(tollgate: Installation, name: str) -> Iterator[Installation]:
    """Reports that are due, and alarms whose amounts are reached by one record."""
    clerk(tollgate, FORGET + "from usage.models import Job; Job.objects.all().delete()")
    clerk(tollgate, PREPARE)
    event = {"operation": "api_call", "account": name, "cost": {"amount": "500", "currency": "USD"}}
    assert tollgate.post("usage/", event).status == 201
    yield tollgate
    clerk(tollgate, FORGET)


def clerk(tollgate: Installation, code: str) -> str:
    tollgate.begin(code)
    status, output = tollgate.finish()
    assert status == 0, output
    return output


def started(tollgate: Installation, mails: Path) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", LOOK, str(mails)]
    worker = subprocess.Popen(
        line, cwd=ROOT, env=tollgate.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


def ended(workers: list[subprocess.Popen[str]]) -> None:
    for worker in workers:
        worker.kill()
        worker.wait()


def wait_until_sent(tollgate: Installation) -> None:
    """Until every mail is sent, and a moment more for what would be sent twice."""
    deadline = time.monotonic() + WITHIN_S
    while clerk(tollgate, STANDING).split()[3] != str(READERS + ALARMS) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(0.5)


def ids_of(mails: Path) -> Counter[str]:
    """The Message-IDs that came, each as often as it did."""
    found: Counter[str] = Counter()
    for file in mails.iterdir():
        # The backend writes a line of dashes behind each mail; a killed writer's file has none.
        for text in file.read_text().split("-" * 79 + "\n"):
            if text.strip():
                found[str(email.message_from_string(text)["Message-ID"])] += 1
    return found


def assert_each_is_written_down_once(tollgate: Installation) -> None:
    reports, fired, told, sent, jobs = clerk(tollgate, STANDING).split()
    assert (reports, fired, told) == (str(READERS), str(ALARMS * 3), str(ALARMS))
    assert (sent, jobs) == (str(READERS + ALARMS), str(READERS + ALARMS))


def test_workers_side_by_side_send_each_mail_once(prepared: Installation, tmp_path: Path) -> None:
    workers = [started(prepared, tmp_path) for _ in range(WORKERS)]
    try:
        wait_until_sent(prepared)
        assert [worker.poll() for worker in workers] == [None] * WORKERS, workers[0].stderr
    finally:
        ended(workers)

    assert_each_is_written_down_once(prepared)
    ids = ids_of(tmp_path)
    assert (len(ids), set(ids.values())) == (READERS + ALARMS, {1})


def test_who_is_killed_leaves_no_mail_behind_and_none_with_two_ids(
    prepared: Installation, tmp_path: Path
) -> None:
    workers = [started(prepared, tmp_path) for _ in range(2)]
    try:
        for pause in (0.05, 0.15, 0.3, 0.1):
            time.sleep(pause)
            os.kill(workers[0].pid, signal.SIGKILL)
            workers[0].wait()
            workers = [workers[1], started(prepared, tmp_path)]
        wait_until_sent(prepared)
        assert workers[1].poll() is None
    finally:
        ended(workers)

    assert_each_is_written_down_once(prepared)
    assert len(ids_of(tmp_path)) == READERS + ALARMS
