"""Quotas that change while clients use them: no change brings a fresh zero, and none loses a count."""

import time
from collections import Counter
from decimal import Decimal

from tests.faults.client import Answer, Task
from tests.faults.crowd import meanwhile, tasks
from tests.faults.installation import Installation
from tests.faults.limited import Limit, Limited, fewer_rounds, open_limited, slug_of

LIMIT = 100
CLIENTS = 32
EACH = 1000  # more than any client comes to send before it is stopped


def guarded(account: Limited, clients: int = CLIENTS) -> list[Task]:
    """Records of one request each, for which the account's own key asks permission; on SQLite from fewer."""
    clients = clients if account.tollgate.mariadb else 4
    body = {"operation": slug_of(account.name), "quantities": {"requests": 1}}
    return tasks(account.tollgate.port, account.token, "usage/", [[body] * EACH] * clients)


def facts(account: Limited, clients: int = 8) -> list[Task]:
    """The same as facts of the team's back end."""
    body = {"account": account.name, "operation": slug_of(account.name), "quantities": {"requests": 1}}
    return tasks(account.tollgate.port, account.tollgate.token, "usage/", [[body] * EACH] * clients)


def assert_only_taken_or_refused(answers: list[Answer]) -> None:
    others = [answer for answer in answers if answer.status not in (201, 429)]
    assert not others, (Counter(a.status for a in others), others[0])
    assert {a.body["error"] for a in answers if a.status == 429} <= {"usage_limit_exceeded"}


def taken(answers: list[Answer]) -> int:
    return sum(answer.status == 201 for answer in answers)


def limited(tollgate: Installation, name: str, limit: str | None, **more: str) -> Limited:
    slug = slug_of(name)
    return open_limited(tollgate, name, Limit(slug, limit, (slug,)), **more)


PLANS = """
meter = Meter.objects.get(slug={slug!r})
found = []
for n, (window, interval) in enumerate([("calendar_month", "month"), ("billing_period", "month"),
                                        ("billing_period", "year"), ("week", "month"), ("day", "month")]):
    plan = Plan.objects.create(code=f"{slug}-{{n}}", name="x", rank=99, interval=interval)
    PlanLimit.objects.create(plan=plan, meter=meter, limit={limit}, window=window, enforcement="hard")
    found.append(plan)
"""
CHANGE_PLANS = """
for n in list(range(5)) * 2:
    plans.change_plan(account, Plan.objects.get(code=f"{slug}-{{n}}"), actor="test")
"""


@fewer_rounds
def test_whatever_plan_follows_what_was_used_stays_used(
    round_: int, tollgate: Installation, name: str
) -> None:
    """Plans with the same limit over windows of every kind, all of which hold this moment."""
    account = limited(tollgate, name, None)
    slug = slug_of(name)
    account.clerk(PLANS.format(slug=slug, limit=LIMIT) + "plans.change_plan(account, found[0], actor='test')")
    answers: list[Answer] = []

    with meanwhile(guarded(account), answers):
        account.clerk(CHANGE_PLANS.format(slug=slug))
        wait_until_full(account, LIMIT)

    assert_only_taken_or_refused(answers)
    assert (taken(answers), account.count(), account.used(slug)) == (LIMIT, LIMIT, LIMIT)


def wait_until_full(account: Limited, limit: int, within_s: float = 30) -> None:
    deadline = time.monotonic() + within_s
    while account.used(slug_of(account.name)) < limit:
        assert time.monotonic() < deadline, f"only {account.meter(slug_of(account.name))}"
        time.sleep(0.02)


OVERRIDES = """
meter = Meter.objects.get(slug={slug!r})
def override(limit, **more):
    return limits.override(account, meter, limit, actor="test", reason="test", **more)
"""
SWITCH_OVERRIDES = (
    OVERRIDES
    + """
for n in range(6):
    week = override(Decimal({limit}), window="week")
    override(Decimal({limit} - 10 + n))
    limits.end_override(week, actor="test", reason="test")
    override(Decimal({limit}))
"""
)


