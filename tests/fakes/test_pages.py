"""The look-alike's pages by their buttons, over HTTP, and whom it refuses."""

import http.client
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import pytest

from tests.fakes.stripe import Lookalike
from tests.fakes.stripe.store import Object

NOWHERE = "http://127.0.0.1:9/webhooks/stripe/"


@pytest.fixture
def fake() -> Iterator[Lookalike]:
    """Somebody has bought a plan; nothing is delivered."""
    made = Lookalike(NOWHERE)
    assert made.delivery is not None
    made.delivery.knobs.held = True
    made.sell("pro_monthly", 2000)
    made.subscribe(made.customer("acc_of_the_tests")["id"], "pro_monthly")
    with made:
        yield made


def ask(
    fake: Lookalike, path: str = "/", headers: dict[str, str] | None = None, **form: str
) -> tuple[int, str]:
    """Status and text; a form where fields are given, else a look."""
    connection = http.client.HTTPConnection(urlsplit(fake.base).netloc, timeout=10)
    body = urlencode(form) if form else None
    given = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    connection.request("POST" if form else "GET", path, body, given)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def paid_invoice(fake: Lookalike) -> Object:
    found = fake.store.first("invoice", status="paid")
    assert found is not None
    return found


def test_every_page_says_that_it_is_not_stripe(fake: Lookalike) -> None:
    customer = paid_invoice(fake)["customer"]
    portal = fake.call("POST", "billing_portal/sessions", customer=customer)
    price = fake.store.first("price")
    assert price is not None
    line = {"price": price["id"], "quantity": 1}
    checkout = fake.call("POST", "checkout/sessions", customer=customer, line_items=[line])
    addresses = ["/", portal["url"], checkout["url"], f"/invoice/{paid_invoice(fake)['id']}", "/elsewhere"]

    for address in addresses:
        _, text = ask(fake, urlsplit(address).path)
        assert "This is not Stripe: a look-alike for trying Tollgate locally. No money moves." in text
    assert "pro_monthly, $20.00 a month" in ask(fake, urlsplit(checkout["url"]).path)[1]


def test_the_clock_goes_to_the_next_renewal(fake: Lookalike) -> None:
    assert ask(fake, do="renewal")[0] == 303

    assert len(fake.store.all("invoice", status="paid")) == 2


def test_a_payment_is_given_back_and_disputed(fake: Lookalike) -> None:
    invoice = paid_invoice(fake)
    assert ask(fake, do="dispute", id=invoice["id"])[0] == 303
    dispute = fake.store.first("dispute")
    assert dispute is not None
    assert "Dispute is lost" in ask(fake)[1]

    assert ask(fake, do="lost", id=dispute["id"])[0] == 303
    assert ask(fake, do="refund", id=invoice["id"])[0] == 303

    assert dispute["status"] == "lost"
    assert "$20.00 paid, $20.00 refunded, dispute lost." in ask(fake)[1]
    assert {e["type"] for e in fake.events} >= {"charge.dispute.closed", "charge.refunded"}


def test_deliveries_go_wrong_as_one_likes_and_right_again(fake: Lookalike) -> None:
    assert fake.delivery is not None
    for name in ("duplicate", "reorder", "delay_s", "drop"):
        assert ask(fake, do="knob", name=name)[0] == 303
        assert getattr(fake.delivery.knobs, name) > 0
        assert "Stop: " in ask(fake)[1]
        assert ask(fake, do="knob", name=name)[0] == 303
        assert getattr(fake.delivery.knobs, name) == 0


@pytest.mark.parametrize(
    "form",
    [
        {"do": "advance"},
        {"do": "advance", "seconds": "-1"},
        {"do": "advance", "seconds": "999999999999"},
        {"do": "knob", "name": "failures"},
        {"do": "refund"},
        {"do": "card", "customer": "cus_nobody", "card": "gold"},
        {"do": "something"},
        {"what": "nothing"},
    ],
)
def test_what_no_button_sends_is_refused(fake: Lookalike, form: dict[str, str]) -> None:
    now, events = fake.store.offset, len(fake.events)

    status, text = ask(fake, **form)  # type: ignore[arg-type]

    assert status == 400, text
    assert (fake.store.offset, len(fake.events)) == (now, events)


def test_a_bank_that_was_not_asked_confirms_nothing(fake: Lookalike) -> None:
    price = fake.store.first("price")
    assert price is not None
    made = fake.call("POST", "checkout/sessions", line_items=[{"price": price["id"], "quantity": 1}])

    status, text = ask(fake, f"/checkout/{made['id']}", do="confirm")

    assert (status, made["status"]) == (400, "open")
    assert "The bank was not asked anything." in text


@pytest.mark.parametrize("headers", [{"Host": "tollgate.example"}, {"Origin": "https://tollgate.example"}])
def test_other_sites_are_refused_pages_and_api(fake: Lookalike, headers: dict[str, str]) -> None:
    offset = fake.store.offset

    assert ask(fake, headers=headers, do="advance", seconds="86400")[0] == 403
    assert ask(fake, "/v1/customers", headers={"Authorization": "Bearer sk_test_x", **headers})[0] == 403

    assert fake.store.offset == offset


def test_it_listens_on_loopback_alone(fake: Lookalike) -> None:
    assert fake.server._http.server_address[0] == "127.0.0.1"
