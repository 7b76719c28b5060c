"""Prices and exchange rates in the admin: only added, with clear errors."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.keys import Caller
from accounts.models import SCOPES, Account, AuditEntry, User
from tests.reasons import GivesReasons
from usage import price_book
from usage.events import Event
from usage.ingestion import record_events
from usage.models import ExchangeRate, PricingConfig, Rate, Record, Unit

SERVICE = Caller(None, frozenset(SCOPES))
ADD = "/admin/usage/pricingconfig/add/"
ADD_EXCHANGE = "/admin/usage/exchangerate/add/"


@pytest.fixture
def admin(staff: User) -> Client:
    client = GivesReasons()
    client.force_login(staff)
    return client


def price_of(*rates: tuple[str, str, str], **config: str) -> dict[str, object]:
    """The form of a new price: fields by name, and (unit, price, per) for each rate."""
    fields: dict[str, object] = {
        "model": "gpt-9",
        "effective_from_0": "2026-03-01",
        "effective_from_1": "00:00",
        "rates-TOTAL_FORMS": str(len(rates)),
        "rates-INITIAL_FORMS": "0",
        "confirmed": "",
        **config,
    }
    for n, (unit, price, per) in enumerate(rates):
        fields[f"rates-{n}-unit"] = Unit.objects.get(slug=unit).pk if unit else ""
        fields[f"rates-{n}-price"] = price
        fields[f"rates-{n}-per"] = per
    return fields


def refusal(admin: Client, fields: dict[str, object], where: str = ADD) -> str:
    """The page that refuses a form; nothing was stored."""
    before = (PricingConfig.objects.count(), Rate.objects.count(), ExchangeRate.objects.count())
    answer = admin.post(where, fields)
    assert answer.status_code == 200
    assert before == (PricingConfig.objects.count(), Rate.objects.count(), ExchangeRate.objects.count())
    return answer.content.decode()


def test_a_price_is_added_with_its_rates_and_prices_the_next_record(
    admin: Client, acme: Account, staff: User
):
    rates = [("input_tokens", "2.5", "1000000"), ("output_tokens", "10", "1000000")]
    answer = admin.post(ADD, price_of(*rates, provider="openai", source="price page"))
    config = PricingConfig.objects.get(model="gpt-9")
    assert answer.status_code == 302
    assert config.effective_from == datetime(2026, 3, 1, tzinfo=UTC)
    assert config.created_by == staff
    assert {(rate.unit.slug, rate.price, rate.per) for rate in config.rates.all()} == {
        ("input_tokens", Decimal("2.5"), 1_000_000),
        ("output_tokens", Decimal(10), 1_000_000),
    }
    assert AuditEntry.objects.get(action="price.added").actor == staff.email
    event = Event(operation="chat", account=acme.public_id, provider="openai", model="gpt-9", characters=40)
    (outcome,) = record_events([event], SERVICE)
    assert outcome.is_new
    assert Record.objects.get().cost == Decimal("0.0001")


def test_the_instant_is_typed_in_utc_whatever_the_servers_zone(admin: Client, settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    assert "In UTC" in admin.get(ADD).content.decode()
    admin.post(ADD, price_of(("requests", "1", "1"), effective_from_1="06:30"))
    assert PricingConfig.objects.get(model="gpt-9").effective_from == datetime(2026, 3, 1, 6, 30, tzinfo=UTC)


def test_a_price_names_a_model_or_an_operation(admin: Client):
    assert "Name a model, an operation, or both." in refusal(
        admin, price_of(("requests", "1", "1"), model="")
    )


def test_a_variant_needs_its_model(admin: Client):
    fields = price_of(("requests", "1", "1"), model="", operation="api_call", variant="hd")
    assert "A variant belongs to a model" in refusal(admin, fields)


def test_a_price_without_a_rate_is_refused(admin: Client):
    assert "A price needs at least one rate" in refusal(admin, price_of(("", "", "1")))
    assert "A price needs at least one rate" in refusal(admin, price_of())


def test_a_unit_has_one_rate(admin: Client):
    page = refusal(admin, price_of(("requests", "1", "1"), ("requests", "2", "1")))
    assert "named twice: requests" in page


def test_a_price_with_more_than_ten_places_says_which_per_to_use(admin: Client):
    page = refusal(admin, price_of(("input_tokens", "0.00000000025", "1")))
    assert "0.00000000025 has 11 decimal places, and a price keeps 10." in page
    assert "0.00000025 per 1,000 is the same price" in page


@pytest.mark.parametrize("price", ["-1", "NaN", "Infinity", "ten", "99999999999999999999"])
def test_what_is_no_price_is_refused(admin: Client, price: str):
    assert refusal(admin, price_of(("requests", price, "1")))


@pytest.mark.parametrize("per", ["0", "-1", "1.5", ""])
def test_a_per_is_a_whole_number_above_zero(admin: Client, per: str):
    assert refusal(admin, price_of(("requests", "1", per)))


def test_a_price_of_zero_says_free_on_purpose(admin: Client):
    admin.post(ADD, price_of(("requests", "0", "1")))
    assert Rate.objects.get(config__model="gpt-9").price == 0


def test_the_same_price_at_the_same_instant_is_refused(admin: Client):
    admin.post(ADD, price_of(("requests", "1", "1")))
    assert "There is a price for this from this instant already" in refusal(
        admin, price_of(("requests", "2", "1"))
    )


def test_a_newer_price_starts_from_the_older_one_and_takes_its_place(admin: Client):
    admin.post(ADD, price_of(("requests", "1.25", "1"), ("input_tokens", "3", "1000"), provider="openai"))
    old = PricingConfig.objects.get(model="gpt-9")
    answer = admin.get(f"/admin/usage/pricingconfig/{old.pk}/newer/", follow=True)
    page = answer.content.decode()
    for value in ("gpt-9", "openai", "1.25", "1000"):
        assert f'value="{value}"' in page
    rates = [("requests", "1.5", "1"), ("input_tokens", "3", "1000")]
    admin.post(ADD, price_of(*rates, provider="openai", effective_from_0="2026-04-01"))
    listed = admin.get("/admin/usage/pricingconfig/", {"q": "gpt-9"}).content.decode()
    assert (listed.count(">in force<"), listed.count(">superseded<")) == (1, 1)


def test_unchanged_values_of_the_older_price_are_stored_too(admin: Client):
    admin.post(ADD, price_of(("requests", "1.25", "1")))
    old = PricingConfig.objects.get(model="gpt-9")
    admin.post(f"{ADD}?like={old.pk}", price_of(("requests", "1.25", "1"), effective_from_0="2026-04-01"))
    assert Rate.objects.filter(config__model="gpt-9").count() == 2


def test_the_list_tells_what_is_in_force_to_come_and_superseded(admin: Client):
    now = timezone.now()
    unit = Unit.objects.get(slug="requests")
    for days in (-20, -10, 10):
        config = PricingConfig.objects.create(model="m", effective_from=now + timedelta(days=days))
        Rate.objects.create(config=config, unit=unit, price=Decimal(1), per=1)
    for state, word in (("in-force", "in force"), ("to-come", "to come"), ("superseded", "superseded")):
        page = admin.get("/admin/usage/pricingconfig/", {"q": "m", "state": state}).content.decode()
        words = {w for w in ("in force", "to come", "superseded") if f">{w}</span>" in page}
        assert words == {word}


def test_an_older_price_stays_in_force_for_units_that_the_newer_one_leaves_out(admin: Client):
    admin.post(ADD, price_of(("requests", "1", "1"), ("input_tokens", "3", "1000")))
    admin.post(ADD, price_of(("requests", "2", "1"), effective_from_0="2026-04-01"))
    page = admin.get("/admin/usage/rate/", {"q": "gpt-9"}).content.decode()
    assert (page.count(">in force<"), page.count(">superseded<")) == (2, 1)


def test_a_rate_is_added_for_a_unit_that_the_price_leaves_out(admin: Client):
    admin.post(ADD, price_of(("requests", "1", "1")))
    config = PricingConfig.objects.get(model="gpt-9")
    tokens = Unit.objects.get(slug="input_tokens")
    fields = {"config": config.pk, "unit": tokens.pk, "price": "0.00000000025", "per": "1", "confirmed": ""}
    assert "Use a larger" in refusal(admin, fields, "/admin/usage/rate/add/")
    admin.post("/admin/usage/rate/add/", {**fields, "price": "0.25", "per": "1000000"})
    assert config.rates.count() == 2
    assert "already exists" in refusal(admin, {**fields, "price": "1"}, "/admin/usage/rate/add/")


def test_adding_a_price_is_noticed_by_every_process(admin: Client):
    version = price_book.stored_version()
    admin.post(ADD, price_of(("requests", "1", "1")))
    assert price_book.stored_version() > version


@pytest.mark.parametrize("model", [PricingConfig, Rate, ExchangeRate])
def test_nothing_of_the_price_list_is_changed_or_deleted(admin: Client, model: Any):
    row = model.objects.first()
    place = f"/admin/usage/{model._meta.model_name}/{row.pk}"
    assert admin.get(f"{place}/change/").status_code == 200
    assert admin.post(f"{place}/change/", {"price": "9", "rate": "9", "source": "x"}).status_code == 403
    assert admin.post(f"{place}/delete/", {"post": "yes"}).status_code == 403


def test_an_exchange_rate_is_added_from_a_day_on(admin: Client):
    answer = admin.post(
        ADD_EXCHANGE, {"quote": "INR", "rate": "84.125", "effective_from": "2026-03-01", "confirmed": ""}
    )
    assert answer.status_code == 302
    assert ExchangeRate.objects.get(effective_from="2026-03-01").rate == Decimal("84.125")
    page = admin.get("/admin/usage/exchangerate/").content.decode()
    assert "84.125" in page
    assert (page.count(">in force<"), page.count(">superseded<")) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"quote": "INR", "rate": "84", "effective_from": "2020-01-01"}, "already exists"),
        ({"quote": "USD", "rate": "1", "effective_from": "2026-03-01"}, "no rate against itself"),
        ({"quote": "INR", "rate": "0", "effective_from": "2026-03-01"}, "A rate is above zero."),
        ({"quote": "INR", "rate": "-1", "effective_from": "2026-03-01"}, "A rate is above zero."),
        ({"quote": "inr", "rate": "84", "effective_from": "2026-03-01"}, "Three capital letters"),
        ({"quote": "INR", "rate": "1.00000000001", "effective_from": "2026-03-01"}, "10 decimal places"),
    ],
)
def test_an_exchange_rate_that_makes_no_sense_is_refused(admin: Client, fields: dict, says: str):
    assert says in refusal(admin, fields, ADD_EXCHANGE)


def test_who_may_only_look_adds_no_price(client: Client, db: None):
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_pricingconfig"))
    client.force_login(clerk)
    config = PricingConfig.objects.first()
    assert config is not None
    page = client.get(f"/admin/usage/pricingconfig/{config.pk}/change/")
    assert page.status_code == 200
    assert "/newer/" not in page.content.decode()
    assert "another-rate" not in page.content.decode()
    assert client.get(ADD).status_code == 403
