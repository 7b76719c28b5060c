"""The webhook: signed as documented, tested by a button, silent about its secrets."""

import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Account, AuditEntry, User
from billing import plans
from billing.models import Plan
from tests.conftest import Api
from tests.usage.alerted import STAFF, cost, cost_thresholds, look, look_at_costs, use
from tests.usage.quotas import limit
from tests.usage.webhooks import HERE, Receiver, receiving
from usage.alerts import deliveries, rules, webhook
from usage.alerts.channels import CHANNELS, Channel, Webhook
from usage.models import AlertDelivery, AlertSettings
from usage.views import alerts as page

pytestmark = pytest.mark.django_db

HERE_ALONE: dict[str, Channel] = {**CHANNELS, "webhook": Webhook(HERE)}
State = AlertDelivery.State


@pytest.fixture
def receiver(settings) -> Iterator[Receiver]:
    settings.DEBUG = True  # http, which this receiver speaks
    with receiving() as server:
        yield server


@pytest.fixture
def secret(acme: Account, receiver: Receiver) -> str:
    """Acme is alerted by a webhook alone; the secret that its owner was shown."""
    plans.change_plan(acme, Plan.objects.get(code="enterprise"), actor="staff@example.com")
    limit(acme, "api_calls", 100)
    rules.save_mail(acme, "nobody", (), STAFF)
    made = webhook.save_url(acme, receiver.url, STAFF)
    assert made is not None
    return made


def send_all() -> None:
    for delivery_id in AlertDelivery.objects.values_list("pk", flat=True):
        deliveries.deliver(delivery_id, HERE_ALONE)


def is_ours(header: str, body: bytes, secret: str) -> bool:
    """As the page tells receivers to verify."""
    parts = [part.split("=", 1) for part in header.split(",")]
    sent_at = next(value for name, value in parts if name == "t")
    expected = hmac.new(secret.encode(), sent_at.encode() + b"." + body, hashlib.sha256).hexdigest()
    matches = [hmac.compare_digest(value, expected) for name, value in parts if name == "v1"]
    return any(matches) and abs(time.time() - int(sent_at)) < 300


def test_a_crossing_is_posted_with_all_that_it_says(
    acme: Account, service_api: Api, receiver: Receiver, secret: str
) -> None:
    use(service_api, 96, account=acme.public_id)
    look()
    send_all()
    (request,) = receiver.received
    event = json.loads(request.body)
    assert request.headers["Content-Type"] == "application/json"
    assert is_ours(request.headers["Tollgate-Signature"], request.body, secret)
    assert (event["type"], event["account"]) == ("usage.threshold_crossed", acme.public_id)
    data = event["data"]
    assert (data["meter"], data["threshold"], data["used"], data["limit"]) == ("api_calls", "95", "96", "100")
    assert (data["percentage"], data["scope"], data["threshold_cost"]) == ("96", "account", None)
    assert data["upgrade_url"].endswith(f"/upgrade/?account={acme.public_id}&meter=api_calls")
    row = AlertDelivery.objects.get()
    assert (row.state, row.recipient, row.attempts) == (State.SENT, "hooks.example.com", 1)


def test_a_threshold_of_cost_is_posted_too(
    acme: Account, service_api: Api, receiver: Receiver, secret: str
) -> None:
    cost_thresholds(acme, "25")
    cost(service_api, acme, "25.10")
    look_at_costs()
    send_all()
    data = json.loads(receiver.received[0].body)["data"]
    assert data["threshold_cost"] == {"USD": "25.0000000000"}
    assert (data["used"], data["unit"], data["limit"], data["threshold"]) == ("25.1", "USD", None, None)


@pytest.mark.parametrize("forged", ["body", "secret", "time"])
def test_what_is_forged_does_not_verify(
    acme: Account, service_api: Api, receiver: Receiver, secret: str, forged: str
) -> None:
    use(service_api, 96, account=acme.public_id)
    look()
    send_all()
    (request,) = receiver.received
    header, body = request.headers["Tollgate-Signature"], request.body
    if forged == "body":
        body = body.replace(b'"96"', b'"97"')
    elif forged == "secret":
        secret = f"{secret}x"
    else:
        header = re.sub(r"t=\d+", f"t={int(time.time()) - 3600}", header)
    assert not is_ours(header, body, secret)


