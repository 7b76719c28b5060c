"""Buying a plan over the API and the pages: the server chooses the price, and nobody buys twice."""

import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import Account, AuditEntry, User
from billing import payments_page
from billing.models import StripeCheckout, StripeCustomer, StripeSubscription
from billing.stripe import client as stripe_client
from tests.billing.stripe.paying import deliver_all, plan_of
from tests.conftest import Api
from tests.fakes.stripe import Lookalike


def checkout(api: Api, plan: object = "pro") -> Any:
    return api.post("billing/checkout/", {"plan": plan})


def session_in(url: str) -> str:
    return url.rsplit("/", 1)[1]


def sessions(fake: Lookalike) -> list[dict[str, Any]]:
    return fake.store.all("checkout.session")


@pytest.fixture
def pages(client: Client, alice: User, acme: Account) -> Client:
    client.force_login(alice)
    return client


def test_a_checkout_sells_the_price_that_the_plan_names(
    fake: Lookalike, acme: Account, acme_api: Api
) -> None:
    answer = checkout(acme_api)

    assert answer.status_code == 200
    (session,) = sessions(fake)
    assert answer.json() == {"url": session["url"]}
    assert session["line_items"]["data"][0]["price"]["lookup_key"] == "pro_monthly"
    assert session["client_reference_id"] == acme.public_id
    assert fake.store.get(session["customer"], "customer")["metadata"]["tollgate_account"] == acme.public_id
    assert (
        f"/upgrade/return/?account={acme.public_id}&session={{CHECKOUT_SESSION_ID}}" in session["success_url"]
    )
    assert plan_of(acme) == "demo"  # nothing is paid yet


def test_what_is_paid_comes_into_force_with_its_limits(fake: Lookalike, acme: Account, acme_api: Api) -> None:
    fake.complete_checkout(session_in(checkout(acme_api).json()["url"]))
    deliver_all(fake)

    now = acme_api.get("usage/current/").json()
    assert now["plan"]["code"] == "pro"
    assert {m["meter"]: m["limit"] for m in now["meters"]}["image_generations"] == "1000"
    sub = StripeSubscription.objects.get()
    assert now["period"]["start"] == f"{sub.period_start:%Y-%m-%dT%H:%M:%SZ}"
    assert now["period"]["end"] == f"{sub.period_end:%Y-%m-%dT%H:%M:%SZ}"
    assert StripeCheckout.objects.get().open_for is None


def test_an_open_checkout_is_answered_again(fake: Lookalike, acme_api: Api) -> None:
    first, second = checkout(acme_api).json(), checkout(acme_api).json()

    assert first == second
    assert len(sessions(fake)) == 1


def test_another_plan_ends_the_checkout_before(fake: Lookalike, acme_api: Api) -> None:
    first = checkout(acme_api, "basic").json()["url"]
    second = checkout(acme_api, "pro").json()["url"]

    assert fake.store.get(session_in(first), "checkout.session")["status"] == "expired"
    assert fake.store.get(session_in(second), "checkout.session")["status"] == "open"
    assert StripeCheckout.objects.exclude(open_for=None).count() == 1


def test_who_pays_already_buys_no_second_plan(fake: Lookalike, acme_api: Api) -> None:
    fake.complete_checkout(session_in(checkout(acme_api).json()["url"]))

    answer = checkout(acme_api, "basic")  # although no event has told of it yet

    assert (answer.status_code, answer.json()["error"]) == (409, "already_subscribed")
    assert len(sessions(fake)) == 1


