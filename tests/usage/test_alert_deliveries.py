"""Messages of alerts: sent once, tried again with pauses, kept when they were not taken."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail
from django.core.mail import EmailMultiAlternatives
from django.utils import timezone

from accounts.models import Account, Member, User
from billing import plans
from billing.models import Plan
from tests.conftest import Api
from tests.usage.alerted import STAFF, cost, cost_thresholds, look, look_at_costs, messages, use
from tests.usage.quotas import limit
from usage import worker
from usage.alerts import deliveries, rules
from usage.alerts.channels import CHANNELS, Channel, Email
from usage.models import Alert, AlertDelivery, AlertSettings, Job

pytestmark = pytest.mark.django_db

State = AlertDelivery.State


@pytest.fixture(autouse=True)
def limited(acme: Account) -> None:
    plans.change_plan(acme, Plan.objects.get(code="enterprise"), actor="staff@example.com")
    limit(acme, "api_calls", 100)


@pytest.fixture
def crossed(acme: Account, service_api: Api) -> AlertDelivery:
    """A message that waits: Acme is at 96 %."""
    use(service_api, 96, account=acme.public_id)
    look()
    return AlertDelivery.objects.get()


class Broken(Channel):
    """Takes nothing until it is mended."""

    slug, name = "email", "E-mail"
    error: Exception | None = ValueError("the wires are down, password hunter2")
    sent = 0

    def is_wanted(self, stored: AlertSettings) -> bool:
        return True

    def send(self, stored: AlertSettings, facts: Any) -> str:
        if self.error is not None:
            raise self.error
        self.sent += 1
        return "alice@example.com"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Broken:
    channel = Broken()
    monkeypatch.setitem(CHANNELS, "email", channel)
    return channel


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(datetime.now(UTC) + timedelta(minutes=1)) as travelling:
        yield travelling


# Mail


def test_owners_and_admins_get_one_mail_with_account_meter_and_percentage(
    acme: Account, bob: User, crossed: AlertDelivery
) -> None:
    Member.objects.filter(account=acme, user=bob).update(role=Member.Role.ADMIN)
    worker.drain()
    (sent,) = mail.outbox
    assert sent.to == ["alice@example.com", "bob@example.com"]
    assert sent.subject == "Acme: API calls at 95 %"
    assert "96 of 100 calls (96 %)" in sent.body
    assert "What Acme has used of its monthly limit." in sent.body
    assert f"http://127.0.0.1:8000/settings/usage/?account={acme.public_id}" in sent.body
    assert f"/upgrade/?account={acme.public_id}&meter=api_calls" in sent.body
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempts, row.recipient) == (State.SENT, 1, "alice@example.com, bob@example.com")
    assert row.sent_at is not None


def test_the_html_says_the_same_and_asks_no_other_host(acme: Account, crossed: AlertDelivery) -> None:
    Account.objects.filter(pk=acme.pk).update(name="<b>Acme</b> & sons")
    worker.drain()
    (sent,) = mail.outbox
    assert isinstance(sent, EmailMultiAlternatives)
    html = str(sent.alternatives[0][0])
    assert "96 of 100 calls (96 %)" in html
    assert "&lt;b&gt;Acme&lt;/b&gt; &amp; sons" in html
    assert "<b>Acme</b> & sons" in sent.body
    assert set(re.findall(r"https?://[^/\"?]+", html)) == {"http://127.0.0.1:8000"}
    assert not re.search(r"<img|<link|<script|url\(|@import", html)


def test_a_name_with_line_breaks_makes_no_header(acme: Account, crossed: AlertDelivery) -> None:
    Account.objects.filter(pk=acme.pk).update(name="Acme\r\nBcc: charlie@example.com " + "x" * 150)
    worker.drain()
    (sent,) = mail.outbox
    assert sent.subject.startswith("Acme Bcc: charlie@example.com xxx")
    assert len(sent.subject) < 100
    assert sent.recipients() == ["alice@example.com"]


def test_a_threshold_of_cost_is_told_in_money(acme: Account, service_api: Api) -> None:
    cost_thresholds(acme, "25")
    cost(service_api, acme, "25.125")
    look_at_costs()
    worker.drain()
    (sent,) = mail.outbox
    assert sent.subject == "Acme: Cost this month reached $25.00"
    assert "$25.12" in sent.body
    assert "Upgrade" not in sent.body


def test_a_member_s_limit_is_told_with_the_member(acme: Account, service_api: Api, bob: User) -> None:
    limit(acme, "api_calls", 10, scope="member", scope_id=bob.pk)
    use(service_api, 10, account=acme.public_id, user=bob.email)
    look()
    worker.drain()
    assert mail.outbox[0].subject == "Acme: API calls, for bob@example.com at 100 %"


def test_every_attempt_has_the_same_message_id(acme: Account, crossed: AlertDelivery) -> None:
    for _ in range(2):
        AlertDelivery.objects.update(state=State.WAITING)
        deliveries.deliver(crossed.pk)
    first, second = (message.message()["Message-ID"] for message in mail.outbox)
    assert first == second
    assert first.startswith(f"<alert-{crossed.alert_id}.{acme.public_id}@")


def test_who_has_left_gets_nothing_any_more(acme: Account, bob: User, service_api: Api) -> None:
    rules.save_mail(acme, "chosen", [bob.pk], STAFF)
    use(service_api, 96, account=acme.public_id)
    look()
    Member.objects.filter(account=acme, user=bob).delete()
    worker.drain()
    row = AlertDelivery.objects.get()
    assert mail.outbox == []
    assert (row.state, row.error) == (State.FAILED, "Nobody gets this account's mail.")


@pytest.mark.parametrize("mail_to", ["nobody", "managers"])
def test_where_nobody_is_to_be_told_no_message_is_queued(
    acme: Account, service_api: Api, mail_to: str
) -> None:
    rules.save_mail(acme, mail_to, (), STAFF)
    User.objects.filter(email="alice@example.com").update(is_active=False)
    use(service_api, 96, account=acme.public_id)
    look()
    assert Alert.objects.count() == 2
    assert messages(acme) == []


# Trying again


def test_a_message_that_was_not_taken_is_tried_again_until_it_is(
    crossed: AlertDelivery, broken: Broken, clock: Any
) -> None:
    worker.drain()
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempts) == (State.WAITING, 1)
    assert row.due_at > timezone.now()
    broken.error = None
    worker.drain()
    assert broken.sent == 0  # not before the pause is over
    clock.shift(10)
    worker.drain()
    row.refresh_from_db()
    assert (row.state, row.attempts, row.error, broken.sent) == (State.SENT, 2, "", 1)


def test_the_pauses_grow_and_in_the_end_it_is_given_up(
    crossed: AlertDelivery, broken: Broken, clock: Any
) -> None:
    pauses = []
    for _ in range(deliveries.ATTEMPTS):
        worker.drain()
        row = AlertDelivery.objects.get()
        pauses.append((row.due_at - timezone.now()).total_seconds())
        clock.shift(3601)
    assert pauses[7] > 8 * pauses[0] > 0
    assert (row.state, row.attempts) == (State.FAILED, deliveries.ATTEMPTS)
    jobs = Job.objects.filter(name="usage.deliver_alert")
    assert {job.state for job in jobs} == {Job.State.DONE}
    assert deliveries.failed().count() == 1


def test_an_error_that_nobody_foresaw_stays_in_the_log(
    crossed: AlertDelivery, broken: Broken, caplog: pytest.LogCaptureFixture
) -> None:
    worker.drain()
    assert AlertDelivery.objects.get().error == "ValueError: see the log."
    assert "the wires are down" in caplog.text


def test_a_mail_server_that_is_away_is_no_error_of_ours(
    crossed: AlertDelivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Any) -> int:
        raise ConnectionRefusedError(111, "secret@mail.example.com refused")

    monkeypatch.setattr(EmailMultiAlternatives, "send", away)
    worker.drain()
    assert AlertDelivery.objects.get().error == "The mail server did not take it: ConnectionRefusedError."


def test_a_failed_message_is_retried_with_all_its_attempts(
    crossed: AlertDelivery, broken: Broken, clock: Any
) -> None:
    AlertDelivery.objects.update(state=State.FAILED, attempts=deliveries.ATTEMPTS)
    Job.objects.all().delete()
    broken.error = None
    assert deliveries.retry(crossed.pk)
    assert not deliveries.retry(crossed.pk)
    worker.drain()
    assert (AlertDelivery.objects.get().state, broken.sent) == (State.SENT, 1)


def test_a_message_is_sent_once_however_often_its_job_runs(crossed: AlertDelivery, broken: Broken) -> None:
    broken.error = None
    for _ in range(3):
        deliveries.deliver(crossed.pk)
    worker.drain()
    assert broken.sent == 1


def test_a_message_whose_job_is_gone_is_found_again(
    crossed: AlertDelivery, broken: Broken, clock: Any
) -> None:
    Job.objects.all().delete()
    broken.error = None
    worker.drain()
    assert broken.sent == 0
    clock.shift(600)
    worker.drain()
    assert broken.sent == 1


def test_one_channel_that_fails_keeps_the_other_from_nothing(
    acme: Account, service_api: Api, broken: Broken, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CHANNELS, "pigeon", Broken())
    CHANNELS["pigeon"].slug = "pigeon"  # type: ignore[misc]
    CHANNELS["pigeon"].error = None  # type: ignore[attr-defined]
    use(service_api, 96, account=acme.public_id)
    look()
    worker.drain()
    states = dict(AlertDelivery.objects.values_list("channel", "state"))
    assert states == {"email": State.WAITING, "pigeon": State.SENT}


def test_a_channel_that_is_gone_says_so(crossed: AlertDelivery) -> None:
    AlertDelivery.objects.update(channel="telegraph")
    deliveries.deliver(crossed.pk)
    row = AlertDelivery.objects.get()
    assert (row.state, row.error) == (State.FAILED, "There is no channel 'telegraph' any more.")


def test_the_mail_channel_knows_when_it_is_not_wanted(acme: Account) -> None:
    assert Email().is_wanted(rules.settings_of(acme.pk))
    rules.save_mail(acme, "nobody", (), STAFF)
    assert not Email().is_wanted(rules.settings_of(acme.pk))
