"""Balances, reservations and refusals in the admin, and how an account stands on its page."""

from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.keys import Caller
from accounts.models import SCOPES, Account, AuditEntry, User
from tests.conftest import Api
from usage import jobs
from usage.events import decode_announcement
from usage.models import Balance, Meter, Operation, Refusal, Reservation
from usage.permission import reservations
from usage.quotas import limits, refusals

BALANCES, RESERVATIONS, REFUSALS = (f"/admin/usage/{name}/" for name in ("balance", "reservation", "refusal"))


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


@pytest.fixture
def used(acme: Account, service_api: Api) -> Balance:
    """Acme's chat messages: 3 of 2 used."""
    meter = Meter.objects.get(slug="chat_messages")
    limits.override(acme, meter, Decimal(2), actor="test", reason="tight")
    message = {"account": acme.public_id, "operation": "message_sent", "quantities": {"messages": 3}}
    assert service_api.record(**message).status_code == 201
    return Balance.objects.get(account=acme, meter=meter)


def reserve(account: Account, messages: int = 1) -> Reservation:
    body = f'{{"operation":"message_sent","quantities":{{"messages":{messages}}}}}'
    return reservations.reserve(decode_announcement(body.encode()), Caller(account, frozenset(SCOPES)))


def refuse(account: Account, operation: str, times: int = 1) -> None:
    now = timezone.now()
    operation_id = Operation.objects.get(slug=operation).pk
    refusals.count([(account.pk, 0, operation_id, now.date())] * times, now)


def test_a_balance_is_shown_as_people_read_it(admin: Client, used: Balance) -> None:
    page = admin.get(BALANCES, {"account__id__exact": used.account_id}).content.decode()
    assert '<span class="tg-number">3</span>' in page
    assert '<span class="tg-number">150 %</span>' in page
    assert "tg-bar-full" in page
    detail = admin.get(f"{BALANCES}{used.pk}/change/").content.decode()
    assert "150 %" in detail


def test_balances_are_filtered_by_their_limit_window_and_meter(
    admin: Client, used: Balance, acme: Account
) -> None:
    def shown(**query: str | int) -> set[int]:
        return {row.pk for row in admin.get(BALANCES, query).context["cl"].result_list}

    everything = shown()
    assert used.pk in everything
    assert shown(fill="over") == {used.pk}
    assert shown(fill="room") == everything - {used.pk}
    assert shown(window="open") == everything
    assert shown(window="closed") == set()
    assert shown(meter__id__exact=used.meter_id) == {used.pk}
    reserve(acme, 0)
    Balance.objects.filter(pk=used.pk).update(used=10_000, held=10_000)
    assert shown(fill="over") == set()
    assert shown(fill="full") == {used.pk}
    assert shown(q="charlie@example.com") == set()


