"""Meters that something limits keep their definition: balances were counted by it."""

from decimal import Decimal

import pytest
from django.test import Client

from accounts.models import Account, User
from tests.reasons import GivesReasons
from usage.models import Meter, Unit
from usage.quotas import limits

ADD = "/admin/usage/meter/add/"


@pytest.fixture
def admin(staff: User) -> Client:
    client = GivesReasons()
    client.force_login(staff)
    return client


@pytest.fixture
def pages() -> Meter:
    Unit.objects.create(slug="scrolls", name="Scrolls")
    return Meter.objects.create(
        slug="pages_read", name="Pages read", aggregation="sum", units=["scrolls"], shown_as="pages"
    )


def page_of(meter: Meter, act: str = "change") -> str:
    return f"/admin/usage/meter/{meter.pk}/{act}/"


def limit(acme: Account, meter: Meter) -> None:
    limits.override(acme, meter, Decimal(5), actor="test", reason="x")


def test_without_a_limit_everything_is_edited(admin: Client, db: None, pages: Meter) -> None:
    sent = {"name": "Calls", "aggregation": "count", "operations": ["ai_query"], "shown_as": "calls"}
    assert admin.post(page_of(pages), sent).status_code == 302
    pages.refresh_from_db()
    assert (pages.aggregation, pages.units, pages.operations) == ("count", [], ["ai_query"])


def test_with_a_quota_only_the_names_are_edited(admin: Client, acme: Account, pages: Meter) -> None:
    limit(acme, pages)
    assert "What this meter counts is fixed" in admin.get(page_of(pages)).content.decode()
    sent = {"name": "Leaves", "aggregation": "count", "operations": ["ai_query"], "shown_as": "leaves"}

    assert admin.post(page_of(pages), sent).status_code == 302

    pages.refresh_from_db()
    assert (pages.name, pages.shown_as) == ("Leaves", "leaves")
    assert (pages.aggregation, pages.units, pages.operations) == ("sum", ["scrolls"], [])


def test_a_plans_limit_fixes_it_too(admin: Client, db: None) -> None:
    meter = Meter.objects.get(slug="voice_minutes")
    admin.post(
        page_of(meter), {"name": "Minutes", "aggregation": "count", "units": [], "shown_as": "minutes"}
    )
    meter.refresh_from_db()
    assert (meter.name, meter.aggregation, meter.units) == ("Minutes", "sum", ["minutes"])


def test_a_meter_with_quotas_is_not_deleted_and_says_why(admin: Client, acme: Account, pages: Meter) -> None:
    limit(acme, pages)
    assert "Quotas of accounts limit pages_read" in admin.get(page_of(pages, "delete")).content.decode()
    admin.post(page_of(pages, "delete"), {"post": "yes"})
    assert Meter.objects.filter(pk=pages.pk).exists()


def test_a_meter_without_quotas_is_deleted(admin: Client, db: None, pages: Meter) -> None:
    admin.post(page_of(pages, "delete"), {"post": "yes"})
    assert not Meter.objects.filter(pk=pages.pk).exists()


def test_a_unit_of_a_limited_meter_stays_counted(admin: Client, acme: Account, pages: Meter) -> None:
    unit = Unit.objects.get(slug="scrolls")
    page = f"/admin/usage/unit/{unit.pk}/change/"
    sent = {"name": "Sheets", "kind": unit.kind, "informational": "on"}
    limit(acme, pages)
    assert "Whether this unit is informational is fixed" in admin.get(page).content.decode()

    admin.post(page, sent)

    unit.refresh_from_db()
    assert (unit.name, unit.informational) == ("Sheets", False)


def test_a_unit_of_an_unlimited_meter_may_become_informational(admin: Client, db: None, pages: Meter) -> None:
    unit = Unit.objects.get(slug="scrolls")
    sent = {"name": "Sheets", "kind": unit.kind, "informational": "on"}
    admin.post(f"/admin/usage/unit/{unit.pk}/change/", sent)
    unit.refresh_from_db()
    assert unit.informational


def test_a_new_meter_needs_nothing_else(admin: Client, acme: Account) -> None:
    sent = {"slug": "calls", "name": "Calls", "aggregation": "count", "operations": [], "shown_as": "calls"}
    assert admin.post(ADD, sent).status_code == 302
    limit(acme, Meter.objects.get(slug="calls"))
    assert "calls" in admin.get("/admin/usage/quota/").content.decode()