def test_for_a_day_after_a_rotation_both_secrets_sign(acme: Account, secret: str) -> None:
    new = webhook.rotate(acme, STAFF)
    header = webhook.signature(rules.settings_of(acme.pk), acme.public_id, b"{}")
    assert is_ours(header, b"{}", secret)
    assert is_ours(header, b"{}", new)
    AlertSettings.objects.update(webhook_rotated_at=timezone.now() - timedelta(hours=25))
    header = webhook.signature(rules.settings_of(acme.pk), acme.public_id, b"{}")
    assert not is_ours(header, b"{}", secret)
    assert is_ours(header, b"{}", new)


def test_another_account_s_secret_is_another(acme: Account, charlie: User, secret: str) -> None:
    own = charlie.personal_account
    other = webhook.save_url(own, "https://hooks.example.com/", STAFF)
    assert other is not None
    header = webhook.signature(rules.settings_of(own.pk), own.public_id, b"{}")
    assert is_ours(header, b"{}", other)
    assert not is_ours(header, b"{}", secret)


@pytest.mark.parametrize("status", [301, 302, 400, 401, 404, 410, 500, 503])
def test_any_answer_but_success_is_tried_again(
    acme: Account, service_api: Api, receiver: Receiver, secret: str, status: int
) -> None:
    receiver.status, receiver.headers = status, {"Location": "http://169.254.169.254/"}
    use(service_api, 85, account=acme.public_id)
    look()
    send_all()
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempts) == (State.WAITING, 1)
    assert row.error == f"hooks.example.com answered with status {status}."
    receiver.status = 204
    send_all()
    ids = {json.loads(request.body)["id"] for request in receiver.received}
    assert (AlertDelivery.objects.get().state, len(receiver.received), len(ids)) == (State.SENT, 2, 1)


def test_the_product_itself_posts_to_no_private_address(
    acme: Account, service_api: Api, receiver: Receiver, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: [(2, 1, 6, "", ("127.0.0.1", receiver.port))])
    use(service_api, 85, account=acme.public_id)
    look()
    deliveries.deliver(AlertDelivery.objects.get().pk)
    assert receiver.received == []
    assert "private or special address" in AlertDelivery.objects.get().error


def test_no_secret_reaches_log_trail_or_error(
    acme: Account, service_api: Api, receiver: Receiver, secret: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.slowly = lambda handler: handler.wfile.write(b"nonsense")  # type: ignore[assignment]
    use(service_api, 85, account=acme.public_id)
    look()
    send_all()
    written = caplog.text + AlertDelivery.objects.get().error + str(list(AuditEntry.objects.values()))
    assert "was not taken" in caplog.text
    assert "s3cr3t" not in written
    assert secret not in written


# The test button


@pytest.fixture
def alice_s(acme: Account, alice: User, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setattr(page, "WEBHOOK", Webhook(HERE))
    browser = Client()
    browser.force_login(alice)
    browser.post("/accounts/switch/", {"account": acme.public_id})
    return browser


def press(browser: Client) -> str:
    return browser.post("/settings/alerts/test/").content.decode()


def test_the_test_button_shows_what_was_answered(receiver: Receiver, secret: str, alice_s: Client) -> None:
    receiver.answer = b"thanks, <b>got it</b>" + b"." * 1_000
    html = press(alice_s)
    (request,) = receiver.received
    assert is_ours(request.headers["Tollgate-Signature"], request.body, secret)
    assert json.loads(request.body)["type"] == "test"
    assert "The test was taken: status 200" in html
    assert "thanks, &lt;b&gt;got it&lt;/b&gt;" in html
    assert "." * 301 not in html
    assert AuditEntry.objects.filter(action="alerts.webhook_tested").count() == 1


def test_the_test_button_shows_what_went_wrong(receiver: Receiver, secret: str, alice_s: Client) -> None:
    receiver.status = 500
    assert "It answered with status 500" in press(alice_s)
    assert "wait a few seconds" in press(alice_s)
    assert len(receiver.received) == 1


def test_without_a_webhook_there_is_nothing_to_test(alice_s: Client) -> None:
    assert "There is no webhook yet." in press(alice_s)
