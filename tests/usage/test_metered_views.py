"""Metered views: permitted before they run, recorded after them; what fails holds and costs nothing."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from accounts import keys
from accounts.models import Account, User
from tests.config.test_problems import assert_problem
from tests.usage import metered_views
from tests.usage.price_list import add_price
from usage import price_book
from usage.models import Balance, Hold, Meter, Operation, Record, Refusal, Reservation, Scope, Status
from usage.quotas import limits
from usage.representation import quantities_of, read_rows

pytestmark = pytest.mark.usefixtures("totals_agree")
State = Reservation.State


@pytest.fixture(autouse=True)
def _served(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.usage.metered_views"
    metered_views.runs.clear()


class Caller:
    """A client with a key; bugs of views become the 500 that they are outside of tests."""

    def __init__(self, token: str | None = None) -> None:
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.client = Client(headers=self.headers, raise_request_exception=False)

    def post(self, path: str, data: object = None, **options: Any) -> Any:
        return self.client.post(path, data, **options)


@pytest.fixture
def app(acme: Account) -> Caller:
    return Caller(keys.make_key(acme, scopes=["usage:write"])[1])


def allow(account: Account, limit: object, meter: str = "image_generations", **options: Any) -> None:
    amount = None if limit is None else Decimal(str(limit))
    limits.override(account, Meter.objects.get(slug=meter), amount, actor="test", reason="test", **options)


def balance(account: Account, meter: str = "image_generations", scope: str = Scope.ACCOUNT) -> Any:
    """What is used and what is held, as people read it."""
    row = Balance.objects.get(account=account, meter__slug=meter, scope=scope)
    one = 10**row.meter.places
    return Decimal(row.used) / one, Decimal(row.held) / one


def go_away(response: Any) -> None:
    """Close an answer as the server does, without the database connection that the test is in."""
    with patch.object(connections["default"], "close_if_unusable_or_obsolete"):
        response.close()


def recorded() -> Any:
    """The quantities of all records, in order."""
    return [quantities_of(row, price_book.current()) for row in read_rows(Record.objects.order_by("pk"))]


def states() -> Any:
    return list(Reservation.objects.order_by("pk").values_list("state", flat=True))


def test_the_example_records_what_it_made(acme: Account, app: Caller) -> None:
    allow(acme, 10)

    response = app.post("/generate/", {"prompt": "a cat on a mat"})

    assert response.json() == {"images": ["a.png", "cat.png", "on.png", "a.png", "mat.png"]}
    assert recorded() == [{"output_images": "5"}]
    assert Record.objects.get().cost == Decimal("0.40")
    assert balance(acme) == (5, 0)


def test_the_record_tells_of_the_request_it_came_with(acme: Account, app: Caller) -> None:
    before = timezone.now()

    app.client.get(
        "/careful/", headers={"X-Request-ID": "r-1\x00", "User-Agent": "curl/8"}, REMOTE_ADDR="2001:db8::1"
    )

    record = Record.objects.select_related("detail").get()
    assert before <= record.occurred_at <= timezone.now()
    assert (record.account, record.status, record.operation.slug) == (
        acme,
        Status.SUCCESS,
        "image_generation",
    )
    assert record.event_id.startswith(f"res_{Reservation.objects.get().pk}_")
    assert record.latency_ms in range(60_000)
    assert (record.detail.endpoint, record.detail.request_id) == ("/careful/", "r-1")
    assert (record.detail.ip_address, record.detail.user_agent) == ("2001:db8::1", "curl/8")
    assert record.detail.metadata == '{"seed":1,"token":"[redacted]"}'


@pytest.mark.parametrize(
    ("trusted", "address"), [([], "10.0.0.1"), (["10.0.0.0/8"], "203.0.113.9")], ids=["no-proxy", "ours"]
)
def test_the_record_s_address_is_what_a_proxy_of_ours_says_and_nobody_else(
    acme: Account, app: Caller, settings: Any, trusted: list[str], address: str
) -> None:
    settings.TRUSTED_PROXIES = trusted
    app.client.get(
        "/careful/", headers={"X-Forwarded-For": "198.51.100.66, 203.0.113.9"}, REMOTE_ADDR="10.0.0.1"
    )
    assert Record.objects.select_related("detail").get().detail.ip_address == address


def test_what_is_refused_never_runs(acme: Account, app: Caller) -> None:
    allow(acme, 2)
    assert [app.post("/plain/").status_code for _ in range(4)] == [200, 200, 429, 429]

    assert metered_views.runs == ["plain", "plain"]
    assert Record.objects.count() == 2
    assert Refusal.objects.get().attempts == 2
    assert balance(acme) == (2, 0)


@pytest.mark.parametrize("path", ["/plain/", "/picture/", "/gallery/", "/careful/"])
def test_a_refusal_is_the_problem_of_the_contract(acme: Account, app: Caller, path: str) -> None:
    allow(acme, "0.5")

    response = app.client.get(path)

    document = assert_problem(response, 429, "usage_limit_exceeded")
    assert document["message"].startswith("You have reached your yearly limit. Upgrade")
    assert (document["meter"], document["scope"], document["limit"]) == (
        "image_generations",
        "account",
        "0.5",
    )
    assert not {"headers", "retry_after"} & set(document)
    assert 1 <= int(response["Retry-After"]) <= 3600
    assert response["RateLimit-Policy"].startswith('"image_generations";q=1;w=')
    assert response["RateLimit"].startswith('"image_generations";r=0;t=')
    assert metered_views.runs == []


def test_nothing_allowed_is_403_and_so_is_whatever_the_setting_says(
    acme: Account, app: Caller, settings: Any
) -> None:
    allow(acme, 0)
    none_at_all = app.post("/plain/")
    settings.QUOTA_REFUSED_STATUS = 403
    allow(acme, 1)
    first, second = app.post("/plain/"), app.post("/plain/")

    assert_problem(none_at_all, 403, "usage_limit_exceeded")
    assert first.status_code == 200
    assert_problem(second, 403, "usage_limit_exceeded")
    assert "Retry-After" not in second
    assert second["RateLimit"].startswith('"image_generations";r=0;t=')


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/plain/", [{"output_images": "1"}]),
        ("/page/", [{"output_images": "1"}]),
        ("/picture/", [{"output_images": "1"}]),
        ("/stream/", [{"output_images": "2"}]),
        ("/later/", [{"output_images": "3"}]),
    ],
)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
def test_what_succeeds_is_recorded_as_announced(
    acme: Account, alice: User, path: str, expected: list
) -> None:
    allow(acme, 10)
    client = Client()
    client.force_login(alice)

    response = client.get(path)
    body = b"".join(response) if response.streaming else response.content

    assert body
    assert recorded() == expected
    assert balance(acme) == (Decimal(expected[0]["output_images"]), 0)


@pytest.mark.parametrize("status", ["400", "404", "500", "503", "raise"])
def test_what_fails_without_a_report_uses_nothing(acme: Account, app: Caller, status: str) -> None:
    allow(acme, 1)

    response = app.post(f"/plain/?status={status}")

    assert response.status_code == (500 if status == "raise" else int(status))
    assert metered_views.runs == ["plain"]
    assert (recorded(), balance(acme), states()) == ([], (0, 0), [State.RELEASED])


@pytest.mark.parametrize("status", ["400", "500", "raise"])
def test_what_fails_after_a_report_costs_what_it_used(acme: Account, app: Caller, status: str) -> None:
    allow(acme, 1)
    allow(acme, 100, "spend")
    add_price(operation="image_generation", output_images="0.5")

    app.post(f"/careful/?status={status}")

    record = Record.objects.get()
    assert (record.status, recorded()) == (Status.ERROR, [{"output_images": "2"}])
    assert (balance(acme), balance(acme, "spend")) == ((0, 0), (1, 0))  # a failed call counts in cost alone
    assert states() == [State.SETTLED]


def test_the_last_report_holds_and_may_pass_the_limit(acme: Account, app: Caller) -> None:
    allow(acme, 1)

    assert app.post("/careful/").status_code == 200

    assert recorded() == [{"output_images": "2"}]
    assert balance(acme) == (2, 0)
    assert app.post("/careful/").status_code == 429


def test_a_drf_view_announces_by_request_and_reports(acme: Account, app: Caller) -> None:
    allow(acme, 5)
    json = {"content_type": "application/json"}

    assert app.post("/gallery/?images=6", {"made": "1"}, **json).status_code == 429
    assert app.post("/gallery/?images=5", {"made": "1.5"}, **json).status_code == 200
    assert app.post("/gallery/?images=1", {}, **json).status_code == 200
    assert app.post("/gallery/?images=1", {"answer": 422}, **json).status_code == 422
    assert app.post("/gallery/?images=x", {}, **json).status_code == 400

    assert recorded() == [{"output_images": "1.5"}, {"output_images": "1"}]
    assert balance(acme) == (Decimal("2.5"), 0)


def test_an_answer_that_fails_can_be_reported_as_a_success(acme: Account, app: Caller) -> None:
    allow(acme, 5)

    app.post("/gallery/", {"made": 2, "status": "success", "answer": 409}, content_type="application/json")

    assert Record.objects.get().status == Status.SUCCESS
    assert balance(acme) == (2, 0)


def test_two_meters_have_room_or_neither_is_touched(acme: Account, app: Caller) -> None:
    allow(acme, 5)
    allow(acme, "0.20", "spend")

    assert app.post("/generate/", {"prompt": "one two"}).status_code == 200  # 2 × 0.08
    refused = app.post("/generate/", {"prompt": "one"})

    assert assert_problem(refused, 429)["meter"] == "spend"
    assert refused["RateLimit"].startswith('"spend";r=0;t=')
    assert balance(acme) == (2, 0)
    assert balance(acme, "spend") == (Decimal("0.16"), 0)


def test_under_a_limit_on_cost_what_has_no_price_is_refused(acme: Account, app: Caller) -> None:
    allow(acme, 100, "spend")

    refused = app.post("/film/?model=unheard-of")

    assert assert_problem(refused, 403, "unpriced")["meter"] == "spend"
    assert metered_views.runs == []
    assert Refusal.objects.get().attempts == 1


def test_an_operation_that_nobody_has_seen_is_metered_all_the_same(acme: Account, app: Caller) -> None:
    Operation.objects.filter(slug="video_generation").delete()
    price_book.forget()

    assert app.post("/film/").status_code == 200
    assert Record.objects.get().operation.slug == "video_generation"


def test_a_member_has_a_limit_of_their_own(acme: Account, alice: User, bob: User) -> None:
    allow(acme, 1, scope=Scope.MEMBER, scope_id=bob.pk)
    clients = {user: Client() for user in (alice, bob)}
    for user, client in clients.items():
        client.force_login(user)

    assert [clients[bob].get("/plain/").status_code for _ in range(2)] == [200, 429]
    assert [clients[alice].get("/plain/").status_code for _ in range(2)] == [200, 200]

    assert [record.user for record in Record.objects.order_by("pk")] == [bob, alice, alice]
    assert balance(acme, scope=Scope.MEMBER) == (1, 0)


def test_a_signed_in_browser_spends_the_account_it_works_in(acme: Account, bob: User, charlie: User) -> None:
    client = Client()
    client.force_login(bob)

    client.get("/plain/")
    client.get(f"/plain/?account={bob.personal_account.public_id}")
    stranger = client.get(f"/plain/?account={charlie.personal_account.public_id}")

    assert [record.account for record in Record.objects.order_by("pk")] == [acme, bob.personal_account]
    assert_problem(stranger, 404, "unknown_account")


@pytest.mark.parametrize("path", ["/plain/", "/careful/", "/gallery/"])
def test_a_browser_needs_its_csrf_token_also_where_the_view_is_exempt(
    acme: Account, bob: User, path: str
) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(bob)
    body: Any = {"data": "{}", "content_type": "application/json"}

    refused = client.post(path, **body)
    client.cookies["csrftoken"] = token = "a" * 32
    allowed = client.post(path, **body, headers={"X-CSRFToken": token})

    is_for_keys = path == "/gallery/"  # by the scope that it asks for
    assert (refused.status_code, allowed.status_code) == (403, 403 if is_for_keys else 200)
    assert states() == [State.RELEASED if is_for_keys else State.SETTLED]


def test_a_key_needs_no_csrf_token_where_the_view_is_exempt(acme: Account, app: Caller) -> None:
    client = Client(enforce_csrf_checks=True, headers=app.headers)

    sent: Any = {"data": "{}", "content_type": "application/json"}

    answers = [client.post(path, **sent) for path in ("/careful/", "/gallery/", "/plain/")]

    assert [answer.status_code for answer in answers] == [200, 200, 403]


def test_a_service_key_names_the_account(acme: Account, charlie: User) -> None:
    back_end = Caller(keys.make_key(None)[1])

    nobody = back_end.post("/careful/")
    unknown = back_end.post("/careful/?account=acc_nobody")
    named = back_end.post(f"/careful/?account={acme.public_id}")
    by_mail = back_end.post("/careful/?account=charlie@example.com")

    assert_problem(nobody, 400, "account_required")
    assert_problem(unknown, 404, "unknown_account")
    assert (named.status_code, by_mail.status_code) == (200, 200)
    assert [r.account for r in Record.objects.order_by("pk")] == [acme, charlie.personal_account]


def test_an_account_key_is_for_its_own_account(acme: Account, app: Caller, charlie: User) -> None:
    strange = app.post(f"/plain/?account={charlie.personal_account.public_id}")

    assert_problem(strange, 404, "unknown_account")
    assert app.post(f"/plain/?account={acme.public_id}").status_code == 200


@pytest.mark.parametrize("path", ["/plain/", "/careful/", "/gallery/", "/film/", "/picture/", "/stream/"])
def test_without_a_key_or_a_session_nothing_runs(db: None, path: str) -> None:
    assert_problem(Caller().client.get(path), 401, "not_authenticated")
    assert_problem(Caller("tg_live_wrong").client.get(path), 401, "invalid_key")
    assert_problem(Client(headers={"Authorization": "Basic eDp5"}).get(path), 401)
    assert metered_views.runs == []


def test_a_key_needs_the_scope_for_writing_usage(acme: Account) -> None:
    reader = Caller(keys.make_key(acme, scopes=["usage:read", "quotas"])[1])

    assert_problem(reader.post("/plain/"), 403, "missing_scope")
    assert states() == []


def test_only_the_methods_that_are_named_are_metered(acme: Account, app: Caller) -> None:
    assert app.client.delete("/picture/").content == b"nothing used"
    assert app.client.head("/picture/").status_code == 200
    assert app.client.get("/picture/").status_code == 200
    assert app.client.options("/gallery/").status_code == 200  # DRF's own answer, without any work

    assert len(recorded()) == 2


def test_a_view_that_never_ran_uses_nothing(acme: Account, app: Caller) -> None:
    response = app.client.get("/page/")  # login_required sends those with a key to the login

    assert (response.status_code, states(), recorded()) == (302, [State.RELEASED], [])


def test_a_view_that_the_middleware_does_not_find_refuses_to_run(acme: Account, app: Caller) -> None:
    assert app.post("/upside-down/").status_code == 500
    assert metered_views.runs == []


def test_a_view_without_the_middleware_refuses_to_run(acme: Account, app: Caller, settings: Any) -> None:
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "usage." not in name]

    for path in ("/plain/", "/picture/", "/gallery/", "/film/", "/stream/"):
        client = Client(headers=app.headers, raise_request_exception=False)
        assert client.get(path).status_code == 500
    assert metered_views.runs == []


def test_the_answer_tells_the_tightest_quota(acme: Account, app: Caller) -> None:
    allow(acme, 10)
    allow(acme, 100, "spend")
    allow(acme, 4, "image_generations", window="day")

    response = app.post("/generate/", {"prompt": "one"})

    assert response["RateLimit-Policy"] == '"image_generations";q=4;w=86400'
    name, room, resets = response["RateLimit"].split(";")
    assert (name, room) == ('"image_generations"', "r=3")
    assert 1 <= int(resets.removeprefix("t=")) <= 86_400


def test_what_is_not_limited_has_no_such_header(acme: Account, app: Caller) -> None:
    allow(acme, 5, enforcement="soft")

    response = app.post("/plain/")

    assert response.status_code == 200
    assert not {"RateLimit", "RateLimit-Policy"} & set(response.headers)


def test_requests_a_minute_are_counted_once_and_told_beside_the_quota(acme: Account) -> None:
    token = keys.make_key(acme, requests_per_minute=3)[1]
    allow(acme, 10)
    app = Caller(token)

    first = app.post("/plain/")
    second = app.post("/gallery/", {}, content_type="application/json")
    third, fourth = app.post("/plain/"), app.post("/plain/")

    assert first["RateLimit-Policy"].split(", ")[1:] == ['"requests";q=3;w=60']
    assert second["RateLimit"].count('"requests";r=1') == 1
    assert third.status_code == 200
    assert_problem(fourth, 429, "rate_limited")
    assert balance(acme) == (3, 0)


def test_a_refusal_tells_of_requests_a_minute_beside_the_quota(acme: Account) -> None:
    app = Caller(keys.make_key(acme, requests_per_minute=3)[1])
    allow(acme, 0)

    refused = app.post("/plain/")

    assert_problem(refused, 403, "usage_limit_exceeded")
    told = [part.split(";")[0] for part in refused["RateLimit"].split(", ")]
    assert told == ['"image_generations"', '"requests"']


def test_a_reservation_lives_as_long_as_the_view_says(acme: Account, app: Caller) -> None:
    go_away(app.post("/answer/", {"prompt": "one two"}))

    reservation = Reservation.objects.get()
    assert reservation.expires_at - reservation.created_at == timedelta(seconds=600)
    assert not Hold.objects.exists()
