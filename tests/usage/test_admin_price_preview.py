"""Adding a price first shows which of last month's usage it would have concerned; confirmed, it is saved."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.keys import Caller
from accounts.lifecycle import open_business_account
from accounts.models import SCOPES, Account, AuditEntry, User
from tests.reasons import GivesReasons
from tests.usage.price_list import add_price
from tests.usage.test_admin_prices import ADD, price_of
from usage import everywhere, price_book, price_preview
from usage.events import Event
from usage.ingestion import record_events
from usage.models import Model, Operation, PricingConfig, Rate, Record, Unit
from usage.price_notes import Proposal
from usage.pricing import Key, line_cost

SERVICE = Caller(None, frozenset(SCOPES))
ZONES = ["UTC", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati"]


@pytest.fixture
def admin(staff: User) -> Client:
    client = GivesReasons()
    client.force_login(staff)
    return client


def middle_of_last_month() -> datetime:
    month = price_preview.last_month(timezone.now().date())
    return datetime(month.year, month.month, 15, 12, tzinfo=UTC)


def record(account: Account, at: datetime | None = None, **event: Any) -> None:
    named = {"operation": "chat", "provider": "openai", "model": "gpt-9", **event}
    named |= {"account": account.public_id, "occurred_at": (at or middle_of_last_month()).isoformat()}
    record_events([msgspec.json.decode(json.dumps(named), type=Event)], SERVICE)


def unconfirmed(*rates: tuple[str, str, str], **config: str) -> dict[str, object]:
    fields = price_of(*rates, **config)
    del fields["confirmed"]
    return fields


def cells(page: str) -> list[str]:
    """The texts of a page's table cells."""
    rows = page.split("<td")[1:]
    texts = ["".join(part.split(">")[-1] for part in row.split("</td>")[0].split("<")) for row in rows]
    return [text.strip() for text in texts]


def test_a_price_is_previewed_first_and_saved_when_confirmed(admin: Client, acme: Account) -> None:
    add_price(model="gpt-9", input_tokens="2", per=1_000_000)
    record(acme, quantities={"input_tokens": 3_000_000, "output_tokens": 5})
    everywhere.follow_all()
    sent = unconfirmed(("input_tokens", "5", "1000000"), provider="openai", operation="chat")

    answer = admin.post(ADD, {**sent, "_save": "Save"})

    page = answer.content.decode()
    assert answer.status_code == 200
    assert not PricingConfig.objects.filter(provider="openai", model="gpt-9").exists()
    assert cells(page)[:9] == [
        *("chat", "openai/gpt-9", "input_tokens"),
        *("3,000,000", "–", "$6.00", "$15.00", "+$9.00", "1"),
    ]
    assert "Acme" in page
    # What the page carries is what was posted, and confirmed it is saved.
    assert '<input type="hidden" name="rates-0-price" value="5">' in page
    assert admin.post(ADD, {**sent, "_save": "Save", "confirmed": ""}).status_code == 302
    assert Rate.objects.get(config__provider="openai", config__model="gpt-9").price == 5
    assert AuditEntry.objects.filter(action="price.added").count() == 1


def test_the_form_has_a_button_for_the_preview(admin: Client) -> None:
    assert 'name="_preview"' in admin.get(ADD).content.decode()
    price = PricingConfig.objects.first()
    assert price is not None
    assert (
        'name="_preview"' not in admin.get(f"/admin/usage/pricingconfig/{price.pk}/change/").content.decode()
    )


def test_what_was_typed_can_be_changed_again(admin: Client) -> None:
    sent = unconfirmed(("requests", "1.25", "1"))
    page = admin.post(ADD, {**sent, "_change_again": ""}).content.decode()
    assert 'value="1.25"' in page
    assert "Please correct" not in page
    assert not PricingConfig.objects.filter(model="gpt-9").exists()


