"""Upgrade, downgrade, cancel and undo, pressed on the page; what each shows until it has happened."""

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from accounts.errors import Invalid
from accounts.lifecycle import delete_account
from accounts.models import Account, User
from billing import paid_plans, plans
from billing.models import StripeSubscription, Subscription
from billing.stripe import leaving, sync
from tests.billing.stripe.paying import deliver, deliver_all, handle_all, plan_of
from tests.fakes.stripe import Lookalike
from usage.models import Job

DAY = timedelta(days=1)


class Payer:
    """An owner on the upgrade page, and Stripe's events after everything that is done."""

    def __init__(self, fake: Lookalike, account: Account, user: User) -> None:
        self.fake = fake
        self.account = account
        self.client = Client()
        self.client.force_login(user)
        self.told: set[str] = set()

    def buy(self, plan: str) -> dict[str, Any]:
        self.client.post("/upgrade/buy/", {"plan": plan})
        self.fake.complete_checkout(self.fake.store.all("checkout.session")[0]["id"])
        self.follow()
        return self.stripe

    @property
    def stripe(self) -> dict[str, Any]:
        found = self.fake.store.first("subscription")
        assert found is not None
        return found

    def follow(self) -> None:
        for event in self.fake.events:
            if event["id"] not in self.told:
                deliver(self.fake, event)
                self.told.add(event["id"])
        handle_all()

    def press(self, path: str, **given: str) -> str:
        answer = self.client.post(f"/upgrade/{path}", given, follow=True)
        assert answer.status_code == 200
        self.follow()
        return words(answer)

    def see(self, path: str = "/upgrade/") -> str:
        answer = self.client.get(path)
        assert answer.status_code == 200
        return words(answer)

    @property
    def plan(self) -> str:
        return plan_of(self.account)


def words(answer: Any) -> str:
    text = re.sub(r"<(script|style|select).*?</\1>", " ", answer.content.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))


@pytest.fixture
def payer(fake: Lookalike, acme: Account, alice: User) -> Payer:
    return Payer(fake, acme, alice)


def test_an_upgrade_says_what_it_costs_and_holds_when_paid(payer: Payer) -> None:
    payer.buy("basic")
    payer.fake.advance(10 * DAY)

    asked = payer.see("/upgrade/to/pro/")
    due = re.search(r"Due now \$([\d.]+)", asked)
    assert due is not None
    assert "Pay $" in asked
    payer.press("to/pro/")

    assert payer.plan == "pro"
    paid = payer.fake.store.all("invoice", billing_reason="subscription_update")[0]
    assert f"{paid['amount_paid'] / 100:.2f}" == due.group(1)
    assert 6.0 < paid["amount_paid"] / 100 < 7.5  # two thirds of the difference of ten dollars


def test_an_upgrade_that_is_not_paid_changes_nothing_and_can_be_paid_later(payer: Payer) -> None:
    sub = payer.buy("basic")
    payer.fake.set_card(sub["customer"], "fails")

    text = payer.press("to/pro/")

    assert payer.plan == "basic"
    assert "Your upgrade to Pro Plan waits for its payment" in text
    assert "Pay now" in text
    payer.fake.pay_invoice(payer.stripe["latest_invoice"])
    payer.follow()
    assert payer.plan == "pro"
    assert "waits for its payment" not in payer.see()


def test_an_upgrade_sent_twice_is_paid_once(payer: Payer) -> None:
    payer.buy("basic")
    attempt = re.search(
        r'name="attempt" value="(\w+)"', payer.client.get("/upgrade/to/pro/").content.decode()
    )
    assert attempt is not None

    payer.client.post("/upgrade/to/pro/", {"attempt": attempt.group(1)})
    payer.client.post("/upgrade/to/pro/", {"attempt": attempt.group(1)})

    assert len(payer.fake.store.all("invoice", billing_reason="subscription_update")) == 1


def test_a_smaller_plan_follows_at_the_periods_end(payer: Payer) -> None:
    payer.buy("pro")
    assert "Change at the period’s end" in payer.see("/upgrade/to/basic/")

    text = payer.press("to/basic/")

    assert payer.plan == "pro"
    ours = Subscription.objects.get(account=payer.account)
    assert (ours.next_plan and ours.next_plan.code, ours.next_at) == (
        "basic",
        StripeSubscription.objects.get().period_end,
    )
    assert "Then Basic Plan follows" in text
    assert "Undo" in text
    payer.fake.advance(32 * DAY)
    with time_machine.travel(payer.fake.store.now + 1, tick=False):
        payer.follow()
    assert payer.plan == "basic"


def test_a_downgrade_is_undone(payer: Payer) -> None:
    payer.buy("pro")
    payer.press("to/basic/")

    text = payer.press("undo/")

    assert "Pro Plan goes on" in text
    assert Subscription.objects.get(account=payer.account).next_plan is None
    assert payer.stripe["schedule"] is None
    payer.fake.advance(32 * DAY)
    payer.follow()
    assert payer.plan == "pro"


def test_cancel_says_until_when_and_can_be_undone(payer: Payer) -> None:
    payer.buy("pro")
    assert "stays in force until" in payer.see("/upgrade/cancel/")

    text = payer.press("cancel/")

    assert payer.plan == "pro"
    assert "Pro Plan ends on" in text
    assert "Then Free Plan follows" in text
    assert "Pro Plan goes on" in payer.press("undo/")
    assert payer.stripe["cancel_at"] is None
    assert "ends on" not in payer.see()


