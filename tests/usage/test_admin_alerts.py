"""Alerts in the admin: looked at, sent again, and thresholds changed for an account."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import Account, AuditEntry, User
from billing import plans
from billing.models import Plan
from tests.conftest import Api
from tests.usage.alerted import STAFF, cost, cost_thresholds, look, look_at_costs, thresholds, told, use
from tests.usage.quotas import limit
from usage import worker
from usage.alerts import rules, webhook
from usage.models import Alert, AlertDelivery, AlertRule, AlertSettings

pytestmark = pytest.mark.django_db

State = AlertDelivery.State


@pytest.fixture(autouse=True)
def crossed(acme: Account, service_api: Api) -> None:
    plans.change_plan(acme, Plan.objects.get(code="enterprise"), actor="staff@example.com")
    limit(acme, "api_calls", 100)
    use(service_api, 96, account=acme.public_id)
    look()


@pytest.fixture
def staff_s(client: Client, staff: User) -> Client:
    client.force_login(staff)
    return client


def listing(staff_s: Client, model: str, **query: str) -> str:
    answer = staff_s.get(reverse(f"admin:usage_{model}_changelist"), query)
    assert answer.status_code == 200
    return answer.content.decode()


def page(staff_s: Client, row: Alert | AlertDelivery | AlertRule | AlertSettings) -> str:
    answer = staff_s.get(reverse(f"admin:usage_{row._meta.model_name}_change", args=[row.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_alerts_are_listed_with_what_was_used_and_what_became_of_their_messages(staff_s: Client) -> None:
    html = listing(staff_s, "alert")
    assert "api_calls at 95 %" in html
    assert "96 of 100 calls (96 %)" in html
    assert "email waiting" in html
    assert "told with a higher threshold" in html


def test_an_alert_of_cost_is_shown_in_money(staff_s: Client, acme: Account, service_api: Api) -> None:
    cost_thresholds(acme, "25")
    cost(service_api, acme, "30")
    look_at_costs()
    html = page(staff_s, Alert.objects.get(watched="cost"))
    assert "cost at $25.00" in html
    assert "$30.96" in html  # the calls cost something, too


def test_alerts_are_found_by_account(staff_s: Client, acme: Account, charlie: User) -> None:
    assert "api_calls at 95 %" in listing(staff_s, "alert", q=acme.public_id)
    assert "api_calls at 95 %" not in listing(staff_s, "alert", q=charlie.email)


def test_a_list_of_many_asks_no_more_than_a_list_of_few(
    staff_s: Client, acme: Account, django_assert_max_num_queries
) -> None:
    thresholds(acme, "api_calls", *range(1, 11))
    look()
    with django_assert_max_num_queries(14):
        listing(staff_s, "alert")


def test_a_failed_message_is_sent_again_and_that_is_written_down(staff_s: Client) -> None:
    AlertDelivery.objects.update(state=State.FAILED, attempts=12, error="The mail server slept.")
    row = AlertDelivery.objects.get()
    retry = reverse("admin:usage_alertdelivery_retry", args=[row.pk])
    assert "The mail server slept." in staff_s.get(retry).content.decode()
    staff_s.post(retry, {"reason": "mended"})
    worker.drain()
    row.refresh_from_db()
    assert row.state == State.SENT
    assert AuditEntry.objects.get(action="alert_delivery.retried").reason == "mended"


def test_failed_messages_raise_the_alarm(staff_s: Client) -> None:
    words = "alert messages that failed"
    assert words not in staff_s.get("/admin/").content.decode()
    AlertDelivery.objects.update(state=State.FAILED)
    assert words in staff_s.get("/admin/").content.decode()
    assert listing(staff_s, "alertdelivery", state__exact=str(State.FAILED.value)).count("E-mail") >= 1


def test_thresholds_that_staff_change_hold_at_once(staff_s: Client, acme: Account) -> None:
    thresholds(acme, "api_calls", 80, 100)
    rule = AlertRule.objects.get()
    address = reverse("admin:usage_alertrule_change", args=[rule.pk])
    staff_s.post(address, {"percentages": "40, 90 %"})
    worker.drain()
    assert AlertRule.objects.get().percentages == [40, 90]
    assert told(acme) == [80, 95, 40, 90]
    assert AuditEntry.objects.filter(action="alert_rule.changed").exists()


def test_thresholds_that_are_none_are_refused_in_the_admin_too(staff_s: Client, acme: Account) -> None:
    thresholds(acme, "api_calls", 80)
    address = reverse("admin:usage_alertrule_change", args=[AlertRule.objects.get().pk])
    assert "whole number of per cent" in staff_s.post(address, {"percentages": "lots"}).content.decode()
    assert AlertRule.objects.get().percentages == [80]


def test_a_rule_that_is_deleted_leaves_the_default_ones(staff_s: Client, acme: Account) -> None:
    thresholds(acme, "api_calls", 10)
    staff_s.post(reverse("admin:usage_alertrule_delete", args=[AlertRule.objects.get().pk]), {"post": "yes"})
    assert rules.percentages(acme.pk, Alert.objects.all()[0].meter_id or 0) == (80, 95, 100)
    assert AuditEntry.objects.filter(action="alert_rule.deleted").exists()


def test_settings_show_the_host_of_a_webhook_and_no_secret(staff_s: Client, acme: Account) -> None:
    secret = webhook.save_url(acme, "https://hooks.example.com/?token=s3cr3t", STAFF)
    html = page(staff_s, AlertSettings.objects.get()) + listing(staff_s, "alertsettings")
    assert secret is not None
    assert "hooks.example.com" in html
    assert "s3cr3t" not in html
    assert secret not in html
    assert AlertSettings.objects.get().webhook_nonce not in html