def test_what_is_wrong_is_said_on_the_form_also_when_it_comes_back_confirmed(admin: Client) -> None:
    sent = unconfirmed(("requests", "1", "1"), model="")
    for fields in (sent, {**sent, "confirmed": ""}):
        assert "Name a model, an operation, or both." in admin.post(ADD, fields).content.decode()
    good = unconfirmed(("requests", "1", "1"))
    assert "Nothing is saved yet" in " ".join(admin.post(ADD, good).content.decode().split())
    add_price(model="gpt-9", since=datetime(2026, 3, 1, tzinfo=UTC), requests="3")  # somebody was faster
    assert "There is a price for this from this instant already" in (
        admin.post(ADD, {**good, "confirmed": ""}).content.decode()
    )


def test_who_may_not_add_sees_no_preview(client: Client, db: None) -> None:
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    client.force_login(clerk)
    assert client.post(ADD, unconfirmed(("requests", "1", "1"))).status_code == 403


def test_usage_of_this_month_and_of_other_models_is_not_concerned(admin: Client, acme: Account) -> None:
    record(acme, at=timezone.now(), quantities={"input_tokens": 7})
    record(acme, model="gpt-8", quantities={"input_tokens": 7})
    everywhere.follow_all()
    page = admin.post(ADD, unconfirmed(("input_tokens", "5", "1"))).content.decode()
    assert "nothing that this price would have been the most specific one for" in page


def test_stated_costs_are_pointed_out(admin: Client, acme: Account) -> None:
    record(acme, quantities={"input_tokens": 7})
    stated = {"amount": "1.5", "currency": "USD"}
    record(acme, quantities={"input_tokens": 7}, cost=stated)
    everywhere.follow_all()
    page = admin.post(ADD, unconfirmed(("input_tokens", "5", "1"))).content.decode()
    assert "a cost that the client stated" in page


def test_notes_stand_on_the_preview_and_on_the_prices_page(admin: Client, acme: Account) -> None:
    config = add_price(
        provider="openai", model="gpt-9", operation="chat", input_tokens="2", output_tokens="3"
    )
    record(acme, quantities={"input_tokens": 7, "seconds": 2})
    everywhere.follow_all()
    sent = unconfirmed(("input_tokens", "5", "1"), provider="openai", operation="chat")
    page = admin.post(ADD, sent).content.decode()
    assert "output_tokens (3 USD per 1)" in page
    assert "Usage of seconds stays without a price: openai · gpt-9 · chat." in page
    admin.post(ADD, {**sent, "confirmed": ""})
    page = admin.get(f"/admin/usage/pricingconfig/{config.pk}/change/").content.decode()
    assert "It ends on 1 Mar 2026 for input_tokens: a later price is there already." in page


def test_a_rate_added_later_is_previewed_too(admin: Client, acme: Account) -> None:
    config = add_price(model="gpt-9", input_tokens="2")
    record(acme, quantities={"output_tokens": 4})
    everywhere.follow_all()
    unit = Unit.objects.get(slug="output_tokens")
    fields = {"config": config.pk, "unit": unit.pk, "price": "0.5", "per": "1"}
    page = admin.post("/admin/usage/rate/add/", fields).content.decode()
    assert cells(page)[3:8] == ["4", "4", "$0.00", "$2.00", "+$2.00"]
    assert config.rates.count() == 1


