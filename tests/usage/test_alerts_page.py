"""/settings/alerts/: managers change what is told and whom, members see it, strangers find nothing."""

import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import Account, AuditEntry, Member, User
from billing import plans
from billing.models import Plan
from tests.conftest import Api
from tests.usage.alerted import look, told, use
from tests.usage.quotas import limit
from usage import worker
from usage.alerts import rules
from usage.models import AlertDelivery, AlertSettings, Job, Meter

pytestmark = pytest.mark.django_db

PAGE = "/settings/alerts/"
HOOK = "https://hooks.example.com/tollgate?token=s3cr3t"


@pytest.fixture
def browser_of(acme: Account) -> Callable[[User], Client]:
    def open_browser(user: User) -> Client:
        browser = Client()
        browser.force_login(user)
        browser.post("/accounts/switch/", {"account": acme.public_id})
        return browser

    return open_browser


@pytest.fixture
def alice_s(browser_of: Callable, alice: User, acme: Account) -> Client:
    plans.change_plan(acme, Plan.objects.get(code="enterprise"), actor="staff@example.com")
    limit(acme, "api_calls", 100)
    return browser_of(alice)


@pytest.fixture
def bob_s(browser_of: Callable, bob: User, alice_s: Client) -> Client:
    return browser_of(bob)


def html(browser: Client, query: str = "") -> str:
    answer = browser.get(PAGE + query)
    assert answer.status_code == 200
    return answer.content.decode()


def field(slug: str) -> str:
    return f"meter-{Meter.objects.get(slug=slug).pk}"


def save(browser: Client, form: str, **values: object) -> str:
    return browser.post(PAGE, {"form": form, **values}, follow=True).content.decode()


def delivery_of(acme: Account, service_api: Api) -> AlertDelivery:
    use(service_api, 85, account=acme.public_id)
    look()
    return AlertDelivery.objects.get(channel="email")


# Thresholds


def test_a_limited_meter_shows_the_default_thresholds(alice_s: Client) -> None:
    page = html(alice_s)
    assert f'name="{field("api_calls")}" value="80, 95, 100"' in page
    assert "Voice minutes" not in page
    assert "No threshold was reached yet." in page


def test_an_owner_changes_thresholds_and_it_is_written_down(
    alice_s: Client, acme: Account, alice: User
) -> None:
    page = save(alice_s, "thresholds", **{field("api_calls"): "95 %, 50", "cost": "$25, 100.50"})
    entry = AuditEntry.objects.get(action="alerts.thresholds_changed")
    assert "The thresholds are saved." in page
    assert f'name="{field("api_calls")}" value="50, 95"' in page
    assert rules.settings_of(acme.pk).cost_amounts == ["25", "100.5"]
    assert entry.before == {"api_calls": [80, 95, 100], "cost": []}
    assert entry.after == {"api_calls": [50, 95], "cost": ["25", "100.5"]}
    assert (entry.actor, entry.account_public_id) == (alice.email, acme.public_id)


def test_thresholds_that_are_saved_as_they_were_write_nothing(alice_s: Client) -> None:
    save(alice_s, "thresholds", **{field("api_calls"): "100, 80, 95", "cost": ""})
    assert not AuditEntry.objects.filter(action__startswith="alerts.").exists()


def test_new_thresholds_are_looked_at_without_waiting(
    alice_s: Client, acme: Account, service_api: Api
) -> None:
    use(service_api, 60, account=acme.public_id)
    look()
    save(alice_s, "thresholds", **{field("api_calls"): "50", "cost": ""})
    assert Job.objects.filter(name="usage.find_crossings", state=Job.State.QUEUED).exists()
    worker.drain()
    assert told(acme) == [50]


@pytest.mark.parametrize(
    "text", ["0", "-5", "1001", "80.5", "eighty", "1,2,3,4,5,6,7,8,9,10,11", "٨٠", "9" * 80]
)
def test_what_is_no_percentage_is_refused_at_its_field(alice_s: Client, acme: Account, text: str) -> None:
    answer = alice_s.post(PAGE, {"form": "thresholds", field("api_calls"): text, "cost": "25"})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert f'id="{field("api_calls")}-wrong"' in page
    assert 'aria-invalid="true"' in page
    assert "Nothing was saved." in page
    assert rules.settings_of(acme.pk).cost_amounts == []


