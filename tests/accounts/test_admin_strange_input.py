"""What staff type into an address or a form by mistake is answered, never with an error of ours."""

import pytest
from django.test import Client

from accounts import keys
from accounts.models import Account, User


@pytest.fixture
def admin(staff: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(staff)
    return client


@pytest.mark.parametrize(
    "path",
    [
        "usage/record/abc/change/",
        "usage/record/99999999999999999999999/change/",
        "usage/record/abc/reverse/",
        "accounts/key/abc/change/",
        "accounts/key/abc/revoke/",
        "accounts/key/abc/rotate/",
        "accounts/account/abc/delete-account/",
        "accounts/account/99999999999999999999999/change/",
        "usage/record/?account__id__exact=9999999999999999999999",
        "usage/record/?account__id__exact=abc",
        "usage/session/?account__id__exact=9999999999999999999999",
        "accounts/key/?account__id__exact=9999999999999999999999",
        "usage/record/?p=99999999999999999999",
        "usage/record/?q=%00",
        "billing/planlimit/?plan__id__exact=9999999999999999999999",
    ],
)
def test_an_address_that_names_nothing_is_no_server_error(admin: Client, path: str) -> None:
    assert admin.get(f"/admin/{path}").status_code in (200, 302, 400, 403, 404)


@pytest.mark.parametrize("zone", ["Mars/X", "", "../etc/passwd", "UTC\x00", "A" * 65])
def test_an_unknown_time_zone_is_an_error_on_the_form(admin: Client, acme: Account, zone: str) -> None:
    sent = {"name": "Acme", "external_id": "", "time_zone": zone, "currency": "INR"}
    for prefix in ("members", "keys"):
        sent |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}
    keys.make_key(acme)

    response = admin.post(f"/admin/accounts/account/{acme.pk}/change/", sent)

    assert response.status_code == 200
    acme.refresh_from_db()
    assert acme.time_zone == "UTC"


@pytest.mark.parametrize("unit", ["abc", "99999999999999999999999", "-1"])
def test_an_unknown_unit_of_a_price_is_an_error_on_the_form(admin: Client, unit: str) -> None:
    sent = {
        "operation": "api_call",
        "effective_from_0": "2026-01-01",
        "effective_from_1": "00:00",
        "rates-TOTAL_FORMS": "1",
        "rates-INITIAL_FORMS": "0",
        "rates-0-unit": unit,
        "rates-0-price": "1",
        "rates-0-per": "1",
    }

    assert admin.post("/admin/usage/pricingconfig/add/", sent).status_code == 200
