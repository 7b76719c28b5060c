"""The Alerts page in a browser: everything can be done, axe finds nothing, nothing sticks out."""

import pytest
from playwright.sync_api import expect

from accounts.models import Account, User
from billing import plans
from billing.models import Plan
from tests.browser.axe import SCREENS, violations, width_beyond_the_screen
from tests.browser.conftest import PHONE, Visit
from tests.conftest import Api
from tests.usage.alerted import STAFF, cost, cost_thresholds, look, look_at_costs, use
from tests.usage.quotas import limit
from usage import worker
from usage.alerts import webhook
from usage.models import AlertDelivery

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

State = AlertDelivery.State


@pytest.fixture
def limited_acme(acme: Account) -> Account:
    plans.change_plan(acme, Plan.objects.get(code="enterprise"), actor="staff@example.com")
    limit(acme, "api_calls", 100)
    limit(acme, "storage_bytes", 10**12)
    return acme


@pytest.fixture
def alerted_acme(limited_acme: Account, service_api: Api) -> Account:
    """Acme with an alert of each kind, and a message in each state."""
    account = limited_acme
    webhook.save_url(account, f"https://hooks.example.com/{'long-' * 60}", STAFF)
    cost_thresholds(account, "0.01", "900000000")
    use(service_api, 96, account=account.public_id)
    quantities = {"bytes": str(10**12)}
    service_api.record(account=account.public_id, operation="file_upload", quantities=quantities)
    cost(service_api, account, "9999999")
    look()
    look_at_costs()
    rows = list(AlertDelivery.objects.order_by("pk"))
    values = [
        {"state": State.FAILED, "attempts": 12, "error": "hooks.example.com answered with status 503."},
        {"state": State.WAITING, "attempts": 3, "error": f"{'h' * 200}.example.com could not be found."},
    ]
    for row, value in zip(rows, values, strict=False):
        AlertDelivery.objects.filter(pk=row.pk).update(**value)
    AlertDelivery.objects.filter(pk__gt=rows[1].pk).update(state=State.SENT, sent_at=rows[1].created_at)
    return account


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_where_much_was_told(
    visit: Visit, alice: User, bob: User, alerted_acme: Account, screen: dict
) -> None:
    for user in (alice, bob):
        page = visit("/settings/alerts/", user, alerted_acme, **screen)
        expect(
            page.get_by_text("Webhook: failed").or_(page.get_by_text("E-mail: failed")).first
        ).to_be_visible()
        assert violations(page) == []
        assert width_beyond_the_screen(page) <= 0


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing_where_nothing_was_told_and_something_is_wrong(
    visit: Visit, alice: User, limited_acme: Account, screen: dict
) -> None:
    page = visit("/settings/alerts/", alice, limited_acme, **screen)
    page.locator(".more > summary").click()
    assert violations(page) == []
    assert width_beyond_the_screen(page) <= 0
    page.get_by_label("API calls").fill("eighty")
    page.get_by_label("Cost in a month").fill("lots")
    page.get_by_role("button", name="Save thresholds").click()
    field = page.get_by_label("API calls")
    expect(field).to_have_value("eighty")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("alert")).to_contain_text("Nothing was saved.")
    assert violations(page) == []
    assert width_beyond_the_screen(page) <= 0


def test_thresholds_are_set_reached_and_told(
    visit: Visit, alice: User, limited_acme: Account, service_api: Api
) -> None:
    page = visit("/settings/alerts/", alice, limited_acme)
    page.get_by_label("API calls").fill("50, 90")
    page.get_by_label("Cost in a month").fill("25")
    page.get_by_role("button", name="Save thresholds").click()
    expect(page.get_by_role("status")).to_have_text("The thresholds are saved.")
    use(service_api, 60, account=limited_acme.public_id)
    worker.drain()
    page.reload()
    row = page.get_by_role("row").filter(has_text="API calls at 50 %")
    expect(row).to_contain_text("60 of 100 calls (60 %)")
    expect(row).to_contain_text("E-mail: delivered")


def test_a_webhook_is_set_by_keyboard_alone_and_its_secret_shown_once(
    visit: Visit, alice: User, limited_acme: Account
) -> None:
    page = visit("/settings/alerts/", alice, limited_acme, viewport=PHONE)
    page.get_by_label("Address").focus()
    page.keyboard.type("https://hooks.example.com/tollgate")
    page.keyboard.press("Enter")
    secret = page.get_by_label("Secret of the webhook")
    expect(secret).to_contain_text("tgwh_")
    assert violations(page) == []
    assert width_beyond_the_screen(page) <= 0
    page.goto("/settings/alerts/")
    expect(page.get_by_label("Secret of the webhook")).to_have_count(0)
    page.get_by_role("button", name="Remove webhook").click()
    expect(page.get_by_role("status")).to_have_text("There is no webhook any more.")


def test_a_failed_message_is_sent_again(visit: Visit, alice: User, alerted_acme: Account) -> None:
    page = visit("/settings/alerts/", alice, alerted_acme)
    page.get_by_role("button", name="Retry").click()
    expect(page.get_by_role("status")).to_have_text("The message is sent again.")
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)


def test_everything_works_without_javascript(visit: Visit, alice: User, limited_acme: Account) -> None:
    page = visit("/settings/alerts/", alice, limited_acme, java_script_enabled=False)
    page.get_by_label("Nobody").check()
    page.get_by_role("button", name="Save who gets mail").click()
    expect(page.get_by_text("Nobody gets mail.")).to_be_visible()