@pytest.mark.parametrize("text", ["0", "-1", "1e3", "NaN", "999999999", "0.00000000001", "10 euros"])
def test_what_is_no_amount_is_refused_at_its_field(alice_s: Client, text: str) -> None:
    answer = alice_s.post(PAGE, {"form": "thresholds", "cost": text})
    assert answer.status_code == 200
    assert 'id="cost-wrong"' in answer.content.decode()
    assert not AlertSettings.objects.exists()


def test_a_meter_of_nobody_s_limit_cannot_be_slipped_in(alice_s: Client, acme: Account) -> None:
    save(alice_s, "thresholds", **{field("voice_minutes"): "5", "cost": ""})
    assert rules.all_percentages(acme.pk) == {}


# Who gets mail


def test_managers_get_mail_unless_others_are_chosen(alice_s: Client, bob: User) -> None:
    assert "Mail goes to alice@example.com." in html(alice_s)
    page = save(alice_s, "mail", mail_to="chosen", users=[str(bob.pk)])
    assert "Mail goes to bob@example.com." in page
    assert "Nobody gets mail." in save(alice_s, "mail", mail_to="nobody")


def test_a_stranger_cannot_be_chosen(alice_s: Client, acme: Account, charlie: User) -> None:
    page = save(alice_s, "mail", mail_to="chosen", users=[str(charlie.pk)])
    assert "is not a member any more" in page
    assert rules.settings_of(acme.pk).mail_to == "managers"


@pytest.mark.parametrize("users", [[], ["x"], ["9" * 40]])
def test_choosing_nobody_by_name_is_refused(alice_s: Client, users: list[str]) -> None:
    assert "Choose at least one member." in save(alice_s, "mail", mail_to="chosen", users=users)


# Webhook


def test_the_secret_is_shown_once_and_a_new_one_can_be_made(alice_s: Client) -> None:
    first = re.search(r"tgwh_[\w-]{43}", save(alice_s, "webhook", url=HOOK))
    assert first is not None
    assert first[0] not in html(alice_s)
    second = re.search(r"tgwh_[\w-]{43}", save(alice_s, "rotate"))
    assert second is not None
    assert second[0] != first[0]
    assert "tgwh_" not in html(alice_s)


def test_no_secret_and_no_address_is_written_into_the_trail(alice_s: Client) -> None:
    save(alice_s, "webhook", url=HOOK)
    save(alice_s, "rotate")
    kept = [(entry.action, entry.before, entry.after) for entry in AuditEntry.objects.order_by("pk")]
    assert ("alerts.webhook_changed", {"host": ""}, {"host": "hooks.example.com"}) in kept
    assert "s3cr3t" not in str(kept)
    assert "tgwh_" not in str(kept)


def test_no_secret_is_stored(alice_s: Client, acme: Account) -> None:
    shown = re.search(r"tgwh_[\w-]{43}", save(alice_s, "webhook", url=HOOK))
    assert shown is not None
    stored = AlertSettings.objects.filter(account=acme).values().get()
    assert shown[0].removeprefix("tgwh_") not in str(stored)


def test_a_removed_webhook_is_gone_with_its_secret(alice_s: Client, acme: Account) -> None:
    save(alice_s, "webhook", url=HOOK)
    page = save(alice_s, "webhook", url="")
    stored = AlertSettings.objects.get(account=acme)
    assert "There is no webhook any more." in page
    assert (stored.webhook_url, stored.webhook_nonce) == ("", "")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://u:p@example.com/",
        "nonsense",
    ],
)
def test_an_address_that_is_not_posted_to_is_refused_at_its_field(alice_s: Client, url: str) -> None:
    answer = alice_s.post(PAGE, {"form": "webhook", "url": url})
    assert answer.status_code == 200
    assert 'id="url-wrong"' in answer.content.decode()
    assert not AlertSettings.objects.exists()


# What was told


def test_what_was_told_is_listed_with_what_became_of_it(
    alice_s: Client, acme: Account, service_api: Api
) -> None:
    delivery_of(acme, service_api)
    assert "E-mail: waiting" in html(alice_s)
    worker.drain()
    page = html(alice_s)
    assert "API calls" in page
    assert "at 80 %" in page
    assert "85 of 100 calls (85 %)" in page
    assert "E-mail: delivered" in page
    assert "Retry" not in page