def test_balances_are_only_looked_at(admin: Client, used: Balance) -> None:
    assert admin.post(f"{BALANCES}{used.pk}/change/", {"used": "0"}).status_code == 403
    assert admin.post(f"{BALANCES}{used.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin.get(f"{BALANCES}add/").status_code == 403


def test_a_reservation_shows_what_it_holds_and_is_released(
    admin: Client, acme: Account, staff: User, totals_agree: None
) -> None:
    reservation = reserve(acme, 7)
    page = f"{RESERVATIONS}{reservation.pk}"
    shown = admin.get(f"{page}/change/").content.decode()
    assert "chat_messages" in shown
    assert '<span class="tg-number">7</span>' in shown
    assert f"{page}/release/" in shown

    assert admin.post(f"{page}/release/", {"reason": "the client is gone"}).status_code == 302

    reservation.refresh_from_db()
    assert reservation.state == Reservation.State.RELEASED
    assert not Balance.objects.filter(account=acme, held__gt=0).exists()
    entry = AuditEntry.objects.get(action="reservation.released")
    assert (entry.subject, entry.reason, entry.actor_id) == (str(reservation), "the client is gone", staff.pk)
    assert f"{page}/release/" not in admin.get(f"{page}/change/").content.decode()
    assert admin.post(f"{page}/release/", {"reason": "again"}).status_code == 403


def test_reservations_are_found_by_name_account_and_state(admin: Client, acme: Account) -> None:
    first, second = reserve(acme), reserve(acme)
    reservations.release(second)

    def shown(**query: str | int) -> set[int]:
        return {row.pk for row in admin.get(RESERVATIONS, query).context["cl"].result_list}

    assert shown(q=f"res_{first.pk}") == {first.pk}
    assert shown(q=acme.public_id) == {first.pk, second.pk}
    assert shown(state__exact=Reservation.State.OPEN.value) == {first.pk}
    assert shown(q="nobody@example.com") == set()


def test_an_open_reservation_whose_time_is_over_says_so(admin: Client, acme: Account) -> None:
    reservation = reserve(acme)
    Reservation.objects.filter(pk=reservation.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "open, time over" in admin.get(RESERVATIONS).content.decode()


def test_expired_reservations_are_given_back_by_the_clock(acme: Account, totals_agree: None) -> None:
    expiring = reserve(acme, 5)
    with time_machine.travel(timezone.now() + timedelta(seconds=200), tick=True):
        later = reserve(acme, 2)
    with time_machine.travel(timezone.now() + timedelta(seconds=301), tick=True):
        assert jobs.expire_reservations() is None
    states = dict(Reservation.objects.values_list("pk", "state"))
    assert states == {expiring.pk: Reservation.State.EXPIRED, later.pk: Reservation.State.OPEN}
    assert Balance.objects.get(account=acme, meter__slug="chat_messages").held == 2 * 10**4


def test_expiry_goes_on_where_a_step_was_full(acme: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "EXPIRED_AT_ONCE", 1)
    reserve(acme)
    Reservation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert jobs.expire_reservations() is not None
    assert jobs.expire_reservations() is None


def test_refusals_are_listed_with_names_and_filtered(admin: Client, acme: Account, charlie: User) -> None:
    refuse(acme, "message_sent", 3)
    refuse(acme, "ai_query")
    refuse(charlie.personal_account, "ai_query")

    def shown(**query: str | int) -> list[str]:
        rows = admin.get(REFUSALS, query).context["cl"].result_list
        return sorted(f"{row.account.name} {row.operation_name} {row.attempts}" for row in rows)

    mine = ["Acme ai_query 1", "Acme message_sent 3"]
    assert shown(q="Acme") == shown(account_id__exact=acme.pk) == mine
    ai_query = Refusal.objects.filter(attempts=1)[0].operation_id
    assert shown(operation=ai_query) == ["Acme ai_query 1", "Charlie ai_query 1"]
    today = timezone.now().date()
    assert len(shown(local_day_from=today.isoformat())) == 3
    assert shown(local_day_from=(today + timedelta(days=2)).isoformat()) == []
    assert shown(operation="x") == []


def test_a_page_of_refusals_takes_few_queries(
    admin: Client, acme: Account, django_assert_max_num_queries: object
) -> None:
    slugs = [f"operation_{n}" for n in range(30)]
    Operation.objects.bulk_create(Operation(slug=slug, name=slug) for slug in slugs)
    for slug in slugs:
        refuse(acme, slug)
    with django_assert_max_num_queries(15):  # type: ignore[operator]
        page = admin.get(REFUSALS).content.decode()
    assert all(slug in page for slug in slugs)


def test_an_accounts_page_shows_its_quotas_plan_and_last_refusals(
    admin: Client, acme: Account, used: Balance
) -> None:
    refuse(acme, "message_sent", 3)
    address = f"/admin/accounts/account/{acme.pk}/change/"
    page = admin.get(address).content.decode()
    assert "Demo Plan - Unlimited Access" in page
    limited = admin.get(f"{address}?part=limits").content.decode()
    assert "3 of 2 messages" in limited
    assert "override" in limited
    assert "message_sent, 3 times" in admin.get(f"{address}?part=records").content.decode()
    for place in ("quota/?account__id__exact", "balance/?account__id__exact", "refusal/?account_id__exact"):
        assert f"/admin/usage/{place}={acme.pk}" in page
    assert f"/admin/usage/quota/add/?account={acme.pk}" in limited


def test_an_accounts_page_shows_only_what_one_may_see(acme: Account, used: Balance, client: Client) -> None:
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_account"))
    client.force_login(clerk)
    for part in ("overview", "limits", "records", "billing"):
        page = client.get(f"/admin/accounts/account/{acme.pk}/change/?part={part}").content.decode()
        assert "Acme" in page
        for hidden in ("tg-bar", "Last refusals", "Demo Plan", "/admin/usage/quota/"):
            assert hidden not in page
