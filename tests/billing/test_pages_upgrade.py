"""The upgrade page: plans side by side, the current one marked, the meter that ran out named."""

from decimal import Decimal
from typing import Any

from django.test import Client

from accounts.models import Account, User
from billing.models import Plan
from billing.plans import change_plan
from tests.conftest import Api
from usage.models import Meter
from usage.quotas import limits


def page(client: Client, user: User, query: str = "") -> str:
    client.force_login(user)
    answer = client.get(f"/upgrade/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def test_every_plan_is_there_and_the_current_one_is_marked(
    client: Client, alice: User, acme: Account
) -> None:
    change_plan(acme, Plan.objects.get(code="pro"), actor="test", reason="test")

    html = page(client, alice)

    for plan in Plan.objects.all():
        assert plan.name in html
    assert html.count(">your plan<") == 1
    marked = html[html.index("offer-current") :]
    assert marked.index("Pro Plan") < marked.index(">your plan<") < marked.index("Enterprise Plan")


def test_the_page_says_what_each_plan_allows(client: Client, alice: User, acme: Account) -> None:
    html = page(client, alice)

    assert "100 images a month" in html
    assert "60 minutes included a month, then" in html
    assert "By agreement" in html


def test_a_refusal_leads_to_the_page_that_names_its_meter(
    client: Client, alice: User, acme: Account, acme_api: Api
) -> None:
    meter = Meter.objects.get(slug="image_generations")
    limits.override(acme, meter, Decimal(0), actor="test", reason="test")
    refused = acme_api.record(operation="image_generation", quantities={"output_images": 1}).json()

    html = page(client, alice, "?" + refused["upgrade_url"].partition("?")[2])

    assert refused["upgrade_url"].partition("?")[0].endswith("/upgrade/")
    assert "Images generated ran out" in html


def test_a_meter_that_nobody_knows_is_passed_over(client: Client, alice: User, acme: Account) -> None:
    assert "ran out" not in page(client, alice, "?meter=%3Cscript%3E")


def test_the_page_asks_who_is_there(client: Client, db: None) -> None:
    answer = client.get("/upgrade/?meter=image_generations")

    assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, "/accounts/login/")


def test_another_account_does_not_exist(client: Client, charlie: User, acme: Account) -> None:
    client.force_login(charlie)

    assert client.get(f"/upgrade/?account={acme.public_id}").status_code == 404


def test_the_page_says_how_the_team_is_reached(
    client: Client, alice: User, acme: Account, settings: Any
) -> None:
    assert "ask the team that runs this Tollgate" in page(client, alice)

    settings.DEFAULT_FROM_EMAIL = "Billing <billing@example.com>"

    html = page(client, alice)
    assert 'href="mailto:billing@example.com?subject=Plan%20of%20acc_' in html
    assert "ask the team" not in html
