"""Following Stripe for real: killed between any two steps, after an outage, and against a stale writer."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakes.stripe import Lookalike
from tests.faults.client import Task
from tests.faults.crowd import crowding
from tests.faults.installation import ROOT, ROUNDS, Installation
from tests.faults.stripe_client import deliver, deliver_all

LEASE_S = 2
WITHIN_S = 60
CUSTOMERS = 1_250 if os.environ.get("TOLLGATE_FAULT_ROUNDS") else 60  # of eight events each
DRAINED_WITHIN_S = 600


@pytest.fixture
def fake() -> Iterator[Lookalike]:
    with Lookalike() as made:
        made.sell("basic_monthly", 1000)
        made.sell("pro_monthly", 2000)
        yield made


@pytest.fixture
def empty(tollgate: Installation) -> Installation:
    """On each engine, without what earlier tests have stored and queued."""
    tell(
        tollgate,
        "from billing.models import StripeCustomer, StripeEvent, StripeFinding\n"
        "from usage.models import Job\n"
        "for model in (StripeEvent, StripeFinding, StripeCustomer, Job): model.objects.all().delete()",
    )
    return tollgate


def tell(tollgate: Installation, code: str) -> str:
    tollgate.begin(code)
    status, output = tollgate.finish()
    assert status == 0, output
    return output


def accounts(tollgate: Installation, count: int) -> list[str]:
    """So many new accounts on the default plan; their ids."""
    code = (
        "from accounts.lifecycle import open_business_account\n"
        f"for n in range({count}): print(open_business_account('Payer').public_id)"
    )
    return tell(tollgate, code).split()


def plan_of(tollgate: Installation, account: str) -> str:
    code = (
        "from billing.models import Subscription\n"
        f"print(Subscription.objects.get(account__public_id={account!r}).plan.code)"
    )
    return tell(tollgate, code).strip()


@contextmanager
def following(
    tollgate: Installation, fake: Lookalike, folder: Path, count: int, *point: str
) -> Iterator[list[subprocess.Popen]]:
    """Workers that follow the look-alike; afterwards they end."""
    environment = {
        **tollgate.environment,
        "STRIPE_SECRET_KEY": "sk_test_faults",
        "STRIPE_API_BASE": fake.base,
    }
    line = [sys.executable, "-m", "tests.faults.stripe_mortal", str(folder), str(LEASE_S), *point]
    with (folder / "log").open("ab") as log:
        running = [
            subprocess.Popen(line, cwd=ROOT, env=environment, stdout=log, stderr=log) for _ in range(count)
        ]
    try:
        yield running
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(WITHIN_S)
            finally:
                process.kill()
                process.wait()


def wait_for(happened: Callable[[], bool], folder: Path, seconds: float = WITHIN_S) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, (folder / "log").read_text()[-4000:]
        time.sleep(0.05)


def waiting(tollgate: Installation) -> int:
    return int(tollgate.query("SELECT COUNT(*) FROM billing_stripeevent WHERE state <> 1")[0][0])


@pytest.mark.parametrize("point", ["lock", "fetch", "write", "mark"])
def test_a_worker_that_dies_between_two_steps_costs_time_and_nothing_else(
    empty: Installation, fake: Lookalike, tmp_path: Path, point: str
) -> None:
    for number in range(ROUNDS if ROUNDS > 3 else 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        (account,) = accounts(empty, 1)
        before = len(fake.events)
        fake.subscribe(fake.customer(account)["id"], "pro_monthly")
        for event in fake.events[before:]:
            assert deliver(empty.port, event).status == 200
        with following(empty, fake, folder, 1, point) as (mortal,):
            wait_for((folder / "died").exists, folder)
            mortal.wait(WITHIN_S)

        with following(empty, fake, folder, 2):
            wait_for(lambda: waiting(empty) == 0, folder)

        assert plan_of(empty, account) == "pro"
        steps = tell(
            empty,
            "from billing.models import PlanChange; from accounts.models import AuditEntry\n"
            f"print(PlanChange.objects.filter(account__public_id={account!r}, plan__code='pro').count())\n"
            f"print(AuditEntry.objects.filter(account_public_id={account!r}, action='plan.changed').count())",
        )
        assert steps.split() == ["1", "1"]


def test_what_came_after_an_outage_is_drained_and_agrees_with_stripe(
    empty: Installation, fake: Lookalike, tmp_path: Path
) -> None:
    payers = accounts(empty, CUSTOMERS)
    before = len(fake.events)
    for account in payers:
        fake.subscribe(fake.customer(account)["id"], "pro_monthly")
    events = fake.events[before:]
    assert len(events) >= 8 * CUSTOMERS
    tasks = [Task(n, empty.port, "", "", {}, events[n::4], patient=False) for n in range(4)]
    with crowding(tasks, deliver_all) as crowd:
        answers = list(crowd)
    assert {answer.status for answer in answers} == {200}

    began = time.monotonic()
    with following(empty, fake, tmp_path, 2):
        wait_for(lambda: waiting(empty) == 0, tmp_path, DRAINED_WITHIN_S)
    print(f"{len(events)} events of {CUSTOMERS} customers in {time.monotonic() - began:.1f} s")

    on_pro = tell(
        empty,
        "from billing.models import Subscription\n"
        "print(Subscription.objects.filter(plan__code='pro', follows_stripe=True).count())",
    )
    assert int(on_pro) >= CUSTOMERS
    drifts = tell(
        empty,
        "from django.conf import settings; from billing.stripe import reconcile\n"
        f"settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE = 'sk_test_faults', {fake.base!r}\n"
        "report, after = reconcile.Report(), 0\n"
        "while some := reconcile.customers_after(after):\n"
        "    for customer in some: reconcile.compare(customer, report)\n"
        "    after = some[-1].pk\n"
        "print(report.customers, len(report.drifts), len(report.failures))",
    )
    assert drifts.split() == [str(CUSTOMERS), "0", "0"]


def test_who_has_lost_the_lock_writes_nothing(empty: Installation, fake: Lookalike) -> None:
    """A writer that fetched long ago is overtaken by one that fetched since, whoever writes last."""
    (account,) = accounts(empty, 1)
    customer = fake.customer(account)["id"]
    sub = fake.subscribe(customer, "pro_monthly")
    said = tell(
        empty,
        "from datetime import timedelta\n"
        "from django.conf import settings; from django.utils import timezone\n"
        "from billing.models import StripeCustomer, Subscription; from billing.stripe import sync\n"
        "from billing.stripe.looks import Look\n"
        f"settings.STRIPE_SECRET_KEY, settings.STRIPE_API_BASE = 'sk_test_faults', {fake.base!r}\n"
        f"sync.sync_customer({customer!r})\n"
        f"row = StripeCustomer.objects.get(customer_id={customer!r})\n"
        "from datetime import timedelta\n"
        "token = sync._take(row, timedelta(0))\n"
        f"stale = sync.fetch({customer!r}, Look())\n"
        "over = timezone.now() - timedelta(seconds=1)\n"
        "StripeCustomer.objects.filter(pk=row.pk).update(locked_until=over)\n"
        "from billing.stripe import client\n"
        f"client.act('subscriptions.cancel', {sub['id']!r})\n"
        f"sync.sync_customer({customer!r})\n"
        "try:\n"
        "    sync._write(row.pk, token, stale); print('written')\n"
        "except sync.Lost:\n"
        "    print('lost')\n"
        f"print(Subscription.objects.get(account__public_id={account!r}).plan.code)",
    )
    assert said.split() == ["lost", "free"]