def test_one_that_was_paid_while_another_was_wished_is_followed(
    fake: Lookalike, acme: Account, acme_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = session_in(checkout(acme_api, "basic").json()["url"])
    expire = stripe_client.act

    def paid_meanwhile(method: str, object_id: str) -> dict[str, Any]:
        fake.complete_checkout(first)
        return expire(method, object_id)

    monkeypatch.setattr(stripe_client, "act", paid_meanwhile)
    answer = checkout(acme_api, "pro")

    assert (answer.status_code, answer.json()["error"]) == (409, "already_subscribed")
    assert plan_of(acme) == "basic"


def test_one_that_was_cut_off_is_taken_up_with_the_same_session(fake: Lookalike, acme_api: Api) -> None:
    assert checkout(acme_api, "pro").status_code == 200
    row = StripeCheckout.objects.get()
    # As if we had died between Stripe's answer and our note of it.
    StripeCheckout.objects.filter(pk=row.pk).update(session_id=None, url="", status="")

    again = checkout(acme_api, "pro")

    assert again.json()["url"] == row.url
    assert len(sessions(fake)) == 1


def test_a_lost_answer_makes_no_second_customer(fake: Lookalike, acme: Account, acme_api: Api) -> None:
    fake.server.faults.lose_next = 1  # the customer is made, and we are not told

    assert checkout(acme_api).status_code == 503
    assert checkout(acme_api).status_code == 200
    assert len(fake.store.all("customer")) == 1
    assert StripeCustomer.objects.get().account == acme


@pytest.mark.parametrize(
    ("plan", "status", "error"),
    [
        ("nothing", 400, "unknown_plan"),
        ("", 400, "required"),
        (None, 400, "required"),
        (7, 400, "required"),
        ({"price": "price_1"}, 400, "required"),
        ("enterprise", 409, "plan_not_for_sale"),
        ("free", 409, "plan_not_for_sale"),
        ("demo", 409, "plan_not_for_sale"),
    ],
)
def test_what_is_not_for_sale_is_refused_by_name(
    fake: Lookalike, acme: Account, acme_api: Api, plan: object, status: int, error: str
) -> None:
    answer = checkout(acme_api, plan)

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert sessions(fake) == []
    assert plan_of(acme) == "demo"


def test_a_price_cannot_be_named(fake: Lookalike, acme_api: Api) -> None:
    answer = acme_api.post("billing/checkout/", {"plan": "pro", "price": "price_of_mine"})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "price"
    assert sessions(fake) == []


def test_an_archived_price_is_not_sold(fake: Lookalike, acme_api: Api) -> None:
    price = fake.store.first("price", lookup_key="pro_monthly")
    assert price is not None
    fake.archive_price(price["id"])

    assert checkout(acme_api).json()["error"] == "plan_not_for_sale"
    assert StripeCheckout.objects.exclude(open_for=None).count() == 0


def test_stripe_away_is_a_503_and_leaves_nothing_half_made(fake: Lookalike, acme_api: Api) -> None:
    fake.server.faults.fail_next = 10

    answer = checkout(acme_api)

    assert (answer.status_code, answer.json()["error"]) == (503, "stripe_unavailable")
    fake.server.faults.fail_next = 0
    assert checkout(acme_api).status_code == 200


def test_after_its_customer_was_deleted_an_account_buys_with_a_new_one(
    fake: Lookalike, acme: Account, acme_api: Api
) -> None:
    fake.complete_checkout(session_in(checkout(acme_api).json()["url"]))
    deliver_all(fake)
    fake.delete_customer(StripeCustomer.objects.get().customer_id)
    deliver_all(fake)
    assert plan_of(acme) == "free"

    fake.complete_checkout(session_in(checkout(acme_api).json()["url"]))
    deliver_all(fake, fake.events[-8:])

    assert plan_of(acme) == "pro"
    assert StripeCustomer.objects.count() == 2


def test_the_portal_opens_for_who_has_bought(fake: Lookalike, acme_api: Api) -> None:
    before = acme_api.post("billing/portal/", {})
    checkout(acme_api)

    after = acme_api.post("billing/portal/", {})

    assert (before.status_code, before.json()["error"]) == (409, "nothing_bought")
    assert after.json()["url"].startswith(f"{fake.base}/portal/")


def test_without_a_key_the_api_says_that_nothing_is_sold(acme_api: Api) -> None:
    assert checkout(acme_api).json()["error"] == "stripe_not_configured"
    assert acme_api.post("billing/portal/", {}).json()["error"] == "stripe_not_configured"


def test_without_a_key_the_upgrade_page_says_so(pages: Client) -> None:
    text = pages.get("/upgrade/").content.decode()

    assert "not connected to Stripe" in text
    assert "<button" not in text[text.index("offers") :]


# Pages


def test_buying_on_the_page_leads_to_stripe_and_back(fake: Lookalike, pages: Client, acme: Account) -> None:
    plans = pages.get("/upgrade/").content.decode()
    assert "Buy Pro Plan" in plans
    assert "Buy Enterprise" not in plans
    assert "Test mode: payments go to a look-alike" in plans

    there = pages.post("/upgrade/buy/", {"plan": "pro"})
    (session,) = sessions(fake)
    assert f'content="0; url={session["url"]}"' in there.content.decode()

    early = pages.get("/upgrade/return/", {"session": session["id"]})
    assert "Pro Plan is not paid yet" in early.content.decode()
    fake.complete_checkout(session["id"])
    back = pages.get("/upgrade/return/", {"session": session["id"]}, follow=True)

    assert back.redirect_chain[-1][0] == "/settings/usage/"
    assert "Pro Plan is in force" in back.content.decode()
    assert plan_of(acme) == "pro"  # before any event was delivered


def test_a_session_of_somebody_else_does_not_exist(
    fake: Lookalike, pages: Client, acme: Account, charlie: User
) -> None:
    pages.post("/upgrade/buy/", {"plan": "pro"})
    (session,) = sessions(fake)
    fake.complete_checkout(session["id"])
    stranger = Client()
    stranger.force_login(charlie)

    assert stranger.get("/upgrade/return/", {"session": session["id"]}).status_code == 404
    assert stranger.get("/upgrade/return/", {"session": "cs_test_made_up"}).status_code == 404
    assert stranger.get("/upgrade/", {"account": acme.public_id}).status_code == 404
    assert plan_of(charlie.personal_account) == "demo"


@pytest.mark.parametrize("path", ["buy/", "undo/", "manage/", "cancel/", "to/pro/"])
def test_a_member_changes_nothing(fake: Lookalike, acme: Account, bob: User, path: str) -> None:
    member = Client()
    member.force_login(bob)
    address = f"/upgrade/{path}?account={acme.public_id}"

    assert member.post(address, {"plan": "pro"}).status_code == 403
    assert sessions(fake) == []
    text = member.get(f"/upgrade/?account={acme.public_id}").content.decode()
    assert "Buy Pro Plan" not in text
    assert "An owner or an admin" in text


@pytest.mark.parametrize("path", ["buy/", "undo/", "manage/", "cancel/", "to/pro/"])
def test_a_strangers_account_is_not_there(fake: Lookalike, acme: Account, charlie: User, path: str) -> None:
    stranger = Client()
    stranger.force_login(charlie)

    assert stranger.post(f"/upgrade/{path}?account={acme.public_id}", {"plan": "pro"}).status_code == 404


def test_who_bought_is_in_the_trail(fake: Lookalike, pages: Client, acme: Account) -> None:
    pages.post("/upgrade/buy/", {"plan": "pro"})

    entry = AuditEntry.objects.get(action="checkout.begun")
    assert (entry.actor, entry.account_public_id, entry.subject) == (
        "alice@example.com",
        acme.public_id,
        "pro",
    )


def test_the_page_shows_invoices_and_refunds(fake: Lookalike, pages: Client, acme: Account) -> None:
    pages.post("/upgrade/buy/", {"plan": "pro"})
    fake.complete_checkout(sessions(fake)[0]["id"])
    fake.refund(fake.charge_of(fake.store.all("invoice")[0]["id"]), 500)
    deliver_all(fake)

    text = re.sub(r"\s+", " ", pages.get("/upgrade/").content.decode())

    card = text[text.index('id="payment"') :]
    assert re.search(r"<dd>Pro Plan, .*\$20.* a month</dd>", card)
    assert "Renews" in card
    assert f'href="{fake.base}/invoice/' in text
    assert "Refunded: $5.00" in text
    assert "Manage payment" in text


def test_money_is_written_in_the_currencys_own_digits() -> None:
    assert payments_page.money(1234567, "usd") == "$12,345.67"
    assert payments_page.money(500, "jpy") == "¥500"