@fewer_rounds
def test_overrides_that_come_and_go_admit_no_more_than_the_largest(
    round_: int, tollgate: Installation, name: str
) -> None:
    account = limited(tollgate, name, str(LIMIT))
    answers: list[Answer] = []

    with meanwhile(guarded(account), answers):
        account.clerk(SWITCH_OVERRIDES.format(slug=slug_of(name), limit=LIMIT))
        wait_until_full(account, LIMIT)

    assert_only_taken_or_refused(answers)
    assert (taken(answers), account.count()) == (LIMIT, LIMIT)


ENDING = (
    OVERRIDES
    + """
for n in range(3):
    override(Decimal(1000), window="calendar_month", ends_at=timezone.now() + timedelta(seconds=0.5))
    import time; time.sleep(0.6)
"""
)


@fewer_rounds
def test_an_override_that_ends_by_itself_leaves_everything_counted(
    round_: int, tollgate: Installation, name: str
) -> None:
    """At its end no writer comes by: whoever records next brings the balances in line."""
    account = limited(tollgate, name, None)
    slug = slug_of(name)
    plan = PLANS.format(slug=slug, limit=LIMIT) + "plans.change_plan(account, found[0], actor='test')"
    account.clerk(plan)
    answers: list[Answer] = []

    with meanwhile(guarded(account), answers):
        account.clerk(ENDING.format(slug=slug))

    assert_only_taken_or_refused(answers)
    assert taken(answers) == account.count() == account.used(slug) >= LIMIT
    assert account.meter(slug)["state"] == "exceeded"


@fewer_rounds
def test_a_new_meter_counts_every_record_whenever_it_comes(
    round_: int, tollgate: Installation, name: str
) -> None:
    account = limited(tollgate, name, None)
    slug = slug_of(name)
    add = """
for n in range(4):
    meter = Meter.objects.create(
        slug=f"{slug}-{{n}}", name="x", shown_as="x",
        aggregation="sum", units=["requests"], operations=[{slug!r}],
    )
    limits.override(account, meter, Decimal(5000), actor="test", reason="test")
"""
    answers: list[Answer] = []

    with meanwhile(guarded(account, 16) + facts(account), answers):
        account.clerk(add.format(slug=slug))

    assert_only_taken_or_refused(answers)
    assert {account.used(f"{slug}-{n}") for n in range(4)} == {taken(answers)} == {account.count()}


ZONES = """
import time
for zone in ["Pacific/Kiritimati", "Pacific/Niue", "Asia/Kathmandu", "America/St_Johns"] * 3:
    account.time_zone = zone
    account.save(update_fields=["time_zone"])
    time.sleep(0.05)
"""


@fewer_rounds
def test_moving_around_the_world_brings_no_fresh_day(round_: int, tollgate: Installation, name: str) -> None:
    slug = slug_of(name)
    account = open_limited(tollgate, name, Limit(slug, str(LIMIT), (slug,), window="day"))
    answers: list[Answer] = []

    with meanwhile(guarded(account), answers):
        account.clerk(ZONES)
        wait_until_full(account, LIMIT)

    assert_only_taken_or_refused(answers)
    assert (taken(answers), account.count(), account.used(slug)) == (LIMIT, LIMIT, LIMIT)


ROLL = """
now = timezone.now()
month = Window.Kind.BILLING_MONTH
ends = [now + timedelta(seconds=s) for s in (0.7, 1.4)] + [now + timedelta(days=30)]
start = now - timedelta(days=2)
for end in ends:
    balances.copy_period(account.pk, month, start, end)
    start = end
"""
IN_WINDOWS = (
    "SELECT w.starts_at, COUNT(r.id), MAX(b.used) FROM usage_window w"
    " JOIN accounts_account a ON a.id = w.account_id"
    " JOIN usage_balance b ON b.window_id = w.id"
    " LEFT JOIN usage_record r ON r.account_id = w.account_id"
    " AND r.occurred_at >= w.starts_at AND r.occurred_at < w.ends_at"
    " WHERE a.public_id = '{account}' GROUP BY w.id, w.starts_at ORDER BY w.starts_at"
)


