"""A plan's changed limit shows first how many accounts it puts over, and is saved when confirmed."""

from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.lifecycle import open_business_account
from accounts.models import Account, User
from billing import limit_preview, plans
from billing.limit_preview import Change, Terms
from billing.models import Plan, PlanLimit
from tests.billing import test_admin_plans_change as forms
from tests.billing.test_admin_plans_change import limit_of, plan, position
from tests.conftest import Api
from tests.reasons import GivesReasons
from usage.models import Balance, Meter, Window
from usage.quotas import limits

IMAGES = "image_generations"


@pytest.fixture
def admin(staff: User) -> Client:
    client = GivesReasons()
    client.force_login(staff)
    return client


@pytest.fixture
def three(alice: User, service_api: Api) -> list[Account]:
    """On Free, with 10, 60 and 150 images used in the running window; a fourth used nothing."""
    accounts = [open_business_account(f"Used {n}", owner=alice) for n in (10, 60, 150, 0)]
    for account, used in zip(accounts, (10, 60, 150, 0), strict=True):
        plans.change_plan(account, plan("free"), actor="test")
        if used:
            answer = service_api.record(
                account=account.public_id, operation="image_generation", quantities={"output_images": used}
            )
            assert answer.status_code == 201
    return accounts


def form_of(plan: Plan, **changes: object) -> dict[str, object]:
    """What is sent before anything is confirmed."""
    return forms.form_of(plan, confirmed=None, **changes)


def terms(limit: int, included: int | None = None, window: str = "") -> Terms:
    """What Free says, with other amounts."""
    told = None if included is None else Decimal(included)
    return Terms(Decimal(limit), told, window=window or limit_of("free").window)


def place(code: str = "free") -> str:
    return f"/admin/billing/plan/{plan(code).pk}/change/"


def text_of(answer: object) -> str:
    return " ".join(answer.content.decode().split())  # type: ignore[attr-defined]


def test_a_lower_limit_says_how_many_it_puts_over_and_is_saved_when_confirmed(
    admin: Client, three: list[Account]
) -> None:
    free = plan("free")
    sent = form_of(free, **{f"{position(free)}-limit": "60"})

    page = text_of(admin.post(place(), sent))

    assert "4 accounts are on this plan." in page
    assert "2 accounts are at or above the new limit already (1 was at the old one)" in page
    assert "image_generations: of 1 account nothing is known" in page
    assert "Nothing more is admitted there in this window." in page
    largest = page[page.index("The accounts furthest") :]
    assert largest.index("Used 150") < largest.index("Used 60")
    assert "Used 10<" not in largest
    assert limit_of("free").limit == 100
    assert admin.post(place(), {**sent, "confirmed": ""}).status_code == 302
    assert limit_of("free").limit == 60


def test_what_else_is_posted_is_carried_and_validated_again(admin: Client, three: list[Account]) -> None:
    free = plan("free")
    sent = form_of(free, **{f"{position(free)}-limit": "60"})
    page = admin.post(place(), {**sent, "reason": "they asked <for> it"}).content.decode()
    assert '<input type="hidden" name="reason" value="they asked &lt;for&gt; it">' in page
    wrong = {**sent, f"{position(free)}-limit": "-1x", "confirmed": ""}
    assert "Enter a number" in admin.post(place(), wrong).content.decode()
    assert limit_of("free").limit == 100


def test_a_limit_of_its_own_page_is_previewed_too(admin: Client, three: list[Account]) -> None:
    row = limit_of("free")
    fields = {"limit": "60", "enforcement": "soft", "window": row.window}
    where = f"/admin/billing/planlimit/{row.pk}/change/"
    assert "2 accounts are at or above" in text_of(admin.post(where, fields))
    assert admin.post(where, {**fields, "confirmed": ""}).status_code == 302
    assert (limit_of("free").limit, limit_of("free").enforcement) == (60, "soft")


def test_an_account_with_an_override_is_not_put_over(admin: Client, three: list[Account]) -> None:
    meter = Meter.objects.get(slug=IMAGES)
    limits.override(three[2], meter, Decimal(500), actor="test", reason="a trial")
    free = plan("free")
    page = text_of(admin.post(place(), form_of(free, **{f"{position(free)}-limit": "60"})))
    assert "1 account is at or above the new limit already (0 were at the old one)" in page
    assert "overrides of 1 account stay as they are" in page


def test_what_no_account_would_notice_is_saved_at_once(admin: Client, three: list[Account]) -> None:
    assert admin.post(place(), form_of(plan("free"), name="Gratis")).status_code == 302
    pro = plan("pro")  # nobody is on it
    assert admin.post(place("pro"), form_of(pro, **{f"{position(pro)}-limit": "7777"})).status_code == 302
    assert limit_of("pro").limit == 7777


def test_a_deleted_limit_and_a_new_one_are_previewed(admin: Client, three: list[Account]) -> None:
    free = plan("free")
    page = text_of(admin.post(place(), form_of(free, **{f"{position(free)}-DELETE": "on"})))
    assert "unlimited" in page
    assert "No account whose window is open is at or above a new limit." in page
    assert PlanLimit.objects.filter(plan=free, meter__slug=IMAGES).exists()


def test_more_included_says_who_is_beyond_it(three: list[Account]) -> None:
    meter = Meter.objects.get(slug=IMAGES)
    before, after = terms(100, 50), terms(100, 60)
    found = limit_preview.look(plan("free"), 1, [Change(meter, before, after)], timezone.now())
    (standing,) = found.standings
    assert (standing.beyond_included_before, standing.beyond_included) == (2, 1)  # 60 of 60 is not beyond


def test_another_window_has_no_count_of_before(three: list[Account]) -> None:
    meter = Meter.objects.get(slug=IMAGES)
    change = Change(meter, terms(100), terms(100, window="week"))
    (standing,) = limit_preview.look(plan("free"), 1, [change], timezone.now()).standings
    assert (standing.known, standing.at_limit, standing.at_limit_before) == (0, 0, None)


def test_a_window_that_is_over_does_not_count(three: list[Account]) -> None:
    meter = Meter.objects.get(slug=IMAGES)
    Window.objects.update(ends_at=timezone.now())
    assert Balance.objects.filter(meter=meter).count() == 3
    change = Change(meter, terms(100), terms(60))
    (standing,) = limit_preview.look(plan("free"), 1, [change], timezone.now()).standings
    assert (standing.known, standing.at_limit) == (0, 0)


def test_many_accounts_are_read_in_a_few_statements(three: list[Account]) -> None:
    meters = list(Meter.objects.filter(slug__in=[IMAGES, "chat_messages", "video_generations"]))
    changes = [Change(meter, terms(100), terms(60)) for meter in meters]
    with CaptureQueriesContext(connection) as queries:
        found = limit_preview.look(Plan.objects.get(code="free"), 1, changes, timezone.now())
    assert len(queries) <= 4 + 1
    assert {s.change.meter.slug: s.at_limit for s in found.standings}[IMAGES] == 2