@pytest.mark.parametrize("way", [{"cancel_at_period_end": True}, {"cancel_at": "min_period_end"}])
def test_a_cancel_from_the_portal_is_shown_and_undone_alike(payer: Payer, way: dict[str, Any]) -> None:
    sub = payer.buy("pro")
    payer.fake.update(sub["id"], **way)
    payer.follow()
    assert "Pro Plan ends on" in payer.see()

    payer.press("undo/")

    assert payer.stripe["cancel_at"] is None
    assert payer.stripe["cancel_at_period_end"] is False


def test_cancel_undo_and_cancel_again_are_three_acts(payer: Payer) -> None:
    payer.buy("pro")

    payer.press("cancel/", attempt="a")
    payer.press("undo/", attempt="b")
    payer.press("cancel/", attempt="c")

    assert payer.stripe["cancel_at"] is not None


def test_a_cancelled_plan_ends_with_its_period_also_when_no_event_comes(payer: Payer) -> None:

    payer.buy("pro")
    payer.press("cancel/")

    with time_machine.travel(payer.stripe["cancel_at"] + 1, tick=False):
        plans.end_periods()
        assert payer.plan == "free"


def test_while_a_payment_has_failed_there_is_a_banner_and_no_change(payer: Payer) -> None:
    sub = payer.buy("basic")
    payer.fake.set_card(sub["customer"], "fails")
    payer.fake.advance(32 * DAY)
    with time_machine.travel(payer.fake.store.now + 1, tick=False):
        payer.client.force_login(User.objects.get(email="alice@example.com"))
        payer.follow()
        for path in ("/settings/usage/", "/upgrade/"):
            text = payer.see(path)
            assert "Your last payment failed. Basic Plan stays until" in text
            assert "Pay now" in text
        assert "Pay it first" in payer.press("to/pro/")
    with time_machine.travel(payer.fake.store.now + 8 * 86_400, tick=False):
        sync.sync_account(payer.account)
        assert payer.plan == "free"
        payer.client.force_login(User.objects.get(email="alice@example.com"))
        assert "Basic Plan holds no more" in payer.see()
        payer.fake.pay_invoice(payer.stripe["latest_invoice"])
        payer.follow()
        assert payer.plan == "basic"


def test_the_end_of_grace_is_noticed_by_itself(payer: Payer) -> None:

    sub = payer.buy("pro")
    payer.fake.set_card(sub["customer"], "fails")
    payer.fake.advance(32 * DAY)
    with time_machine.travel(payer.fake.store.now + 1, tick=False):
        payer.follow()

    failed = payer.fake.store.get(payer.stripe["latest_invoice"], "invoice")
    wake = Job.objects.get(key=f"stripe.wake:{sub['customer']}")
    assert wake.run_at.timestamp() == failed["status_transitions"]["finalized_at"] + 7 * 86_400


def test_a_payment_that_the_bank_asks_about_is_told(payer: Payer) -> None:
    sub = payer.buy("pro")
    payer.fake.set_card(sub["customer"], "3ds")
    payer.fake.advance(32 * DAY)
    payer.follow()

    assert "Your bank asks you to confirm a payment" in payer.see()


def test_a_dispute_is_told(payer: Payer) -> None:
    payer.buy("pro")
    made = payer.fake.dispute(payer.fake.charge_of(payer.stripe["latest_invoice"]))
    payer.follow()
    assert "disputed with its bank" in payer.see()
    assert payer.plan == "pro"

    payer.fake.close_dispute(made["id"], won=True)
    payer.follow()
    assert "disputed" not in payer.see()


def test_what_ended_is_told_for_a_while(payer: Payer) -> None:
    sub = payer.buy("pro")
    payer.fake.cancel(sub["id"])
    payer.follow()

    assert "Pro Plan ended on" in payer.see()
    assert "Buy Pro Plan" in payer.see()


def test_staff_do_not_change_by_hand_what_is_paid_for(payer: Payer) -> None:
    paid_plans.refuse_if_paid(payer.account)
    payer.buy("pro")

    with pytest.raises(Invalid, match="pays for its plan through Stripe"):
        paid_plans.refuse_if_paid(payer.account)


def test_a_deleted_account_stops_paying(payer: Payer, alice: User) -> None:

    sub = payer.buy("pro")
    delete_account(payer.account, actor="test", reason="a test")
    job = Job.objects.get(name=leaving.LEAVE_JOB)

    leaving.leave(**job.arguments)
    leaving.leave(**job.arguments)

    assert payer.fake.store.get(sub["id"], "subscription")["status"] == "canceled"
    payer.follow()  # what comes of it finds nobody, and that is no failure
    deliver_all(payer.fake, payer.fake.events[-1:])
    assert not User.objects.filter(email="nobody").exists()


def test_stripe_away_changes_nothing_and_says_so(payer: Payer) -> None:
    payer.buy("pro")
    payer.fake.server.faults.fail_next = 1

    text = payer.press("cancel/")

    assert "Stripe cannot be reached" in text
    assert payer.stripe["cancel_at"] is None


@pytest.mark.parametrize("code", ["enterprise", "demo"])
def test_what_is_not_sold_cannot_be_changed_to(payer: Payer, code: str) -> None:
    payer.buy("pro")

    text = payer.press(f"to/{code}/")

    assert payer.plan == "pro"
    assert "cannot be bought" in text or "There is no plan" in text
