"""Which reports are due, and that each goes out once, whoever works and whoever is killed."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.mail.backends import locmem

from accounts.models import User
from billing import letters, reports
from billing.models import ReportSending, ReportSubscription
from billing.report_ranges import Range, before, containing, newest
from tests.billing.reporting import MONDAY, WEDNESDAY, clock, may_see_net, sent, subscribed, work_for
from usage import schedule
from usage.models import Job

State = letters.State
pytestmark = pytest.mark.django_db


@pytest.fixture
def now() -> Iterator[Any]:
    with clock(MONDAY) as traveller:
        schedule.prepare()
        yield traveller


@pytest.fixture
def reader(bob: User) -> User:
    return may_see_net(bob)


class Away(locmem.EmailBackend):
    """A mail server that takes nothing."""

    def send_messages(self, messages: Any) -> int:
        raise ConnectionRefusedError("smtp.example.com said no to bob@example.com")


class Dies(locmem.EmailBackend):
    """Takes the mail, and its sender is gone."""

    def send_messages(self, messages: Any) -> int:
        super().send_messages(messages)
        raise SystemExit


def test_a_week_goes_from_monday_to_sunday_and_a_month_is_the_calendars() -> None:
    wednesday = date(2026, 11, 18)
    assert containing("weekly", wednesday) == Range(date(2026, 11, 16), date(2026, 11, 22))
    assert containing("monthly", wednesday) == Range(date(2026, 11, 1), date(2026, 11, 30))
    assert before("monthly", containing("monthly", date(2026, 3, 31))).last == date(2026, 2, 28)
    assert before("weekly", containing("weekly", date(2027, 1, 1))).first == date(2026, 12, 21)
    assert containing("monthly", date(2026, 12, 31)).name == "December 2026"
    assert containing("weekly", wednesday).name == "16 Nov to 22 Nov 2026"


def test_a_range_is_due_an_hour_after_its_last_day_has_ended_everywhere() -> None:
    """The last zone is UTC-12: there Sunday ends at 12:00 UTC on Monday."""
    second = timedelta(seconds=1)
    assert newest("weekly", MONDAY - second).last == date(2026, 11, 15)
    assert newest("weekly", MONDAY).last == date(2026, 11, 22)
    first = datetime(2026, 12, 1, 13, tzinfo=UTC)
    assert newest("monthly", first - second).last == date(2026, 10, 31)
    assert newest("monthly", first).last == date(2026, 11, 30)


def test_whoever_subscribes_gets_each_range_once(reader: User, now: Any) -> None:
    subscription = subscribed(reader)
    work_for(now, 25)

    (message,) = sent()
    assert message.to == ["bob@example.com"]
    assert message.subject == "Net billing, 16 Nov to 22 Nov 2026"
    row = ReportSending.objects.get()
    assert (row.state, row.attempts, row.recipient) == (State.SENT, 1, "bob@example.com")
    subscription.refresh_from_db()
    assert subscription.sent_until == date(2026, 11, 22)

    now.shift(timedelta(days=7))
    work_for(now)
    assert [m.subject for m in sent()][1:] == ["Net billing, 23 Nov to 29 Nov 2026"]


def test_before_it_is_due_nothing_goes_out(reader: User, now: Any) -> None:
    now.shift(-timedelta(minutes=40))
    subscribed(reader)
    work_for(now, 30)
    assert sent() == []
    work_for(now, 25)
    assert len(sent()) == 1


def test_a_new_subscription_begins_with_the_range_that_runs(reader: User, now: Any) -> None:
    subscribed(reader, at=MONDAY + timedelta(seconds=1))
    work_for(now)
    assert sent() == []


def test_of_what_was_missed_only_the_newest_is_sent(reader: User, now: Any) -> None:
    subscribed(reader, at=WEDNESDAY - timedelta(days=70))
    subscribed(reader, at=WEDNESDAY - timedelta(days=70), frequency="monthly")
    work_for(now)
    assert sorted(message.subject for message in sent()) == [
        "Net billing, 16 Nov to 22 Nov 2026",
        "Net billing, October 2026",
    ]


def test_who_lost_the_right_or_left_the_staff_gets_nothing_more(reader: User, alice: User, now: Any) -> None:
    subscribed(reader)
    subscribed(may_see_net(alice))
    reader.user_permissions.clear()
    User.objects.filter(pk=alice.pk).update(is_active=False)
    work_for(now)
    assert (sent(), ReportSending.objects.count()) == ([], 0)


def test_who_lost_the_right_while_the_mail_waited_gets_nothing(reader: User, now: Any) -> None:
    subscribed(reader)
    reports.decide(MONDAY)
    User.objects.filter(pk=reader.pk).update(is_staff=False)
    work_for(now)
    row = ReportSending.objects.get()
    assert (sent(), row.state) == ([], State.WITHHELD)
    assert row.error == "bob@example.com may not see net billing any more."


def test_what_is_off_sends_nothing_and_what_was_turned_off_meanwhile_neither(reader: User, now: Any) -> None:
    subscribed(reader, is_active=False)
    waiting = subscribed(reader)
    reports.decide(MONDAY)
    ReportSubscription.objects.filter(pk=waiting.pk).update(is_active=False)
    work_for(now)
    assert sent() == []
    assert ReportSending.objects.get().state == State.WITHHELD


def test_a_second_who_decides_from_what_the_first_has_changed_does_nothing(reader: User, now: Any) -> None:
    seen = subscribed(reader)
    one = newest("weekly", MONDAY)
    assert reports._queue(seen, one)
    assert not reports._queue(seen, one)
    ReportSubscription.objects.update(sent_until=None)  # as if it were set back
    assert not reports._queue(seen, one)
    assert ReportSending.objects.count() == 1
    assert Job.objects.filter(name=reports.SEND_JOB).count() == 1


def test_a_mail_server_that_is_away_is_asked_again_and_at_last_given_up(
    reader: User, now: Any, settings: Any
) -> None:
    settings.EMAIL_BACKEND = "tests.billing.test_report_jobs.Away"
    subscribed(reader)
    work_for(now)
    row = ReportSending.objects.get()
    assert (row.state, row.error) == (
        State.WAITING,
        "The mail server did not take it: ConnectionRefusedError.",
    )
    assert 1 < row.attempts < letters.ATTEMPTS

    work_for(now, 240)
    row.refresh_from_db()
    assert (row.state, row.attempts) == (State.FAILED, letters.ATTEMPTS)
    assert letters.failed_reports().count() == 1

    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    assert reports.retry(row.pk)
    assert not reports.retry(row.pk)
    work_for(now, 2)
    row.refresh_from_db()
    assert (row.state, row.attempts, row.error, len(sent())) == (State.SENT, 1, "", 1)


def test_killed_before_the_mail_it_goes_out_once_when_the_claim_is_over(
    reader: User, now: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribed(reader)
    reports.decide(MONDAY)
    row = ReportSending.objects.get()

    def killed(_: ReportSending) -> Any:
        raise SystemExit

    with pytest.raises(SystemExit):
        reports.send(row.pk, killed)
    work_for(now, 9)  # somebody may yet be sending it
    assert sent() == []
    work_for(now, 3)
    assert (len(sent()), ReportSending.objects.get().attempts) == (1, 2)
    work_for(now, 20)
    assert len(sent()) == 1


def test_killed_after_the_mail_both_carry_the_same_id(reader: User, now: Any, settings: Any) -> None:
    subscribed(reader)
    reports.decide(MONDAY)
    row = ReportSending.objects.get()
    settings.EMAIL_BACKEND = "tests.billing.test_report_jobs.Dies"
    with pytest.raises(SystemExit):
        reports.send(row.pk)
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    work_for(now, 30)
    first, second = (message.extra_headers["Message-ID"] for message in sent())
    assert first == second == letters.message_id(row)


def test_a_report_whose_job_is_gone_is_queued_again(reader: User, now: Any) -> None:
    subscribed(reader)
    reports.decide(MONDAY)
    Job.objects.filter(name=reports.SEND_JOB).delete()
    work_for(now, 12)
    assert len(sent()) == 1


def test_sent_by_hand_it_goes_out_whatever_was_sent_and_once_a_minute(reader: User, now: Any) -> None:
    subscription = subscribed(reader)
    work_for(now)
    assert reports.send_now(subscription)
    assert not reports.send_now(subscription)
    work_for(now, 2)
    assert [message.subject for message in sent()] == ["Net billing, 16 Nov to 22 Nov 2026"] * 2
    assert [reports.name_of(row) for row in ReportSending.objects.order_by("pk")] == [
        "16 Nov to 22 Nov 2026",
        "16 Nov to 22 Nov 2026, sent by hand",
    ]
