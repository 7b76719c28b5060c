"""By two at once, or cut off between two steps: nothing is bought or changed twice, nothing stays stuck."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from django.core import signing
from django.test import Client

from accounts.models import Account, User
from billing.models import Plan, StripeCheckout, StripeCustomer, StripeSubscription
from billing.stripe import changes, checkout
from tests.billing.stripe.paying import InProcess, deliver_all, plan_of
from tests.fakes.stripe import Lookalike

Act = Callable[[], Any]


class Killed(BaseException):
    """The process ends here: nobody handles it."""


class Wire:
    """Requests to Stripe: one may be the last, or be answered only after something else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.keys: list[str] = []
        self.kill_before: int | None = None
        self.kill_after: int | None = None
        self.meanwhile: tuple[str, Act] | None = None
        real = InProcess.request

        def request(transport: InProcess, method: str, url: str, *given: Any, **more: Any) -> Any:
            self.asked += 1
            this = self.asked
            self.keys.append(given[0].get("Idempotency-Key", ""))
            if this == self.kill_before:
                raise Killed
            if self.meanwhile is not None and method == "post" and url.endswith(self.meanwhile[0]):
                other, self.meanwhile = self.meanwhile[1], None
                other()
            answer = real(transport, method, url, *given, **more)
            if this == self.kill_after:
                raise Killed
            return answer

        monkeypatch.setattr(InProcess, "request", request)

    def requests_of(self, act: Act) -> int:
        before = self.asked
        act()
        return self.asked - before

    def cut(self, act: Act, at: int, *, is_answered: bool) -> None:
        """End at the n-th request: before Stripe hears of it, or before we hear the answer."""
        if is_answered:
            self.kill_after = self.asked + at
        else:
            self.kill_before = self.asked + at
        try:
            with pytest.raises(Killed):
                act()
        finally:
            self.kill_before = self.kill_after = None


