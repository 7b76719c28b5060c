"""The look-alike as one object: the world, its API over HTTP, its clock, and steps for scenarios."""

from datetime import timedelta
from pathlib import Path

from tests.fakes.stripe import api, checkout, payments, subscriptions
from tests.fakes.stripe.delivery import Delivery, signed
from tests.fakes.stripe.server import Server
from tests.fakes.stripe.store import Object
from tests.fakes.stripe.world import World

SECRET = "whsec_lookalike"
STEPS_AT_MOST = 10_000


class Lookalike:
    """Stripe, as far as Tollgate needs it.

    Args:
        webhook: where events are delivered; None: nowhere, take them from `events` and sign them.
        secrets: what deliveries are signed with, the newest first.
        path: a file that keeps the state from one start to the next.
        port: 0 takes any that is free.
    """

    def __init__(
        self,
        webhook: str | None = None,
        secrets: list[str] | None = None,
        *,
        seed: int = 1,
        path: Path | None = None,
        port: int = 0,
    ) -> None:
        self.secrets = [SECRET] if secrets is None else secrets
        self.world = World(seed=seed, path=path)
        self.store = self.world.store
        self.answers = api.Answers(self.world)
        self.server = Server(self, port)
        self.world.base = self.base = self.server.base
        self.delivery = Delivery(self.world, webhook, self.secrets) if webhook else None

    def start(self) -> "Lookalike":
        self.server.start()
        if self.delivery is not None:
            self.delivery.start()
        return self

    def stop(self) -> None:
        if self.delivery is not None:
            self.delivery.stop()
        self.server.stop()

    def __enter__(self) -> "Lookalike":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Events

    @property
    def events(self) -> list[Object]:
        """Every event so far, in the order in which they were made."""
        return self.world.events

    def signed(
        self, event: Object, secret: str | None = None, at: int | None = None
    ) -> tuple[bytes, dict[str, str]]:
        """Body and headers of a delivery, to be posted by hand."""
        return signed(event, [secret] if secret else self.secrets, at)

    # Steps of a scenario

    def call(self, method: str, path: str, **given: object) -> Object:
        """One request to the API, without HTTP; fails the scenario when it is refused."""
        status, body = self.answers.answer(method, f"/v1/{path}", dict(given))
        assert status == 200, body
        return body

    def sell(self, lookup_key: str, cents: int, interval: str = "month", **price: object) -> Object:
        """A product and its price."""
        product = self.call("POST", "products", name=lookup_key)
        given = {"product": product["id"], "lookup_key": lookup_key, "unit_amount": cents, "currency": "usd"}
        return self.call("POST", "prices", **given, recurring={"interval": interval}, **price)

    def customer(self, account: str, card: str = "ok") -> Object:
        made = self.call(
            "POST", "customers", email="payer@example.com", metadata={"tollgate_account": account}
        )
        self.set_card(made["id"], card)
        return made

    def subscribe(self, customer_id: str, lookup_key: str, **given: object) -> Object:
        """A subscription made at Stripe, such as by its dashboard."""
        price = self.store.first("price", lookup_key=lookup_key)
        assert price is not None, lookup_key
        return self.call(
            "POST", "subscriptions", customer=customer_id, items=[{"price": price["id"]}], **given
        )

    def complete_checkout(self, session_id: str, card: str = "ok") -> Object:
        with self.store.lock:
            return self._saved(checkout.complete(self.world, session_id, card))

    def authenticate(self, session_id: str, *, confirmed: bool = True) -> Object:
        with self.store.lock:
            return self._saved(checkout.authenticate(self.world, session_id, confirmed=confirmed))

    def set_card(self, customer_id: str, card: str) -> None:
        """From now on payments of the customer are "ok", "fails", "3ds", or "" without a card."""
        with self.store.lock:
            self.store.cards[customer_id] = card
            self.store.save()

    def pay_invoice(self, invoice_id: str, card: str = "ok") -> str:
        with self.store.lock:
            result = subscriptions.pay(self.world, self.store.get(invoice_id, "invoice"), card)
            self.store.save()
            return result

    def charge_of(self, invoice_id: str) -> str:
        return checkout.charge_of(self.world, invoice_id)

    def refund(self, charge_id: str, amount: int | None = None) -> Object:
        with self.store.lock:
            return self._saved(payments.refund(self.world, charge_id, amount))

    def dispute(self, charge_id: str) -> Object:
        with self.store.lock:
            return self._saved(payments.dispute(self.world, charge_id))

    def close_dispute(self, dispute_id: str, *, won: bool) -> Object:
        with self.store.lock:
            return self._saved(payments.close_dispute(self.world, dispute_id, won=won))

    def update(self, subscription_id: str, **given: object) -> Object:
        return self.call("POST", f"subscriptions/{subscription_id}", **given)

    def cancel(self, subscription_id: str) -> Object:
        return self.call("DELETE", f"subscriptions/{subscription_id}")

    def delete_customer(self, customer_id: str) -> Object:
        return self.call("DELETE", f"customers/{customer_id}")

    def archive_price(self, price_id: str) -> Object:
        return self.call("POST", f"prices/{price_id}", active=False)

    def advance(self, by: timedelta) -> None:
        """Move the clock on; everything that is due on the way happens, in its order."""
        with self.store.lock:
            goal = self.store.now + int(by.total_seconds())
            for _ in range(STEPS_AT_MOST):
                found = self._next(goal)
                if found is None:
                    break
                at, sub, what = found
                self.store.offset += max(0, at - self.store.now)
                if what == "session":
                    checkout.expire(self.world, sub["id"])
                else:
                    subscriptions.happen(self.world, sub, what)
            self.store.offset += max(0, goal - self.store.now)
            self.store.save()

    def _next(self, goal: int) -> tuple[int, Object, str] | None:
        moments = []
        for sub in self.store.all("subscription"):
            due = subscriptions.due(self.world, sub)
            if due is not None:
                moments.append((due[0], sub["id"], sub, due[1]))
        for session in self.store.all("checkout.session", status="open"):
            moments.append((session["expires_at"], session["id"], session, "session"))
        first = min(moments, key=lambda m: m[:2], default=None)
        return None if first is None or first[0] > goal else (first[0], first[2], first[3])

    def _saved(self, found: Object) -> Object:
        self.store.save()
        return found
