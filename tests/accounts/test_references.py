"""What a service key may call an account: its id, its external id, or the e-mail of a user."""

from typing import Any

import pytest

from accounts import references
from accounts.lifecycle import open_business_account
from accounts.models import Account, User
from billing.models import Subscription
from tests.conftest import Api
from usage.models import Record


def recorded_for(api: Api, reference: str) -> str | None:
    """The account that a record naming `reference` went to; None when it is unknown."""
    response = api.record(account=reference, operation="api_call")
    if response.status_code == 404:
        assert response.json()["error"] == "unknown_account"
        assert response.json()["errors"][0]["field"] == "account"
        return None
    assert response.status_code == 201, response.json()
    return response.json()["account"]


def test_an_account_is_found_by_id_external_id_and_e_mail(alice: User, service_api: Api) -> None:
    shop = open_business_account("Shop", external_id="u-17")
    personal = alice.personal_account

    assert recorded_for(service_api, shop.public_id) == shop.public_id
    assert recorded_for(service_api, "u-17") == shop.public_id
    assert recorded_for(service_api, personal.public_id) == personal.public_id
    assert recorded_for(service_api, "alice@example.com") == personal.public_id
    assert recorded_for(service_api, " Alice@Example.COM") == personal.public_id


def test_an_external_id_comes_before_an_e_mail(alice: User, service_api: Api) -> None:
    shop = open_business_account("Shop", external_id="alice@example.com")

    assert recorded_for(service_api, "alice@example.com") == shop.public_id


def test_an_external_id_is_compared_byte_by_byte(service_api: Api) -> None:
    made = [recorded_for(service_api, name) for name in ("José", "Jose", "jose", "JOSE", "u-17", "u-17é")]

    assert len(set(made)) == 6


def test_an_e_mail_with_an_accent_is_somebody_else(db: None, service_api: Api) -> None:
    jose = User.objects.create_user("jose@example.com")
    accented = User.objects.create_user("josé@example.com")

    assert recorded_for(service_api, "jose@example.com") == jose.personal_account.public_id
    assert recorded_for(service_api, "josé@example.com") == accented.personal_account.public_id


def test_an_external_id_never_seen_makes_an_account_on_the_default_plan(service_api: Api) -> None:
    first, again = recorded_for(service_api, "u-99"), recorded_for(service_api, "u-99")

    account = Account.objects.get(external_id="u-99")
    assert first == again == account.public_id
    assert Subscription.objects.get(account=account).plan.is_default
    assert not account.members.exists()


def test_an_e_mail_that_no_user_has_is_an_external_id_like_any_other(service_api: Api) -> None:
    assert recorded_for(service_api, "ann@example.com") is not None

    assert Account.objects.get(external_id="ann@example.com").kind == Account.Kind.BUSINESS


def test_without_the_scope_nothing_is_made(db: None) -> None:
    from accounts import keys

    api = Api(keys.make_key(None, scopes=["usage:write", "usage:read"])[1])

    assert recorded_for(api, "u-99") is None
    assert Account.objects.count() == 0


@pytest.mark.parametrize("reference", ["acc_", "acc_nobody", "acc_" + "0" * 20])
def test_an_account_id_never_makes_an_account(service_api: Api, reference: str) -> None:
    assert recorded_for(service_api, reference) is None
    assert Account.objects.count() == 0


@pytest.mark.parametrize("reference", ["", " ", " u-17", "u-17 ", "x" * 201])
def test_what_cannot_be_an_external_id_is_refused(service_api: Api, reference: str) -> None:
    response = service_api.record(account=reference, operation="api_call")

    assert (response.status_code, response.json()["errors"][0]["field"]) == (400, "account")
    assert Account.objects.count() == 0


def test_reading_never_makes_an_account(service_api: Api) -> None:
    assert service_api.get("usage/current/", account="u-99").status_code == 404
    assert Account.objects.count() == 0


def test_one_request_makes_at_most_a_hundred_accounts(service_api: Api) -> None:
    def send() -> Any:
        return service_api.post(
            "usage/", [{"account": f"u-{n}", "operation": "api_call"} for n in range(103)]
        )

    first = send()
    assert first.status_code == 207
    assert first.json()["accepted"] == Account.objects.count() == 100
    assert {r["error"] for r in first.json()["rejected"]} == {"too_many_accounts"}
    assert [r["index"] for r in first.json()["rejected"]] == [100, 101, 102]

    assert send().json()["accepted"] == 103
    assert Account.objects.count() == 103


def test_in_an_array_an_unknown_account_is_refused_alone(acme: Account, service_api: Api) -> None:
    body = [{"account": name, "operation": "api_call"} for name in ("acc_nobody", acme.public_id)]

    response = service_api.post("usage/", body)

    assert (response.status_code, response.json()["accepted"]) == (207, 1)
    (rejected,) = response.json()["rejected"]
    assert (rejected["index"], rejected["error"], rejected["field"]) == (0, "unknown_account", "account")


@pytest.mark.parametrize(
    ("extra", "error"), [({"account": "acc_nobody"}, "unknown_account"), ({"user": "x@y.z"}, "unknown_user")]
)
def test_a_thousand_records_of_somebody_unknown_are_looked_up_once(
    acme: Account, service_api: Api, django_assert_max_num_queries: Any, extra: dict, error: str
) -> None:
    event = {"account": acme.public_id, "operation": "api_call", **extra}
    service_api.post("usage/", event)

    with django_assert_max_num_queries(6):
        response = service_api.post("usage/", [event] * 1_000)

    assert {r["error"] for r in response.json()["rejected"]} == {error}
    assert Record.objects.count() == 0


def test_an_account_key_may_name_its_own_account_by_any_of_its_names(alice: User) -> None:
    from accounts import keys

    account = alice.personal_account
    Account.objects.filter(pk=account.pk).update(external_id="u-17")
    api = Api(keys.make_key(account)[1])

    for name in (account.public_id, "u-17", "alice@example.com"):
        assert recorded_for(api, name) == account.public_id
    assert recorded_for(api, "u-18") is None


def test_what_is_remembered_of_an_account_ends_within_five_seconds(
    acme: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    references.find_account(acme.public_id)
    Account.objects.filter(pk=acme.pk).update(name="Renamed")
    now = references.time.monotonic()

    monkeypatch.setattr(references.time, "monotonic", lambda: now + 5)

    assert str(references.find_account(acme.public_id)) == "Renamed"