@pytest.fixture
def wire(fake: Lookalike, monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


@pytest.fixture
def buy(acme: Account, alice: User) -> Callable[[str], str]:
    def begin(code: str) -> str:
        plan = Plan.objects.get(code=code)
        urls = {"success_url": "http://t/?{CHECKOUT_SESSION_ID}", "cancel_url": "http://t/"}
        return checkout.begin(acme, plan, actor=alice, **urls)

    return begin


def open_sessions(fake: Lookalike) -> list[dict[str, Any]]:
    return [session for session in fake.store.all("checkout.session") if session["status"] == "open"]


def test_two_who_press_at_once_are_led_to_one_session(fake: Lookalike, wire: Wire, buy: Any) -> None:
    urls: list[str] = []
    wire.meanwhile = ("/v1/checkout/sessions", lambda: urls.append(buy("pro")))

    urls.append(buy("pro"))

    assert len(set(urls)) == 1
    assert len(fake.store.all("checkout.session")) == 1
    assert StripeCheckout.objects.exclude(open_for=None).count() == 1


def test_two_who_have_no_customer_yet_make_one(fake: Lookalike, wire: Wire, buy: Any, acme: Account) -> None:
    wire.meanwhile = ("/v1/customers", lambda: buy("pro"))

    buy("pro")

    assert len(fake.store.all("customer")) == 1
    assert StripeCustomer.objects.get(current_for=acme).customer_id == fake.store.all("customer")[0]["id"]


def test_of_two_plans_pressed_at_once_one_can_be_paid(fake: Lookalike, wire: Wire, buy: Any) -> None:
    urls: list[str] = []
    wire.meanwhile = ("/v1/checkout/sessions", lambda: urls.append(buy("basic")))

    with pytest.raises(checkout.Replaced):
        buy("pro")

    (session,) = open_sessions(fake)
    assert session["url"] == urls[0]
    row = StripeCheckout.objects.select_related("plan").exclude(open_for=None).get()
    assert (row.plan.code, row.session_id) == ("basic", session["id"])


def test_a_renamed_account_is_not_refused_its_customer(
    fake: Lookalike, wire: Wire, buy: Any, acme: Account
) -> None:
    wire.cut(lambda: buy("pro"), 1, is_answered=True)
    acme.name = "Acme & Sons"
    acme.save(update_fields=["name"])

    assert buy("pro")
    assert StripeCustomer.objects.filter(current_for=acme).count() == 1


@pytest.mark.parametrize("is_answered", [True, False], ids=["after", "before"])
@pytest.mark.parametrize("at", [1, 2, 3, 4, 5])
def test_buying_is_taken_up_wherever_it_was_cut_off(
    fake: Lookalike, wire: Wire, buy: Any, acme: Account, at: int, is_answered: bool
) -> None:
    buy("basic")  # an older checkout, which has to end first

    wire.cut(lambda: buy("pro"), at, is_answered=is_answered)
    url = buy("pro")

    (session,) = open_sessions(fake)
    assert session["url"] == url
    assert len(fake.store.all("customer")) == 1
    fake.complete_checkout(session["id"])
    deliver_all(fake)
    assert plan_of(acme) == "pro"


def prepared(fake: Lookalike, buy: Any, code: str) -> None:
    fake.complete_checkout(buy(code).rsplit("/", 1)[1])
    deliver_all(fake)


def cuts(wire: Wire, act: Act) -> None:
    """Cut an act off at each request it makes, before and after, one after the other, then let it through."""
    for is_answered in (False, True):
        for at in range(1, 40):
            try:
                wire.cut(act, at, is_answered=is_answered)
            except changes.NotNow:  # what was cut off had its effect already
                break
            except pytest.fail.Exception:  # it came through: there is no request of that number
                break
        else:
            raise AssertionError("there is no end of it")


def test_an_upgrade_cut_off_anywhere_is_paid_once(
    fake: Lookalike, wire: Wire, buy: Any, acme: Account, alice: User
) -> None:
    prepared(fake, buy, "basic")
    pro = Plan.objects.get(code="pro")
    offer = changes.quote(acme, pro).offer

    cuts(wire, lambda: changes.change(acme, pro, actor=alice, attempt="a1", offer=offer))

    deliver_all(fake)
    assert plan_of(acme) == "pro"
    assert len(fake.store.all("invoice", billing_reason="subscription_update")) == 1


@pytest.mark.parametrize("form", ["the same", "another"])
def test_a_downgrade_cut_off_anywhere_is_scheduled_once(
    fake: Lookalike, wire: Wire, buy: Any, acme: Account, alice: User, form: str
) -> None:
    prepared(fake, buy, "pro")
    basic = Plan.objects.get(code="basic")
    attempts = (f"a{n if form == 'another' else 0}" for n in count())

    cuts(wire, lambda: changes.change(acme, basic, actor=alice, attempt=next(attempts)))

    deliver_all(fake)
    row = StripeSubscription.objects.select_related("plan", "next_plan").get()
    assert row.plan is not None
    assert row.next_plan is not None
    assert (row.plan.code, row.next_plan.code, row.next_at) == ("pro", "basic", row.period_end)
    assert len(fake.store.all("subscription_schedule")) == 1


def test_a_cancel_and_its_undo_cut_off_anywhere_come_through(
    fake: Lookalike, wire: Wire, buy: Any, acme: Account, alice: User
) -> None:
    prepared(fake, buy, "pro")
    changes.change(acme, Plan.objects.get(code="basic"), actor=alice, attempt="a0")

    cuts(wire, lambda: changes.cancel(acme, actor=alice, attempt="a1"))
    row = StripeSubscription.objects.get()
    assert (row.ends_at, row.next_plan) == (row.period_end, None)

    cuts(wire, lambda: changes.undo(acme, actor=alice, attempt="a2"))
    assert StripeSubscription.objects.get().ends_at is None


def test_what_is_paid_is_what_the_page_said(
    fake: Lookalike, wire: Wire, buy: Any, acme: Account, alice: User
) -> None:
    prepared(fake, buy, "basic")
    pro = Plan.objects.get(code="pro")
    quote = changes.quote(acme, pro)
    fake.advance(changes.OFFER_HOLDS / 2)

    changes.change(acme, pro, actor=alice, attempt="a1", offer=quote.offer)

    paid = fake.store.all("invoice", billing_reason="subscription_update")[0]
    assert paid["amount_paid"] == quote.amount_due


def test_an_offer_of_another_change_or_of_nobody_is_refused(
    fake: Lookalike, buy: Any, acme: Account, alice: User, client: Client
) -> None:
    prepared(fake, buy, "basic")
    client.force_login(alice)
    forged = signing.dumps([StripeSubscription.objects.get().subscription_id, "pro", 1], salt="another")
    other = signing.dumps(["sub_of_somebody", "pro", 1], salt=changes.SALT)

    for offer in ("x", forged, other):
        assert client.post("/upgrade/to/pro/", {"offer": offer}).status_code == 400
    assert client.post("/upgrade/to/no_such_plan/").status_code == 404
    assert client.get("/upgrade/to/no_such_plan/").status_code == 404
    assert client.post("/upgrade/buy/", {"plan": "no_such_plan"}).status_code == 400
    assert client.post("/upgrade/buy/", {"plan": "pro", "price": "price_0"}).status_code == 302

    assert plan_of(acme) == "basic"
    assert fake.store.all("invoice", billing_reason="subscription_update") == []


def test_an_attempt_of_letters_that_no_header_takes_is_passed_over(
    fake: Lookalike, wire: Wire, buy: Any, acme: Account, alice: User, client: Client
) -> None:
    prepared(fake, buy, "pro")
    client.force_login(alice)

    assert client.post("/upgrade/cancel/", {"attempt": "日本"}).status_code == 302
    assert all(key.isascii() for key in wire.keys)
    assert StripeSubscription.objects.get().ends_at is not None


def test_an_upgrade_waits_until_what_is_scheduled_is_undone(
    fake: Lookalike, buy: Any, acme: Account, alice: User, client: Client
) -> None:
    prepared(fake, buy, "basic")
    client.force_login(alice)
    client.post("/upgrade/cancel/")

    page = client.post("/upgrade/to/pro/", follow=True).content.decode()

    assert "Undo it first" in page
    assert "Upgrade to Pro" not in page
    assert StripeSubscription.objects.get().ends_at is not None  # so the cancel still stands
    client.post("/upgrade/undo/")
    client.post("/upgrade/to/pro/")
    assert plan_of(acme) == "pro"


def test_who_owes_is_sold_no_second_plan(
    fake: Lookalike, buy: Any, acme: Account, alice: User, client: Client
) -> None:
    prepared(fake, buy, "basic")
    client.force_login(alice)
    StripeSubscription.objects.update(status="unpaid")

    page = client.get("/upgrade/").content.decode()

    assert "has not been paid" in page
    assert "Buy " not in page