def roll_over(account: Limited, work: list[Task], answers: list[Answer], limit: int) -> list[tuple]:
    """Let a crowd work over two ends of a window; for each window how many records, and what is used."""
    account.clerk(ROLL)
    began = time.monotonic()
    with meanwhile(work, answers):
        time.sleep(max(0.0, 1.5 - (time.monotonic() - began)))
        wait_until_full(account, limit)
    rows = account.tollgate.query(IN_WINDOWS.format(account=account.public_id))
    return [(int(count), int(used) // 10_000) for _, count, used in rows]


def period_limit(tollgate: Installation, name: str, limit: int) -> Limited:
    account = limited(tollgate, name, None)
    plan = (
        PLANS.format(slug=slug_of(name), limit=limit) + "plans.change_plan(account, found[1], actor='test')"
    )
    account.clerk(plan)
    return account


@fewer_rounds
def test_each_window_admits_its_limit_when_one_follows_another(
    round_: int, tollgate: Installation, name: str
) -> None:
    account = period_limit(tollgate, name, LIMIT)
    answers: list[Answer] = []

    windows = roll_over(account, guarded(account), answers, LIMIT)

    assert_only_taken_or_refused(answers)
    assert [count for count, _ in windows] == [used for _, used in windows]
    assert all(0 < used <= LIMIT for _, used in windows[:2])
    assert windows[2] == (LIMIT, LIMIT)
    assert sum(used for _, used in windows) == taken(answers)


@fewer_rounds
def test_what_is_told_late_needs_room_in_its_own_window_and_in_the_current_one(
    round_: int, tollgate_on_mariadb: Installation, name: str
) -> None:
    """Half of the clients tell of yesterday: they count in the first window, and end with the current one."""
    account = period_limit(tollgate_on_mariadb, name, LIMIT)
    work = guarded(account)
    yesterday = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 20 * 3600))
    for task in work[::2]:
        task.bodies = [{**body, "occurred_at": yesterday} for body in task.bodies]
    answers: list[Answer] = []

    windows = roll_over(account, work, answers, LIMIT)

    assert_only_taken_or_refused(answers)
    assert [count for count, _ in windows] == [used for _, used in windows]
    assert all(0 < used <= LIMIT for _, used in windows[:2])
    assert windows[2] == (LIMIT, LIMIT)
    assert sum(used for _, used in windows) == taken(answers)


@fewer_rounds
def test_facts_lose_no_count_where_one_window_follows_another(
    round_: int, tollgate: Installation, name: str
) -> None:
    account = period_limit(tollgate, name, 10)
    answers: list[Answer] = []

    windows = roll_over(account, facts(account), answers, 10)

    assert_only_taken_or_refused(answers)
    assert all(count == used > 0 for count, used in windows)
    assert sum(count for count, _ in windows) == taken(answers) == account.count()


@fewer_rounds
def test_reservations_that_nobody_settles_come_back_without_any_job(
    round_: int, tollgate: Installation, name: str
) -> None:
    account = limited(tollgate, name, "10")
    slug = slug_of(name)
    body = {"operation": slug, "quantities": {"requests": 1}, "ttl_seconds": 1}
    work = tasks(tollgate.port, account.token, "quotas/reservations/", [[body] * 200] * 8)
    answers: list[Answer] = []

    began = time.monotonic()
    with meanwhile(work, answers):
        time.sleep(2.5)
    seconds = time.monotonic() - began

    assert_only_taken_or_refused(answers)
    assert 20 <= taken(answers) <= 10 * (seconds + 1)
    time.sleep(1)
    assert account.reserved(slug) == Decimal(0)
    last = tollgate.post("quotas/reservations/", {**body, "account": name, "quantities": {"requests": 10}})
    assert (last.status, account.reserved(slug)) == (201, 10)
    assert account.held() == 10 * 10_000
