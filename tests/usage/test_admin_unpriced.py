"""Staff see what has no price, look at what a price would make of it, and apply it."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.lifecycle import open_business_account
from accounts.models import Account, AuditEntry, User
from tests.conftest import Api
from tests.usage.price_list import add_price
from tests.usage.test_adjusting import adjustments, subject, sums
from usage import everywhere, jobs, price_book, unpriced
from usage.models import LatePricing, PricingConfig, Rate, Record

QUEUE = "/admin/usage/latepricing/"
CALL = {"operation": "dream", "provider": "p", "model": "m", "quantities": {"pages": 3}}
TYPED = {
    "price": "0.5",
    "per": "1",
    "level": "both",
    "effective_from_0": "2026-03-30",
    "effective_from_1": "22:00",
    "source": "their price page",
    "reason": "agreed with them",
}


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


@pytest.fixture
def use(acme: Account, service_api: Api) -> Callable[..., None]:
    def use(**event: Any) -> None:
        sent = {"account": acme.public_id, **CALL, "occurred_at": "2026-04-01T12:00:00Z", **event}
        assert service_api.record(**sent).status_code == 201
        everywhere.follow_all()

    return use


def page(unit: str = "pages") -> str:
    what = subject(unit)
    return f"{QUEUE}price/{what.operation_id}/{what.model_id}/{what.unit_id}/"


def text(answer: Any) -> str:
    assert answer.status_code == 200
    return answer.content.decode()


def look_and_apply(admin: Client, where: str, typed: dict[str, str]) -> Any:
    """Preview what is typed, and send the page that it answers with."""
    seen = admin.post(where, {**typed, "preview": ""})
    form = seen.context["form"]
    assert form.is_valid(), form.errors
    return admin.post(where, {**typed, "previewed": form.data["previewed"], "apply": ""})


def work() -> None:
    for asked in LatePricing.objects.filter(finished_at=None):
        while jobs.price_late(asked.pk) is not None:
            continue
    everywhere.follow_all()


def test_without_anything_unpriced_the_page_says_so(admin: Client) -> None:
    assert "Everything has its price" in text(admin.get(QUEUE))


def test_the_queue_groups_what_has_no_price(admin: Client, use: Callable, alice: User) -> None:
    use()
    use(occurred_at="2026-05-03T12:00:00Z", account=open_business_account("Other", owner=alice).public_id)
    use(quantities={"sheets": 2}, model="n")

    answer = admin.get(QUEUE)

    rows = [row["line"] for row in answer.context["rows"]]
    found = [(r.model.name, r.operation, r.unit, r.quantity, r.records, r.accounts) for r in rows]
    assert found == [("m", "dream", "pages", 60_000, 2, 2), ("n", "dream", "sheets", 20_000, 1, 1)]
    assert [f"{rows[0].first} {rows[0].last}"] == ["2026-04-01 2026-05-03"]
    assert "no price" in text(answer)


def test_the_queue_is_filtered_by_provider_and_operation(admin: Client, use: Callable) -> None:
    use()
    use(provider="q", operation="sleep")

    def operations(**query: str) -> list[str]:
        return [row["line"].operation for row in admin.get(QUEUE, query).context["rows"]]

    assert sorted(operations()) == ["dream", "sleep"]
    assert operations(provider="p") == ["dream"]
    assert operations(operation="sleep") == ["sleep"]
    assert "Nothing unpriced with these filters" in text(admin.get(QUEUE, {"provider": "nobody"}))


def test_each_row_leads_to_its_records(admin: Client, use: Callable) -> None:
    use()
    add_price(operation="dream", model="m", sheets="1")
    use(event_id="priced", quantities={"sheets": 1})

    listed = text(admin.get(admin.get(QUEUE).context["rows"][0]["records_url"]))

    shown = [pk for pk in Record.objects.values_list("pk", flat=True) if f"/record/{pk}/" in listed]
    assert shown == [Record.objects.order_by("pk").values_list("pk", flat=True)[0]]


def test_a_preview_is_exact_and_writes_nothing(admin: Client, use: Callable, alice: User) -> None:
    other = open_business_account("Other", owner=alice)
    use()
    use(quantities={"pages": "0.3333"})
    use(account=other.public_id, quantities={"pages": 9})
    use(occurred_at="2026-03-01T12:00:00Z")  # before the price

    answer = admin.post(page(), {**TYPED, "price": "0.0000000003", "per": "7", "preview": ""})

    # Each line is rounded by itself: 3 pages are 1.28…, 0.3333 are 0.14…, 9 are 3.85… of 10⁻¹⁰ USD.
    preview = answer.context["preview"]["preview"]
    assert (preview.records, preview.quantity, preview.cost.scaled) == (3, 123_333, 1 + 0 + 4)
    assert [(one.account.name, one.cost.scaled) for one in preview.accounts] == [("Acme", 1), ("Other", 4)]
    assert [one.account.name for one in preview.largest] == ["Other", "Acme"]
    assert "Stays unpriced" in text(answer)
    assert not PricingConfig.objects.filter(operation="dream").exists()
    assert not adjustments()
    assert not LatePricing.objects.exists()


def test_applied_it_costs_what_the_preview_said(admin: Client, use: Callable, staff: User) -> None:
    for n in range(4):
        use(quantities={"pages": f"{n + 1}.1234"})
    seen = admin.post(page(), {**TYPED, "preview": ""}).context["preview"]["preview"]

    answer = look_and_apply(admin, page(), TYPED)
    work()

    asked = LatePricing.objects.get()
    assert answer.url == f"{QUEUE}{asked.pk}/change/"
    assert (asked.records, asked.quantity, asked.cost) == (seen.records, seen.quantity, seen.cost.scaled)
    assert sum(one.cost or 0 for one in adjustments()) == seen.cost.usd
    config = PricingConfig.objects.get(operation="dream")
    assert (config.provider, config.model, config.variant) == ("p", "m", "")
    assert (config.effective_from, config.source) == (
        datetime(2026, 3, 30, 22, tzinfo=UTC),
        "their price page",
    )
    assert (config.created_by, asked.config) == (staff, config)
    assert "Everything has its price" in text(admin.get(QUEUE))
    shown = text(admin.get(answer.url))
    assert "agreed with them" in shown
    assert "done" in shown


def test_who_did_what_and_why_is_in_the_audit_trail(admin: Client, use: Callable, staff: User) -> None:
    use()
    look_and_apply(admin, page(), TYPED)
    work()

    told: dict[str, Any] = {row.action: row for row in AuditEntry.objects.filter(reason="agreed with them")}

    assert set(told) == {"price.added", "unpriced_usage.pricing_asked", "unpriced_usage.priced"}
    assert {row.actor for row in told.values()} == {staff.email}
    asked = told["unpriced_usage.pricing_asked"]
    assert asked.before == {"unpriced": "3 pages", "operation": "dream", "model": "p/m", "accounts": 1}
    assert asked.after["price"].startswith("0.5 per 1 for p|m|dream| from 2026-03-30")
    assert asked.ip_address
    assert told["unpriced_usage.priced"].after["cost_usd"] == "1.5000000000"


def test_applied_twice_it_changes_nothing(admin: Client, use: Callable) -> None:
    use()
    look_and_apply(admin, page(), TYPED)
    again = look_and_apply_known(admin)
    work()

    assert again.status_code == 302
    assert LatePricing.objects.count() == 2
    assert len(adjustments()) == 1
    assert sums() == (1, 0, Decimal("1.5"), 0)
    gone = admin.get(page(), follow=True)
    assert "Nothing of this is unpriced any more." in text(gone)


def look_and_apply_known(admin: Client) -> Any:
    return look_and_apply(admin, page(), {"reason": "once more"})


def test_a_price_that_is_in_the_list_by_now_is_only_looked_at_and_applied(
    admin: Client, use: Callable
) -> None:
    use()
    add_price(model="m", pages="2")
    assert "has a price by now" in text(admin.get(QUEUE))
    assert set(admin.get(page()).context["form"].fields) == {"reason", "previewed"}

    look_and_apply(admin, page(), {"reason": "somebody added it"})
    work()

    assert PricingConfig.objects.filter(model="m").count() == 1
    assert sums() == (1, 0, 6, 0)


def test_a_price_for_a_part_of_the_time_is_applied_alone_or_with_another(
    admin: Client, use: Callable
) -> None:
    use(occurred_at="2026-04-01T12:00:00Z")
    use(occurred_at="2026-05-01T12:00:00Z")
    add_price(model="m", pages="2", since=datetime(2026, 4, 15, tzinfo=UTC))

    assert "a price for a part" in text(admin.get(QUEUE))
    look_and_apply(admin, page(), {**TYPED, "price": ""})
    work()
    assert sums() == (2, 1, 6, 3)
    look_and_apply(admin, page(), {**TYPED, "level": "model"})
    work()
    assert sums() == (2, 0, Decimal("7.5"), 0)


def test_what_was_not_looked_at_is_not_applied(admin: Client, use: Callable) -> None:
    use()
    seen = admin.post(page(), {**TYPED, "preview": ""}).context["form"].data["previewed"]

    changed = admin.post(page(), {**TYPED, "price": "5", "previewed": seen, "apply": ""})

    assert "Look at what this comes to first" in text(changed)
    assert changed.context["preview"]["preview"].cost.usd == 15
    assert not LatePricing.objects.exists()


@pytest.mark.parametrize(
    ("field", "typed", "error"),
    [
        ("reason", "  ", "Say why; the reason is kept."),
        ("price", "", "This field is required."),
        ("price", "-1", "Ensure this value is greater than or equal to 0."),
        ("price", "0.00000000001", "Use a larger “per”"),
        ("price", "many", "Enter a number."),
        ("per", "0", "Ensure this value is greater than or equal to 1."),
        ("level", "everything", "Select a valid choice."),
        ("effective_from_0", "soon", "Enter a valid date."),
    ],
)
def test_bad_input_is_told_beside_its_field_and_nothing_is_written(
    field: str, typed: str, error: str, admin: Client, use: Callable
) -> None:
    use()

    answer = admin.post(page(), {**TYPED, field: typed, "apply": ""})

    name = field.removesuffix("_0")
    assert error in "".join(answer.context["form"].errors[name])
    assert not LatePricing.objects.exists()
    assert not PricingConfig.objects.filter(model="m").exists()


def test_a_second_unit_joins_the_price_of_that_instant(admin: Client, use: Callable) -> None:
    use(quantities={"pages": 3, "sheets": 2})
    look_and_apply(admin, page(), TYPED)
    look_and_apply(admin, page("sheets"), {**TYPED, "price": "10"})
    work()

    config = PricingConfig.objects.get(operation="dream")
    assert config.rates.count() == 2
    assert sums() == (1, 0, Decimal("21.5"), 0)


def test_a_price_that_is_there_already_is_refused(admin: Client, use: Callable) -> None:
    use(occurred_at="2026-04-01T12:00:00Z")
    use(occurred_at="2026-05-01T12:00:00Z")
    add_price(provider="p", model="m", operation="dream", pages="2", since=datetime(2026, 4, 15, tzinfo=UTC))

    typed = {**TYPED, "effective_from_0": "2026-04-15", "effective_from_1": "00:00"}
    answer = admin.post(page(), {**typed, "preview": ""})

    assert "There is a price for this from this instant already." in text(answer)


def test_the_suggested_start_is_before_the_first_instant_in_any_zone(admin: Client, use: Callable) -> None:
    use()

    form = admin.get(page()).context["form"]

    assert form.initial["effective_from"] == datetime(2026, 3, 30, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rights", "looked_at", "acted_on"),
    [((), 403, 403), (("view_pricingconfig",), 200, 403)],
)
def test_who_may_look_looks_and_who_may_add_prices_acts(
    rights: tuple[str, ...], looked_at: int, acted_on: int, client: Client, use: Callable
) -> None:
    use()
    person = User.objects.create_user("viewer@example.com", "correct horse", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=rights))
    client.force_login(person)

    assert client.get(QUEUE).status_code == looked_at
    assert client.get(page()).status_code == looked_at
    assert client.post(page(), {**TYPED, "preview": ""}).status_code == acted_on
    assert not LatePricing.objects.exists()


def test_what_names_nothing_is_not_found(admin: Client, use: Callable) -> None:
    use()

    assert admin.get(f"{QUEUE}price/999999/1/1/").status_code == 404
    assert admin.get(f"{QUEUE}999999/change/").status_code in (302, 404)


def test_too_much_to_look_at_is_estimated_by_day_and_said_to_be(
    admin: Client, use: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    use()
    use(occurred_at="2026-04-02T12:00:00Z")
    monkeypatch.setattr(unpriced, "RECORDS_AT_MOST", 1)

    answer = admin.post(page(), {**TYPED, "preview": ""})

    assert "About what it would cost" in text(answer)
    assert answer.context["preview"]["preview"].cost.usd == 3


def test_a_page_has_few_queries(admin: Client, use: Callable, django_assert_max_num_queries: Any) -> None:
    for n in range(8):
        use(model=f"m{n}", operation=f"dream{n}")
    use()
    price_book.current()
    for where in (QUEUE, page()):
        with django_assert_max_num_queries(15):
            admin.get(where)


def test_the_pages_of_a_record_say_that_it_was_priced_later(
    admin: Client, use: Callable, acme: Account
) -> None:
    use()
    look_and_apply(admin, page(), TYPED)
    work()
    original, later = Record.objects.get(counts=1), Record.objects.get(counts=0)

    assert f"/record/{later.pk}/" in text(admin.get(f"/admin/usage/record/{original.pk}/change/"))
    shown = text(admin.get(f"/admin/usage/record/{later.pk}/change/"))
    assert "Adjusts" in shown
    assert "adjustment" in shown
    assert "priced later" in shown
    owner = Client()
    owner.force_login(User.objects.get(email="alice@example.com"))
    seen = text(owner.get(f"/settings/usage/history/rec_{original.pk}/"))
    assert "Priced later by" in seen
    assert f"rec_{later.pk}" in seen
    assert "Adjusts" in text(owner.get(f"/settings/usage/history/rec_{later.pk}/"))
    assert Rate.objects.filter(config__operation="dream").count() == 1
