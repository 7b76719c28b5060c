"""Cost alarms of the whole installation: told once in a window, however large the step and whoever looks."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from accounts.models import Account, User
from billing import cost_alarms, letters
from billing.models import CostAlarm, CostAlarmFiring
from billing.report_ranges import Range
from tests.billing.reporting import clock, cost, html_of, may_see_net, sent, work_for
from tests.conftest import Api
from usage import schedule
from usage.models import DayTotal, Job, Model, Operation, Status

NOON = datetime(2026, 11, 25, 15, tzinfo=UTC)  # a Wednesday; in Kolkata it is 20:30
pytestmark = pytest.mark.django_db


@pytest.fixture
def now() -> Iterator[Any]:
    with clock(NOON) as traveller:
        schedule.prepare()
        yield traveller


def alarm(name: str = "All", amount: str = "100", **values: Any) -> CostAlarm:
    values = {"window": "month", "warnings": [80], "addresses": ["ops@example.com"], **values}
    values.setdefault("created_at", NOON - timedelta(days=100))
    return CostAlarm.objects.create(name=name, amount=Decimal(amount), **values)


def fired() -> list[tuple[str, int]]:
    rows = CostAlarmFiring.objects.order_by("pk").values_list("alarm__name", "percent")
    return list(rows)


def used_on(day: date, usd: int, operation_id: int = 1, model_id: int = 0) -> None:
    """A total of one local day, as the followers write it."""
    zeros = {f.name: 0 for f in DayTotal._meta.fields if f.name not in ("pk", "local_day", "status")}
    DayTotal.objects.create(**{
        **zeros, "local_day": day, "operation_id": operation_id, "model_id": model_id,
        "status": Status.SUCCESS, "cost": usd * 10**10,
    })  # fmt: skip


def test_it_fires_when_all_accounts_together_reach_the_amount(
    now: Any, acme: Account, charlie: User, service_api: Api
) -> None:
    alarm(warnings=[])
    cost(service_api, acme, "60")
    work_for(now, 3)
    assert fired() == []
    cost(service_api, charlie.personal_account, "39.9999999999")
    work_for(now, 3)
    assert fired() == []
    cost(service_api, acme, "0.0000000001")
    work_for(now, 3)
    assert fired() == [("All", 100)]
    row = CostAlarmFiring.objects.get()
    assert (row.cost, row.amount, row.window_start) == (Decimal(100), Decimal(100), date(2026, 11, 1))
    cost(service_api, acme, "500")
    work_for(now, 3)
    assert (fired(), len(sent())) == ([("All", 100)], 1)


def test_a_large_step_is_written_down_at_each_threshold_and_told_once(
    now: Any, acme: Account, service_api: Api
) -> None:
    alarm(warnings=[50, 80])
    cost(service_api, acme, "250")
    work_for(now, 2)
    assert fired() == [("All", 50), ("All", 80), ("All", 100)]
    (message,) = sent()
    assert message.subject == "All: cost has reached $100.00"
    assert "$250.00 of $100.00 (250 %)" in str(message.body)
    assert letters.failed_alarms().count() == 0


def test_an_early_warning_comes_first_and_the_amount_later(now: Any, acme: Account, service_api: Api) -> None:
    alarm()
    cost(service_api, acme, "80")
    work_for(now, 2)
    cost(service_api, acme, "20")
    work_for(now, 2)
    assert [message.subject for message in sent()] == [
        "All: cost has reached 80 % of $100.00",
        "All: cost has reached $100.00",
    ]
    assert "You are told again when the whole amount is reached." in str(sent()[0].body)


def test_what_was_told_is_not_told_again_whatever_becomes_of_cost_and_amount(
    now: Any, acme: Account, service_api: Api
) -> None:
    alarm(warnings=[])
    cost(service_api, acme, "100")
    work_for(now, 2)
    CostAlarm.objects.update(amount=150, warnings=[50])
    cost(service_api, acme, "100")
    work_for(now, 2)
    assert fired() == [("All", 100)]


def test_the_next_window_is_told_anew(now: Any) -> None:
    alarm(warnings=[], window="day")
    used_on(date(2026, 11, 25), 100)
    used_on(date(2026, 11, 27), 100)
    work_for(now, 2)
    now.shift(timedelta(days=2))
    work_for(now, 2)
    starts = list(CostAlarmFiring.objects.order_by("pk").values_list("window_start", flat=True))
    assert starts == [date(2026, 11, 25), date(2026, 11, 27)]


def test_windows_are_the_days_the_iso_weeks_and_the_months_of_local_days() -> None:
    day = date(2026, 12, 31)
    assert cost_alarms.window_of("day", day) == Range(day, day)
    assert cost_alarms.window_of("week", day) == Range(date(2026, 12, 28), date(2027, 1, 3))
    assert cost_alarms.window_of("month", day) == Range(date(2026, 12, 1), day)


def test_a_day_runs_until_it_is_over_in_the_last_zone_and_from_where_it_begins_first() -> None:
    def days(hour: int, minute: int = 0) -> list[int]:
        at = datetime(2026, 11, 25, hour, minute, tzinfo=UTC)
        return [window.first.day for window in cost_alarms.running("day", at)]

    assert days(12, 59) == [24, 25, 26]  # the 24th has ended everywhere at 12:00
    assert days(13) == [25, 26]
    assert days(9, 59) == [24, 25]
    assert days(10) == [24, 25, 26]  # the 26th begins in Kiritimati
    months = cost_alarms.running("month", datetime(2026, 12, 1, 12, tzinfo=UTC))
    assert [month.first.month for month in months] == [11, 12]


def test_an_account_ahead_of_utc_is_counted_on_its_own_day(now: Any, acme: Account, service_api: Api) -> None:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    alarm(window="day", warnings=[])
    now.shift(timedelta(hours=5))  # 20:00 UTC; 01:30 of the 26th in Kolkata
    cost(service_api, acme, "100")
    work_for(now, 2)
    assert CostAlarmFiring.objects.get().window_start == date(2026, 11, 26)


def test_what_was_over_when_the_alarm_was_made_tells_nothing(now: Any) -> None:
    used_on(date(2026, 11, 24), 500)
    alarm(window="day", created_at=NOON)
    now.move_to(datetime(2026, 11, 25, 12, 0, tzinfo=UTC))
    alarm("Before", window="day", created_at=NOON - timedelta(hours=30), warnings=[])
    work_for(now, 2)
    assert [name for name, _ in fired()] == ["Before"]


def test_an_alarm_may_count_one_operation_model_or_provider_only(now: Any) -> None:
    chat, image = Operation.objects.all()[:2]
    sold = Model.objects.create(provider="openai", name="gpt-x")
    other = Model.objects.create(provider="google", name="gem-x")
    day = date(2026, 11, 20)
    used_on(day, 60, chat.pk, sold.pk)
    used_on(day, 50, image.pk, sold.pk)
    used_on(day, 40, chat.pk, other.pk)
    alarm("provider 110", "110", provider="openai", warnings=[])
    alarm("provider 111", "111", provider="openai", warnings=[])
    alarm("operation 100", "100", operation=chat, warnings=[])
    alarm("operation 101", "101", operation=chat, warnings=[])
    alarm("model 40", "40", model=other, warnings=[])
    alarm("model and operation 50", "50", model=sold, operation=image, warnings=[])
    alarm("model and operation 51", "51", model=sold, operation=image, warnings=[])
    alarm("nobody's", "1", provider="nobody", warnings=[])
    cost_alarms.check(NOON)
    assert [name for name, _ in fired()] == [
        "provider 110",
        "operation 100",
        "model 40",
        "model and operation 50",
    ]


def test_the_mail_has_the_figures_and_a_link_to_the_days_behind_them(
    now: Any, settings: Any, bob: User
) -> None:
    settings.BASE_URL = "https://toll.example.com"
    operation = Operation.objects.all()[0]
    made = alarm("Chat", operation=operation, warnings=[], window="week")
    made.users.add(may_see_net(bob))
    used_on(date(2026, 11, 24), 123, operation.pk)
    work_for(now, 2)
    (message,) = sent()
    link = "https://toll.example.com/admin/billing/net/?from=2026-11-23&to=2026-11-30&operation="
    assert message.to == ["bob@example.com", "ops@example.com"]
    assert "$123.00 of $100.00 (123 %)" in str(message.body)
    assert "in the week of 23 Nov 2026 so far, only operation" in str(message.body)
    assert f"{link}{operation.slug}" in str(message.body)
    assert f"{link.replace('&', '&amp;')}{operation.slug}" in html_of(message)
    assert f"/admin/billing/costalarm/{made.pk}/change/" in html_of(message)


def test_who_may_not_see_it_any_more_is_not_told_and_nobody_left_is_shown(now: Any, bob: User) -> None:
    made = alarm(addresses=[], warnings=[])
    made.users.add(may_see_net(bob))
    User.objects.filter(pk=bob.pk).update(is_staff=False)
    used_on(date(2026, 11, 24), 100)
    work_for(now, 2)
    row = CostAlarmFiring.objects.get()
    assert (sent(), row.state) == ([], letters.State.WITHHELD)
    assert row.error == "Nobody is left who is told by this alarm."
    assert letters.failed_alarms().count() == 1
    CostAlarm.objects.update(addresses=["ops@example.com"])
    assert cost_alarms.retry(row.pk)
    work_for(now, 1)
    assert [message.to for message in sent()] == [["ops@example.com"]]


def test_an_alarm_that_is_off_is_silent(now: Any) -> None:
    alarm(is_active=False)
    used_on(date(2026, 11, 24), 100)
    work_for(now, 2)
    assert fired() == []


def test_killed_between_looking_and_writing_nothing_half_is_left(
    now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alarm(warnings=[50])
    used_on(date(2026, 11, 24), 100)
    real = cost_alarms.letters.queue

    def killed(*_: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(cost_alarms.letters, "queue", killed)
    with pytest.raises(SystemExit):
        cost_alarms.check(NOON)
    assert (fired(), Job.objects.filter(name=cost_alarms.SEND_JOB).count()) == ([], 0)
    monkeypatch.setattr(cost_alarms.letters, "queue", real)
    work_for(now, 2)
    assert (fired(), len(sent())) == ([("All", 50), ("All", 100)], 1)


def test_the_database_itself_knows_each_firing_once(now: Any) -> None:
    made = alarm()
    values = {"alarm": made, "window_start": date(2026, 11, 1), "window_end": date(2026, 11, 30)}
    CostAlarmFiring.objects.create(**values, cost=1, amount=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        CostAlarmFiring.objects.create(**values, cost=2, amount=1)


def test_one_that_fails_keeps_no_other_waiting(now: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = alarm("First")
    alarm("Second")
    used_on(date(2026, 11, 24), 100)
    real = cost_alarms._write_down

    def fails(found: CostAlarm, *args: Any, **kwargs: Any) -> None:
        if found.pk == first.pk:
            raise ValueError("broken")
        real(found, *args, **kwargs)

    monkeypatch.setattr(cost_alarms, "_write_down", fails)
    with pytest.raises(ValueError, match="broken"):
        cost_alarms.check(NOON)
    assert {name for name, _ in fired()} == {"Second"}


def test_looking_takes_a_few_statements_however_many_alarms(now: Any, django_assert_num_queries: Any) -> None:
    for number in range(30):
        alarm(f"alarm {number}", "1000", window=["day", "week", "month"][number % 3], provider="openai")
    with django_assert_num_queries(6):  # alarms, models, two days, a week, a month
        cost_alarms.check(NOON)
