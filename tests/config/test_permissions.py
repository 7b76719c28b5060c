"""Who may do what: every endpoint against every kind of caller; an endpoint not named here fails."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts import keys
from accounts.models import SCOPES, Account, User
from tests.conftest import Api
from usage.models import Campaign

RECORD = {"operation": "api_call"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path; `names_account` says whether a service key has to name an account."""

    path: str
    method: str = "get"
    scope: str = "usage:read"
    body: dict | None = None
    ok: int = 200
    names_account: bool = True
    session: bool = True
    service_only: bool = False
    in_id: bool = False  # the account is that of the thing in the path


ENDPOINTS = {
    "record-usage": Endpoint("usage/", "post", "usage:write", RECORD, 201, session=False),
    "reverse-usage": Endpoint(
        "usage/{record}/reverse/", "post", "usage:write", {"reason": "a test"}, 201,
        names_account=False, session=False, service_only=True,
    ),
    "history": Endpoint("usage/history/"),
    "trends": Endpoint("usage/trends/"),
    "sessions": Endpoint("usage/sessions/"),
    "export": Endpoint("usage/export/"),
    "alerts": Endpoint("usage/alerts/"),
    "campaigns": Endpoint("usage/campaigns/"),
    "campaigns (create)": Endpoint(
        "usage/campaigns/", "post", "usage:write", {"name": "summer"}, 201, session=False
    ),
    "archive-campaign": Endpoint(
        "usage/campaigns/{campaign}/archive/", "post", "usage:write", session=False
    ),
    "restore-campaign": Endpoint(
        "usage/campaigns/{campaign}/restore/", "post", "usage:write", session=False
    ),
    "current": Endpoint("usage/current/"),
    "check-quota": Endpoint("quotas/check/", "post", "quotas", RECORD, session=False),
    "reserve-quota": Endpoint("quotas/reservations/", "post", "quotas", RECORD, 201, session=False),
    "settle-reservation": Endpoint(
        "quotas/reservations/{reservation}/settle/", "post", "quotas", RECORD, 201,
        names_account=False, session=False, in_id=True,
    ),
    "release-reservation": Endpoint(
        "quotas/reservations/{reservation}/release/", "post", "quotas", None, 204,
        names_account=False, session=False, in_id=True,
    ),
    "plans": Endpoint("billing/plans/", scope="billing:read", names_account=False),
    "prices": Endpoint("billing/prices/", scope="billing:read", names_account=False),
    "subscription": Endpoint("billing/subscription/", scope="billing:read"),
    "estimate": Endpoint("billing/estimate/", "post", "billing:read", RECORD),
    "analytics": Endpoint("billing/analytics/", scope="billing:read"),
    # Without a Stripe key there is nothing to be had, whoever asks.
    "begin-checkout": Endpoint(
        "billing/checkout/", "post", "billing:read", {"plan": "pro"}, 503, session=False
    ),
    "open-portal": Endpoint("billing/portal/", "post", "billing:read", {}, 503, session=False),
    "statements": Endpoint("billing/statements/", scope="billing:read"),
    "statement": Endpoint("billing/statements/{month}/", scope="billing:read"),
}  # fmt: skip
PARAMETERS = {
    "record": "<str:record_id>",
    "campaign": "<str:campaign_id>",
    "reservation": "<str:reservation_id>",
    "month": "<str:month>",
}
# The report over all accounts has callers of its own: tests/billing/test_net.py.
OF_STAFF = {"net": "billing/net/"}
PUBLIC = {"schema": "schema/", "api-docs": "docs/", "health": "health/"}


