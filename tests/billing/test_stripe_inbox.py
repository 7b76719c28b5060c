"""Stripe's webhooks: what is taken in, and what is not."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import pytest
import stripe
from django.db import OperationalError
from django.test import Client, RequestFactory

from accounts import keys
from accounts.models import User
from billing.models import StripeEvent
from billing.stripe import inbox, storing
from tests.billing.stripe_events import PATH, SECRET, deliver, event, signed
from usage.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _one_secret(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = [SECRET]


def rows() -> int:
    return StripeEvent.objects.count()


def test_an_event_is_stored_as_it_came_and_its_work_is_queued() -> None:
    told = event(
        "customer.subscription.updated", {"id": "sub_1", "object": "subscription", "customer": "cus_9"}
    )
    raw = json.dumps(told, indent=2).encode()

    response = deliver(raw)

    assert response.status_code == 200
    stored = StripeEvent.objects.get()
    assert stored.raw == raw
    assert (stored.event_id, stored.type, stored.livemode) == (
        "evt_1",
        "customer.subscription.updated",
        False,
    )
    assert (stored.object_id, stored.subject, stored.api_version) == ("sub_1", "cus_9", "2026-10-28.endive")
    assert stored.created_at == datetime.fromtimestamp(1_790_000_000, UTC)
    assert stored.state == StripeEvent.State.WAITING
    job = Job.objects.get()
    assert (job.name, job.arguments, job.key) == (
        "billing.stripe_work",
        {"subject": "cus_9"},
        "billing.stripe_work:cus_9",
    )


def test_neither_a_session_nor_a_token_is_asked_for_or_made() -> None:
    response = deliver(event(), client=Client(enforce_csrf_checks=True))

    assert response.status_code == 200
    assert not response.cookies


@pytest.mark.parametrize(
    ("thing", "subject"),
    [
        ({"id": "cus_1", "object": "customer"}, "cus_1"),
        ({"id": "in_1", "object": "invoice", "customer": "cus_2"}, "cus_2"),
        ({"id": "in_1", "object": "invoice", "customer": {"id": "cus_3"}}, "cus_3"),
        ({"id": "price_1", "object": "price"}, "price_1"),
        ({"id": "ch_1", "object": "charge", "customer": None}, "ch_1"),
        ({"object": "entitlements.active_entitlement_summary", "customer": "cus_4"}, "cus_4"),
        ({}, "evt_1"),
        ({"id": 7, "customer": ["cus"]}, "evt_1"),
        ({"id": "x" * 256}, "evt_1"),
    ],
)
def test_the_subject_is_the_customer_or_else_the_object(thing: dict, subject: str) -> None:
    assert deliver(event(thing=thing)).status_code == 200
    assert StripeEvent.objects.get().subject == subject


def test_an_event_that_only_names_its_object_is_taken_in() -> None:
    thin = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v1.billing.meter.error_report_triggered",
        "livemode": False,
        "created": "2026-11-28T06:00:00.000Z",
        "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
    }

    assert deliver(thin).status_code == 200
    stored = StripeEvent.objects.get()
    assert (stored.object_id, stored.subject, stored.api_version) == ("mtr_1", "mtr_1", "")
    assert stored.created_at == datetime(2026, 11, 28, 6, tzinfo=UTC)


@pytest.mark.parametrize("created", [None, True, "yesterday", 10**15, -(10**15), {}, "2026-11-28T06:00:00"])
def test_a_strange_instant_does_not_keep_an_event_out(created: object) -> None:
    assert deliver(event(created=created)).status_code == 200


def test_the_same_event_delivered_again_is_stored_once() -> None:
    answers = [deliver(event()).status_code for _ in range(3)]

    assert (answers, rows(), Job.objects.count()) == ([200, 200, 200], 1, 1)


def test_other_capitals_are_another_event() -> None:
    deliver(event(id="evt_a"))
    deliver(event(id="evt_A"))

    assert rows() == 2


def test_nothing_but_the_signature_lets_an_event_in(staff: User) -> None:
    browser = Client()
    browser.force_login(staff)
    token = keys.make_key(None, name="back end")[1]

    answers = [
        deliver(event(), header="", client=browser).status_code,
        deliver(event(), header="", headers={"Authorization": f"Bearer {token}"}).status_code,
    ]

    assert (answers, rows()) == ([400, 400], 0)


@pytest.mark.parametrize("method", ["get", "head", "put", "patch", "delete", "options"])
def test_only_post_is_answered(method: str) -> None:
    response = getattr(Client(), method)(PATH)

    assert (response.status_code, response["Allow"]) == (405, "POST")


BODY = json.dumps(event()).encode()
GOOD = signed(BODY).partition(",")[2]  # v1=…, of a moment ago
HEADERS: dict[str, Callable[[], str]] = {
    "none": lambda: "",
    "garbage": lambda: "%%%",
    "only a comma": lambda: ",",
    "no time": lambda: GOOD,
    "no signature": lambda: f"t={int(time.time())}",
    "another scheme": lambda: signed(BODY).replace("v1=", "v0="),
    "the time is not a number": lambda: f"t=soon,{GOOD}",
    "the time has other digits": lambda: f"t=١٢٣,{GOOD}",
    "the time is huge": lambda: f"t={'9' * 5000},{GOOD}",
    "two times": lambda: f"t=1,{signed(BODY)}",
    "not ASCII": lambda: f"t={int(time.time())},v1=é\xff",
    "an empty signature": lambda: f"t={int(time.time())},v1=",
    "another body's": lambda: signed(b"{}"),
    "another secret": lambda: signed(BODY, "whsec_other"),
    "capitals": lambda: signed(BODY).upper(),
    "301 s old": lambda: signed(BODY, age_s=301),
    "a year old": lambda: signed(BODY, age_s=31_536_000),
    "302 s ahead": lambda: signed(BODY, age_s=-302),
    "a year ahead": lambda: signed(BODY, age_s=-31_536_000),
}


@pytest.mark.parametrize("header", HEADERS)
def test_what_does_not_verify_is_refused_and_not_stored(header: str) -> None:
    response = deliver(BODY, header=HEADERS[header]())

    assert (response.status_code, rows(), Job.objects.count()) == (400, 0, 0)


def test_a_body_without_any_header_is_refused() -> None:
    response = Client().post(PATH, BODY, content_type="application/json")

    assert (response.status_code, rows()) == (400, 0)


@pytest.mark.parametrize("age_s", [-299, 0, 299])
def test_what_was_signed_within_five_minutes_is_taken(age_s: int) -> None:
    assert deliver(BODY, header=signed(BODY, age_s=age_s)).status_code == 200


def test_while_a_secret_is_replaced_both_are_good(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = ["whsec_new", "whsec_old"]

    bodies = [json.dumps(event(id=f"evt_{n}")).encode() for n in range(4)]
    signers = [("whsec_new",), ("whsec_old",), ("whsec_gone", "whsec_old"), ("whsec_gone",)]
    answers = [
        deliver(body, header=signed(body, *by)).status_code for body, by in zip(bodies, signers, strict=True)
    ]

    assert (answers, rows()) == ([200, 200, 200, 400], 3)


def test_without_a_secret_nothing_is_taken(settings: Any) -> None:
    settings.STRIPE_WEBHOOK_SECRETS = []

    assert (deliver(BODY).status_code, deliver(BODY, header=signed(BODY, "")).status_code) == (400, 400)


BODIES: dict[str, bytes] = {
    "nothing": b"",
    "not UTF-8": b'{"id": "evt_1", "x": "\xff\xfe"}',
    "not JSON": b"id=evt_1",
    "cut off": BODY[:-1],
    "a list": b"[]",
    "an empty object": b"{}",
    "a text": b'"x"',
    "a number": b"1",
    "null": b"null",
    "no id": json.dumps({k: v for k, v in event().items() if k != "id"}).encode(),
    "the id is a number": json.dumps(event(id=1)).encode(),
    "the id is null": json.dumps(event(id=None)).encode(),
    "the id is empty": json.dumps(event(id="")).encode(),
    "the id is an object": json.dumps(event(id={"id": "evt_1"})).encode(),
    "the id is too long": json.dumps(event(id="e" * 256)).encode(),
    "nested deep": b'{"id": "evt_1", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "nested somewhat": b'{"id": "evt_1", "x": ' + b"[" * 200 + b"]" * 200 + b"}",
    "NUL in metadata": json.dumps(event(thing={"id": "in_1", "metadata": {"a": "\0"}})).encode(),
    "NUL in the id": json.dumps(event(id="evt_\0")).encode(),
    "half of a character": b'{"id": "evt_1", "x": "\\ud800"}',
    "half of a character in the id": b'{"id": "evt_\\udfff"}',
    "a number beyond all bounds": b'{"id": "evt_1", "x": 1e999}',
    "not a number": b'{"id": "evt_1", "x": NaN}',
    "5000 digits": b'{"id": "evt_1", "x": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("body", BODIES)
def test_a_signed_body_that_is_no_event_is_refused(body: str) -> None:
    response = deliver(BODIES[body])

    assert (response.status_code, rows(), Job.objects.count()) == (400, 0, 0)


@pytest.mark.parametrize("body", BODIES)
def test_unsigned_it_is_refused_as_well(body: str) -> None:
    assert deliver(BODIES[body], header="t=1,v1=0").status_code == 400


def test_a_body_of_more_than_a_mebibyte_is_too_large() -> None:
    body = json.dumps(event(padding="x" * (1024 * 1024))).encode()
    small = json.dumps(event(padding="x" * (1024 * 1024 - 1000))).encode()

    assert (deliver(body).status_code, rows()) == (413, 0)
    assert (deliver(b"x" * 2 * 1024 * 1024).status_code, rows()) == (413, 0)
    assert (deliver(small).status_code, rows()) == (200, 1)


def chunked(body: bytes, **meta: Any) -> int:
    """The status for a body that is sent in chunks, without its length."""
    request = RequestFactory().post(PATH, b"", content_type="application/json", headers={
        "Stripe-Signature": signed(body), "Transfer-Encoding": "chunked",
    })  # fmt: skip
    request.META.update({"wsgi.input": BytesIO(body), "CONTENT_LENGTH": "", **meta})
    return inbox.webhook(request).status_code


def test_a_body_without_a_length_is_bounded_too() -> None:
    assert chunked(b"x" * 2 * 1024 * 1024) == 413
    assert chunked(BODY) == 200


@pytest.mark.parametrize("encoding", ["gzip", "identity", "br"])
def test_an_encoded_body_is_not_unpacked(encoding: str) -> None:
    response = deliver(BODY, headers={"Content-Encoding": encoding})

    assert (response.status_code, rows()) == (415, 0)


def test_a_body_that_ends_early_is_refused() -> None:
    request = RequestFactory().post(PATH, BODY[:50], content_type="application/json", headers={
        "Stripe-Signature": signed(BODY),
    })  # fmt: skip
    request.META["CONTENT_LENGTH"] = str(len(BODY))

    assert (inbox.webhook(request).status_code, rows()) == (400, 0)


@pytest.mark.parametrize("code", [2006, 1040, 1213, "unable to open database file", "database is locked"])
def test_while_the_database_is_away_stripe_is_asked_to_come_again(
    monkeypatch: pytest.MonkeyPatch, code: object
) -> None:
    def fails(*_: object) -> None:
        raise OperationalError(code, "no")

    monkeypatch.setattr(storing, "store", fails)

    response = deliver(BODY)

    assert (response.status_code, response["Retry-After"], rows()) == (503, "1", 0)


def test_what_we_take_is_what_stripes_own_library_takes() -> None:
    verified = stripe.Webhook.construct_event(BODY, signed(BODY), SECRET)

    assert verified.id == "evt_1"
    assert deliver(BODY, header=signed(BODY)).status_code == 200


def test_it_costs_few_queries(django_assert_max_num_queries: Any) -> None:
    deliver(event(id="evt_0"))
    with django_assert_max_num_queries(6):  # with the savepoint that stands for the transaction here
        assert deliver(event()).status_code == 200
