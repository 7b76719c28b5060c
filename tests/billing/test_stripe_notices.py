"""Mails to owners because of something at Stripe: each once, and only while there is a reason."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMultiAlternatives

from accounts.models import Account, Member, User
from billing.models import Plan, StripeCustomer, StripeInvoice, StripeNotice, StripeSubscription
from tests.billing.stripe_worked import Stripe, at_noon, in_the_place_of_a_sync, states, stored, work_for
from usage.models import Job

pytestmark = pytest.mark.django_db
TRIAL_END = datetime(2026, 12, 1, 20, tzinfo=UTC)  # 2 December in Kolkata
PAY = "https://invoice.stripe.com/i/acct_1/test_1?s=ap"


@pytest.fixture
def clock() -> Iterator[Any]:
    with at_noon() as traveller:
        yield traveller


@pytest.fixture(autouse=True)
def synced(monkeypatch: pytest.MonkeyPatch, settings: Any, clock: Any) -> Iterator[Stripe]:
    with in_the_place_of_a_sync(monkeypatch, settings) as stripe:
        yield stripe


@pytest.fixture
def customer(acme: Account) -> StripeCustomer:
    Account.objects.filter(pk=acme.pk).update(time_zone="Asia/Kolkata")
    acme.refresh_from_db()
    return StripeCustomer.objects.create(account=acme, current_for=acme, customer_id="cus_1")


@pytest.fixture
def trial(customer: StripeCustomer, clock: Any) -> StripeSubscription:
    return StripeSubscription.objects.create(
        customer=customer, subscription_id="sub_1", status="trialing", plan=Plan.objects.get(code="pro"),
        created_at=TRIAL_END - timedelta(days=14), trial_end=TRIAL_END, synced_at=TRIAL_END,
    )  # fmt: skip


@pytest.fixture
def invoice(customer: StripeCustomer) -> StripeInvoice:
    return StripeInvoice.objects.create(
        customer=customer, invoice_id="in_1", number="TG-0001", status="open", currency="usd",
        amount_due=2900, amount_paid=0, created_at=TRIAL_END, hosted_url=PAY,
    )  # fmt: skip


def trial_will_end(event_id: str) -> None:
    stored(
        event_id,
        "customer.subscription.trial_will_end",
        {"id": "sub_1", "object": "subscription", "customer": "cus_1", "trial_end": 1},
    )


def action_required(event_id: str) -> None:
    stored(
        event_id,
        "invoice.payment_action_required",
        {
            "id": "in_1",
            "object": "invoice",
            "customer": "cus_1",
            "hosted_invoice_url": "https://evil.example.com",
        },
    )


def texts(message: EmailMultiAlternatives) -> tuple[str, str]:
    """The plain text on one line, and the HTML."""
    return " ".join(str(message.body).split()), str(message.alternatives[0][0])


def test_owners_are_told_once_that_their_trial_ends(
    trial: StripeSubscription, acme: Account, clock: Any
) -> None:
    for n in range(3):
        trial_will_end(f"evt_{n}")
        work_for(clock)

    (message,) = mail.outbox
    text, html = texts(message)  # type: ignore[arg-type]
    assert message.to == ["alice@example.com"]
    assert message.subject == "The trial of Acme ends on 2 Dec 2026"
    assert "Until then Pro Plan goes on as it is." in text
    assert f"/upgrade/?account={acme.public_id}" in text
    assert "See the plan" in html
    assert StripeNotice.objects.get().sent_at is not None


def test_every_owner_is_told_and_nobody_else(
    trial: StripeSubscription, acme: Account, charlie: User, clock: Any
) -> None:
    Member.objects.create(account=acme, user=charlie, role=Member.Role.OWNER)
    trial_will_end("evt_1")
    work_for(clock)

    assert [message.to for message in mail.outbox] == [["alice@example.com"], ["charlie@example.com"]]


def test_a_trial_that_was_prolonged_is_told_of_again(trial: StripeSubscription, clock: Any) -> None:
    trial_will_end("evt_1")
    work_for(clock)
    StripeSubscription.objects.update(trial_end=TRIAL_END + timedelta(days=7))
    trial_will_end("evt_2")
    work_for(clock)

    assert [message.subject for message in mail.outbox] == [
        "The trial of Acme ends on 2 Dec 2026",
        "The trial of Acme ends on 9 Dec 2026",
    ]


@pytest.mark.parametrize("change", [{"status": "active"}, {"status": "canceled"}, {"trial_end": None}])
def test_nobody_is_told_of_a_trial_that_is_over(
    trial: StripeSubscription, clock: Any, change: dict[str, Any]
) -> None:
    StripeSubscription.objects.update(**change)
    trial_will_end("evt_1")
    work_for(clock)

    assert (mail.outbox, states()) == ([], {"evt_1": "HANDLED"})


def test_owners_are_told_once_that_a_payment_waits_for_them(invoice: StripeInvoice, clock: Any) -> None:
    for n in range(3):
        action_required(f"evt_{n}")
        work_for(clock)

    (message,) = mail.outbox
    text, html = texts(message)  # type: ignore[arg-type]
    assert message.subject == "A payment for Acme waits for your confirmation"
    assert (message.to, "invoice TG-0001" in text) == (["alice@example.com"], True)
    assert PAY in text
    assert f'href="{PAY}"' in html
    assert "evil.example.com" not in text + html


@pytest.mark.parametrize("change", [{"status": "paid"}, {"status": "void"}, {"hosted_url": ""}])
def test_nobody_is_told_of_a_payment_that_is_not_to_be_made_any_more(
    invoice: StripeInvoice, clock: Any, change: dict[str, Any]
) -> None:
    StripeInvoice.objects.update(**change)
    action_required("evt_1")
    work_for(clock)

    assert mail.outbox == []


def test_what_is_paid_before_the_mail_goes_out_is_not_asked_for(
    invoice: StripeInvoice, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OSError("the mail server is away")

    with monkeypatch.context() as patched:
        patched.setattr("accounts.mail.send", away)
        action_required("evt_1")
        work_for(clock)
    waits = Job.objects.get(name="billing.mail_stripe_notice")
    StripeInvoice.objects.update(status="paid")

    work_for(clock, timedelta(minutes=5))

    assert (waits.state, "the mail server is away" in waits.error) == (Job.State.QUEUED, True)
    assert states() == {"evt_1": "HANDLED"}  # a mail that does not go out is not the event's fault
    assert mail.outbox == []


def test_a_mail_that_was_not_taken_is_sent_later(
    invoice: StripeInvoice, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OSError("the mail server is away")

    with monkeypatch.context() as patched:
        patched.setattr("accounts.mail.send", away)
        action_required("evt_1")
        work_for(clock)

    work_for(clock, timedelta(minutes=5))
    work_for(clock, timedelta(minutes=5))

    assert len(mail.outbox) == 1


@pytest.mark.parametrize("make", [trial_will_end, action_required])
def test_what_is_not_known_here_is_no_reason_for_a_mail(make: Any, clock: Any) -> None:
    make("evt_1")
    work_for(clock)

    assert (mail.outbox, states()) == ([], {"evt_1": "HANDLED"})
