"""Cost alarms in the admin: clear errors, how each stands, what fired, and mails that are sent again."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry, User
from billing import cost_alarms
from billing.models import CostAlarm, CostAlarmFiring
from tests.billing.reporting import clock, may_see_net
from tests.billing.test_cost_alarms import NOON, alarm, used_on
from usage.models import Model, Operation

LIST = "/admin/billing/costalarm/"
FIRINGS = "/admin/billing/costalarmfiring/"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def now() -> Iterator[Any]:
    with clock(NOON) as traveller:
        yield traveller


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def typed(**values: Any) -> dict[str, Any]:
    known = {
        "name": "All",
        "amount": "100",
        "window": "month",
        "warnings": "50, 80 %",
        "addresses": "Ops@example.com\nops@example.com",
        "is_active": "on",
    }
    return {**known, **values}


def test_one_is_added_as_it_was_typed_and_written_down(admin: Client, staff: User) -> None:
    answer = admin.post(LIST + "add/", typed(users=[staff.pk], amount="0.0000000001"))
    assert answer.status_code == 302, answer.content.decode()
    made = CostAlarm.objects.get()
    assert (made.amount, made.warnings, made.addresses) == (Decimal("1E-10"), [50, 80], ["ops@example.com"])
    assert cost_alarms.recipients(made) == [staff.email, "ops@example.com"]
    (entry,) = AuditEntry.objects.filter(action="cost_alarm.added")
    after: Any = entry.after
    assert (entry.actor, entry.subject, after["amount"]) == (staff.email, "All", "1E-10")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"amount": "0"}, "An amount is above 0."),
        ({"amount": "-5"}, "An amount is above 0."),
        ({"amount": "much"}, "Enter a number."),
        ({"amount": "999999999"}, "too large to be stored"),
        ({"warnings": "80, 100"}, "An early warning is below 100 %"),
        ({"warnings": "half"}, "is not a whole number of per cent"),
        ({"addresses": "ops"}, "&#x27;ops&#x27; is not an e-mail address."),
        ({"addresses": ""}, "Choose who is told, or give an address below."),
        ({"window": "year"}, "Select a valid choice"),
        ({"name": ""}, "This field is required."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    admin: Client, values: dict[str, str], said: str
) -> None:
    answer = admin.post(LIST + "add/", typed(**values))
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert CostAlarm.objects.count() == 0


def test_a_name_is_taken_once_and_who_is_told_may_see_net_billing(admin: Client, bob: User) -> None:
    alarm("All")
    answer = admin.post(LIST + "add/", typed())
    assert "already exists" in answer.content.decode()
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    answer = admin.post(LIST + "add/", typed(name="Other", users=[bob.pk]))
    assert "bob@example.com may not." in answer.content.decode()
    may_see_net(bob)
    assert admin.post(LIST + "add/", typed(name="Other", users=[bob.pk])).status_code == 302


def test_a_model_of_another_provider_is_refused(admin: Client) -> None:
    sold = Model.objects.create(provider="openai", name="gpt-x")
    answer = admin.post(LIST + "add/", typed(model=sold.pk, provider="google"))
    assert "another provider" in answer.content.decode()
    assert admin.post(LIST + "add/", typed(model=sold.pk, provider="openai")).status_code == 302


def test_the_list_says_how_each_stands_and_what_fired(admin: Client) -> None:
    alarm("All", "100")
    operation = Operation.objects.all()[0]
    alarm("One operation", "200", operation=operation, window="week")
    used_on(NOON.date(), 120, operation.pk)
    assert cost_alarms.check(NOON) == 1
    page = admin.get(LIST).content.decode()
    assert "$120.00 of $100.00 (120 %)" in page
    assert "$120.00 of $200.00 (60 %)" in page
    fired = CostAlarmFiring.objects.get(percent=100)
    assert f"{FIRINGS}{fired.pk}/change/" in page
    one = admin.get(f"{LIST}{fired.alarm_id}/change/").content.decode()
    assert "$100.00 in November 2026" in one
    assert "80 % of $100.00 in November 2026" in one
    assert "told with a higher one" in one


def test_empty_lists_say_how_rows_come(admin: Client) -> None:
    assert "Add one to be told by mail" in admin.get(LIST).content.decode()
    assert "A firing is written down when" in admin.get(FIRINGS).content.decode()


def test_what_failed_is_sent_again_by_who_may_change_alarms(admin: Client, bob: User) -> None:
    alarm("All", warnings=[])
    used_on(NOON.date(), 120)
    cost_alarms.check(NOON)
    CostAlarmFiring.objects.update(state=2, error="The mail server did not take it: OSError.")
    row = CostAlarmFiring.objects.get()
    assert "The mail server did not take it: OSError." in admin.get(FIRINGS).content.decode()
    clerk = Client()
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    bob.user_permissions.add(Permission.objects.get(codename="view_costalarmfiring"))
    clerk.force_login(User.objects.get(pk=bob.pk))
    assert clerk.get(f"{FIRINGS}{row.pk}/change/").status_code == 200
    assert clerk.post(f"{FIRINGS}{row.pk}/retry/", {"reason": ""}).status_code == 403
    assert admin.post(f"{FIRINGS}{row.pk}/retry/", {"reason": ""}).status_code == 302
    assert CostAlarmFiring.objects.get().state == 0
    assert AuditEntry.objects.filter(action="cost_alarm_firing.retried").count() == 1
    assert admin.post(f"{FIRINGS}{row.pk}/retry/", {"reason": ""}).status_code == 403


def test_deleted_with_what_fired_and_written_down(admin: Client) -> None:
    made = alarm("All")
    used_on(NOON.date(), 120)
    cost_alarms.check(NOON)
    assert admin.post(f"{LIST}{made.pk}/delete/", {"post": "yes"}).status_code == 302
    assert (CostAlarm.objects.count(), CostAlarmFiring.objects.count()) == (0, 0)
    assert AuditEntry.objects.filter(action="cost_alarm.deleted").count() == 1


def test_an_operation_that_an_alarm_counts_is_not_deleted(admin: Client) -> None:
    operation = Operation.objects.create(slug="brand_new", name="Brand new")
    alarm("All", operation=operation)
    page = admin.get(f"/admin/usage/operation/{operation.pk}/delete/").content.decode()
    assert "All" in page
    admin.post(f"/admin/usage/operation/{operation.pk}/delete/", {"post": "yes"})
    assert Operation.objects.filter(pk=operation.pk).exists()


def test_many_alarms_take_few_statements(admin: Client) -> None:
    for number in range(40):
        alarm(f"alarm {number}", "1", window=["day", "week", "month"][number % 3])
    used_on(NOON.date(), 120)
    cost_alarms.check(NOON)
    admin.get(LIST)
    for page in (LIST, FIRINGS):
        with CaptureQueriesContext(connection) as queries:
            assert admin.get(page).status_code == 200
        assert len(queries) <= 15