def named_patterns(resolver: URLResolver, prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from named_patterns(pattern, path)
        elif isinstance(pattern, URLPattern) and path.startswith("api/v1/"):
            yield path, pattern.name


def test_every_endpoint_is_in_this_file() -> None:
    found = dict(named_patterns(get_resolver()))

    assert set(found.values()) == {name.partition(" ")[0] for name in ENDPOINTS} | {*PUBLIC, *OF_STAFF}
    known = {e.path.format_map(PARAMETERS) for e in ENDPOINTS.values()} | {
        *PUBLIC.values(),
        *OF_STAFF.values(),
    }
    assert set(found) == {f"api/v1/{path}" for path in known}


@pytest.fixture
def record(acme: Account, service_api: Api) -> str:
    return service_api.record(account=acme.public_id, **RECORD).json()["id"]


@pytest.fixture
def campaign(acme: Account) -> str:
    return f"cmp_{Campaign.objects.create(account=acme, name='spring').pk}"


@pytest.fixture
def reservation(acme: Account, service_api: Api) -> str:
    return service_api.post("quotas/reservations/", {"account": acme.public_id, **RECORD}).json()[
        "reservation"
    ]


Call = Callable[..., Any]


@pytest.fixture
def call(record: str, campaign: str, reservation: str) -> Call:
    """Ask an endpoint with an API key or a browser; `account` in the body of a record, else in the query."""

    def ask(endpoint: Endpoint, who: Api | Client, account: str | None = None) -> Any:
        client, headers = (who.client, who.headers) if isinstance(who, Api) else (who, {})
        month = f"{timezone.now():%Y-%m}"
        ids = {"record": record, "campaign": campaign, "reservation": reservation, "month": month}
        path = f"/api/v1/{endpoint.path.format(**ids)}"
        if endpoint.method == "get":
            return client.get(path, {"account": account} if account else {}, headers=headers)
        body = {**(endpoint.body or {}), **({"account": account} if account else {})}
        return client.post(path, body, content_type="application/json", headers=headers)

    return ask


def browser_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture(params=ENDPOINTS)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return ENDPOINTS[request.param]


def test_without_a_key_it_is_401(endpoint: Endpoint, call: Call) -> None:
    response = call(endpoint, Api(None))

    assert (response.status_code, response.json()["error"]) == (401, "not_authenticated")
    assert response["WWW-Authenticate"].startswith("Bearer ")


def test_a_key_with_every_scope_but_the_right_one_is_403(
    endpoint: Endpoint, call: Call, acme: Account
) -> None:
    others = [scope for scope in SCOPES if scope != endpoint.scope]
    _, token = keys.make_key(None, scopes=others)

    response = call(endpoint, Api(token), acme.public_id)

    assert (response.status_code, response.json()["error"]) == (403, "missing_scope")


def test_an_account_key_with_the_scope_alone_acts_for_its_account(
    endpoint: Endpoint, call: Call, acme: Account
) -> None:
    _, token = keys.make_key(acme, scopes=[endpoint.scope])

    assert call(endpoint, Api(token)).status_code == (403 if endpoint.service_only else endpoint.ok)


def test_an_account_key_may_name_its_own_account(
    endpoint: Endpoint, call: Call, acme: Account, acme_api: Api
) -> None:
    response = call(endpoint, acme_api, acme.public_id)

    assert response.status_code == (403 if endpoint.service_only else endpoint.ok)


def test_for_another_accounts_key_the_account_does_not_exist(
    endpoint: Endpoint, call: Call, acme: Account, charlie_api: Api
) -> None:
    response = call(endpoint, charlie_api, acme.public_id)

    if endpoint.service_only:
        assert response.status_code == 403
    elif endpoint.names_account or endpoint.in_id:
        assert response.status_code == 404
        assert response.json()["error"] in {"unknown_account", *(["not_found"] if endpoint.in_id else [])}
    else:
        assert response.status_code == endpoint.ok


def test_a_service_key_names_the_account(
    endpoint: Endpoint, call: Call, acme: Account, service_api: Api
) -> None:
    assert call(endpoint, service_api, acme.public_id).status_code == endpoint.ok


def test_a_service_key_that_names_none_is_400(endpoint: Endpoint, call: Call, service_api: Api) -> None:
    response = call(endpoint, service_api)

    if endpoint.names_account:
        assert (response.status_code, response.json()["error"]) == (400, "account_required")
        assert response.json()["errors"][0]["field"] == "account"
    else:
        assert response.status_code == endpoint.ok


def test_a_service_key_that_names_nobody_is_404(endpoint: Endpoint, call: Call, service_api: Api) -> None:
    if endpoint.names_account or endpoint.service_only or endpoint.in_id:
        assert call(endpoint, service_api, "acc_nobody").status_code == 404
    else:
        assert call(endpoint, service_api).status_code == endpoint.ok


@pytest.mark.parametrize("who", ["alice", "bob"])
def test_the_browser_of_a_member_may_read_and_not_record(
    endpoint: Endpoint, call: Call, acme: Account, alice: User, bob: User, who: str
) -> None:
    browser = browser_of({"alice": alice, "bob": bob}[who])

    response = (
        call(endpoint, browser) if endpoint.method == "post" else call(endpoint, browser, acme.public_id)
    )

    assert response.status_code == (endpoint.ok if endpoint.session else 401)


@pytest.mark.parametrize("who", ["charlie", "staff"])
def test_for_the_browser_of_a_stranger_the_account_does_not_exist(
    endpoint: Endpoint, call: Call, acme: Account, charlie: User, staff: User, who: str
) -> None:
    response = call(endpoint, browser_of({"charlie": charlie, "staff": staff}[who]), acme.public_id)

    assert response.status_code == (404 if endpoint.session else 401)


def test_a_browser_without_a_csrf_token_may_not_post(endpoint: Endpoint, call: Call, alice: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)

    response = call(endpoint, browser)

    if endpoint.method == "get":
        assert response.status_code == 200
    else:
        assert response.status_code == (403 if endpoint.session else 401)
        assert response["Content-Type"] == "application/problem+json"


def test_a_key_needs_no_csrf_token(endpoint: Endpoint, call: Call, acme: Account, service_api: Api) -> None:
    service_api.client = Client(enforce_csrf_checks=True)

    assert call(endpoint, service_api, acme.public_id).status_code == endpoint.ok


def test_a_user_who_was_shut_out_has_no_session(endpoint: Endpoint, call: Call, alice: User) -> None:
    browser = browser_of(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert call(endpoint, browser).status_code == 401


def test_a_wrong_key_is_401_even_beside_a_session(endpoint: Endpoint, call: Call, alice: User) -> None:
    both = Api("tg_live_wrong")
    both.client = browser_of(alice)

    assert call(endpoint, both).status_code == 401


@pytest.mark.parametrize("path", PUBLIC.values())
@pytest.mark.parametrize("token", [None, "tg_live_wrong"])
def test_the_public_ones_ask_for_no_key(db: None, path: str, token: str | None) -> None:
    assert Api(token).get(path).status_code == 200


def test_another_accounts_record_cannot_be_reversed_by_naming_ones_own(
    record: str, charlie: User, service_api: Api
) -> None:
    own = charlie.personal_account.public_id
    body = {"reason": "a test", "account": own}

    assert service_api.post(f"usage/{record}/reverse/", body).status_code == 404
    assert service_api.post(f"usage/{record}/reverse/?account={own}", {"reason": "a test"}).status_code == 404


@pytest.mark.parametrize(
    "record_id", ["rec_0", "rec_999999", "1", "rec_", "rec_1x", "rec_-1", "rec_²", "x" * 300]
)
def test_a_record_that_is_not_there_is_404(service_api: Api, record_id: str) -> None:
    response = service_api.post(f"usage/{record_id}/reverse/", {"reason": "a test"})

    assert (response.status_code, response.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize("act", ["archive", "restore"])
@pytest.mark.parametrize(
    "campaign_id", ["cmp_0", "cmp_999999", "1", "rec_1", "cmp_", "cmp_1x", "cmp_²", "x" * 300]
)
def test_a_campaign_that_is_not_there_is_404(acme_api: Api, act: str, campaign_id: str) -> None:
    response = acme_api.post(f"usage/campaigns/{campaign_id}/{act}/", {})

    assert (response.status_code, response.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize("act", ["archive", "restore"])
def test_another_accounts_campaign_does_not_exist(
    campaign: str, charlie: User, charlie_api: Api, service_api: Api, act: str
) -> None:
    own = {"account": charlie.personal_account.public_id}

    for response in (
        charlie_api.post(f"usage/campaigns/{campaign}/{act}/", {}),
        service_api.post(f"usage/campaigns/{campaign}/{act}/", own),
    ):
        assert (response.status_code, response.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize("act", ["settle", "release"])
def test_another_accounts_reservation_does_not_exist(
    reservation: str, charlie: User, charlie_api: Api, service_api: Api, act: str
) -> None:
    path = f"quotas/reservations/{reservation}/{act}/"
    own = charlie.personal_account.public_id

    for response in (
        charlie_api.post(path, RECORD),
        charlie_api.post(path, {**RECORD, "account": own}),
        charlie_api.post(f"{path}?account={own}", RECORD),
        service_api.post(path if act == "settle" else f"{path}?account={own}", {**RECORD, "account": own}),
    ):
        assert (response.status_code, response.json()["error"]) == (404, "not_found")


def test_a_session_works_in_the_account_that_it_names(acme: Account, alice: User) -> None:
    browser = browser_of(alice)

    for account in (alice.personal_account, acme):
        document = browser.get("/api/v1/usage/current/", {"account": account.public_id}).json()
        assert document["account"] == account.public_id