def test_a_failed_message_says_why_and_is_sent_again(
    alice_s: Client, acme: Account, service_api: Api
) -> None:
    row = delivery_of(acme, service_api)
    AlertDelivery.objects.update(
        state=AlertDelivery.State.FAILED, error="The mail server slept.", attempts=12
    )
    page = html(alice_s)
    assert "E-mail: failed" in page
    assert "The mail server slept." in page
    alice_s.post(f"{PAGE}{row.pk}/retry/")
    worker.drain()
    row.refresh_from_db()
    assert row.state == AlertDelivery.State.SENT
    assert AuditEntry.objects.filter(action="alert_delivery.retried").exists()


def test_older_alerts_are_on_further_pages(alice_s: Client, acme: Account, service_api: Api) -> None:
    percentages = list(range(1, 11))
    limit(acme, "ai_queries", 100)
    limit(acme, "chat_messages", 100)
    meters = {
        m.pk: percentages for m in Meter.objects.filter(slug__in=("api_calls", "ai_queries", "chat_messages"))
    }
    rules.save_thresholds(acme, meters, [], rules.By("staff@example.com"))
    use(service_api, 100, account=acme.public_id)
    for operation, unit in (("ai_query", "requests"), ("chat_message", "messages")):
        service_api.record(account=acme.public_id, operation=operation, quantities={unit: 100})
    look()
    first = html(alice_s)
    older = re.search(r"\?before=(\d+)", first)
    assert older is not None
    second = html(alice_s, f"?before={older[1]}")
    rows = [page.count('class="what"') for page in (first, second)]
    assert rows == [20, 10]
    assert html(alice_s, "?before=x").count('class="what"') == 20
    assert "No older alerts." in html(alice_s, "?before=1")


def test_a_plan_without_alerts_says_so(alice_s: Client, acme: Account) -> None:
    assert "comes without alerts" not in html(alice_s)
    plans.change_plan(acme, Plan.objects.get(code="demo"), actor="staff@example.com")
    assert "Your plan comes without alerts." in html(alice_s)


# Roles


def test_a_member_sees_and_may_not_change(
    bob_s: Client, alice_s: Client, acme: Account, service_api: Api
) -> None:
    save(alice_s, "webhook", url=HOOK)
    row = delivery_of(acme, service_api)
    AlertDelivery.objects.update(state=AlertDelivery.State.FAILED)
    page = html(bob_s)
    assert "80 %, 95 %, 100 %" in page
    assert "hooks.example.com" in page
    assert "s3cr3t" not in page
    assert "<input" not in page.partition("<main")[2]
    for path, body in (
        (PAGE, {"form": "thresholds", "cost": "1"}),
        (f"{PAGE}test/", {}),
        (f"{PAGE}{row.pk}/retry/", {}),
    ):
        assert bob_s.post(path, body).status_code == 403
    assert rules.settings_of(acme.pk).cost_amounts == []


def test_an_admin_may_change(bob_s: Client, acme: Account, bob: User) -> None:
    Member.objects.filter(account=acme, user=bob).update(role=Member.Role.ADMIN)
    save(bob_s, "thresholds", cost="7")
    assert rules.settings_of(acme.pk).cost_amounts == ["7"]


def test_a_stranger_finds_nothing(alice_s: Client, acme: Account, charlie: User, service_api: Api) -> None:
    row = delivery_of(acme, service_api)
    AlertDelivery.objects.update(state=AlertDelivery.State.FAILED)
    browser = Client()
    browser.force_login(charlie)
    assert browser.get(f"{PAGE}?account={acme.public_id}").status_code == 404
    assert browser.post(f"{PAGE}?account={acme.public_id}", {"form": "thresholds"}).status_code == 404
    assert browser.post(f"{PAGE}{row.pk}/retry/").status_code == 404
    assert browser.post(f"{PAGE}{'9' * 40}/retry/").status_code == 404
    assert "API calls" not in html(browser)


def test_who_is_not_signed_in_is_asked_to(client: Client) -> None:
    assert client.get(PAGE).headers["Location"] == f"/accounts/login/?next={PAGE}"


def test_a_form_that_there_is_none_of_is_404(alice_s: Client) -> None:
    assert alice_s.post(PAGE, {"form": "nonsense"}).status_code == 404


def test_the_page_stays_within_its_budget(alice_s: Client, acme: Account, service_api: Api) -> None:
    delivery_of(acme, service_api)
    save(alice_s, "webhook", url=HOOK)
    html(alice_s)
    with CaptureQueriesContext(connection) as queries:
        page = html(alice_s)
    assert len(queries) <= 12, [query["sql"][:90] for query in queries]
    assert len(page) < 100_000