def test_beyond_the_most_accounts_it_says_so(
    admin: Client, acme: Account, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(price_preview, "ACCOUNTS_AT_MOST", 1)
    add_price(model="gpt-9", input_tokens="2")
    other = open_business_account("Other", owner=alice)
    record(acme, quantities={"input_tokens": 1})
    record(other, quantities={"input_tokens": 2})
    everywhere.follow_all()
    page = admin.post(ADD, unconfirmed(("input_tokens", "5", "1"), provider="openai")).content.decode()
    assert "More than 1 accounts used this; shown are the 1 with most cost." in page
    assert "Other" in page
    assert cells(page)[3] == "2"


def test_the_preview_asks_the_database_a_few_times(admin: Client, acme: Account, alice: User) -> None:
    for n in range(12):
        record(open_business_account(f"A{n}", owner=alice), quantities={"input_tokens": n + 1})
    everywhere.follow_all()
    sent = unconfirmed(("input_tokens", "5", "1"))
    admin.get(ADD)  # what a process and a session remember
    price_book.current()
    with CaptureQueriesContext(connection) as queries:
        page = admin.post(ADD, sent).content.decode()
    assert "of 12" in page
    assert len(queries) <= 15
    assert not any('"usage_record"' in query["sql"] for query in queries)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_the_ledger_says(alice: User, seed: int) -> None:
    """Recomputed naively: the price is added, and each line of last month asks the list for its rate."""
    chance = random.Random(seed)
    accounts = [open_business_account(zone, owner=alice, time_zone=zone) for zone in ZONES]
    add_price(operation="chat", input_tokens="0.001", seconds="0.5")
    add_price(model="gpt-9", input_tokens="0.25", per=1000)
    add_price(provider="openai", model="gpt-9", operation="draw", output_images="0.04")
    start = middle_of_last_month() - timedelta(days=16)
    for _ in range(60):
        quantities = {
            unit: chance.randrange(1, 10**5)
            for unit in chance.sample(["input_tokens", "output_images", "seconds", "total_tokens"], 2)
        }
        record(
            chance.choice(accounts),
            at=start + timedelta(hours=chance.randrange(24 * 33)),
            operation=chance.choice(["chat", "draw"]),
            model=chance.choice(["gpt-9", "gpt-8", ""]),
            provider=chance.choice(["openai", ""]),
            status=chance.choice(["success", "success", "error", "rate_limited"]),
            quantities=quantities,
        )
    everywhere.follow_all()
    key: Key = chance.choice(
        [
            ("", "", "chat", ""),
            ("", "gpt-9", "", ""),
            ("openai", "gpt-9", "draw", ""),
            ("openai", "", "draw", ""),
        ]
    )
    today, now = timezone.now().date(), timezone.now()
    units = {unit.slug: unit.pk for unit in Unit.objects.all()}
    slugs = {"input_tokens": "0.0003", "output_images": "0.05", "seconds": "0.7"}
    before = price_book.current()
    provider, model, operation, variant = key
    config = add_price(
        provider=provider, model=model, operation=operation, variant=variant, since=now, per=7, **slugs
    )
    after = price_book.current()
    rates = {units[slug]: after.timelines[(key, units[slug])].at(now) for slug in slugs}
    found = price_preview.reckon(Proposal(key, now, rates), before, today)  # type: ignore[arg-type]
    expected = naively(after, {rate.pk for rate in config.rates.all()}, now)
    assert {
        (account_id, effect.cost, effect.new_cost) for account_id, effect in found.by_account.items()
    } == expected
    assert found.total.new_cost == sum(row[2] for row in expected)


def naively(book: price_book.PriceBook, rate_ids: set[int], now: datetime) -> set[tuple[int, int, int]]:
    """(account, cost, cost at the new price) of last month's lines that one of the rates would price."""
    month = price_preview.last_month(now.date())
    models = {m.pk: m for m in Model.objects.all()}
    operations = dict(Operation.objects.values_list("pk", "slug"))
    quantities: dict[tuple, int] = {}
    costs: dict[int, int] = {}
    for row in Record.objects.filter(local_day__gte=month, local_day__lt=now.date().replace(day=1)):
        named = models[row.model_id]
        key = (named.provider, named.name, operations[row.operation_id], named.variant)
        for unit_id, quantity, *priced in json.loads(row.lines):
            rate = book.rate(key, unit_id, now)
            if len(priced) != 2 or rate is None or rate.id not in rate_ids:
                continue
            part = (row.account_id, row.operation_id, row.model_id, unit_id, rate)
            quantities[part] = quantities.get(part, 0) + quantity
            costs[row.account_id] = costs.get(row.account_id, 0) + (priced[1] or 0)
    new: dict[int, int] = {}
    for (account_id, *_, rate), quantity in quantities.items():
        new[account_id] = new.get(account_id, 0) + line_cost(quantity, rate)
    return {(account_id, costs[account_id], cost) for account_id, cost in new.items()}
