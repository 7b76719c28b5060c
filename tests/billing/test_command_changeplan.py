"""manage.py changeplan: the same change as in the admin, from a shell."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Account
from billing import plans
from billing.models import PlanChange


def run(*options: str) -> list[str]:
    out = StringIO()
    call_command("changeplan", *options, stdout=out)
    return out.getvalue().split("\n")[:-1]


def test_a_plan_is_changed_now(acme: Account) -> None:
    said = run("--account", acme.public_id, "--plan", "pro", "--reason", "they paid")
    subscription = plans.subscription_of(acme)
    assert said == [f"pro since {subscription.started_at.isoformat()}"]
    change = PlanChange.objects.filter(account=acme).first()
    assert change is not None
    assert (change.plan.code, change.actor, change.reason) == ("pro", "changeplan", "they paid")


def test_a_plan_is_changed_at_the_periods_end_and_the_change_undone(acme: Account) -> None:
    said = run("--account", acme.public_id, "--plan", "free", "--at-period-end")
    subscription = plans.subscription_of(acme)
    assert subscription.next_at is not None
    assert said[0].startswith("demo since ")
    assert said[1:] == [f"free from {subscription.next_at.isoformat()}"]
    assert len(run("--account", acme.public_id, "--plan", "demo")) == 1
    assert plans.subscription_of(acme).next_plan is None


@pytest.mark.parametrize(
    ("account", "plan", "message"),
    [
        ("acc_none", "pro", "There is no account"),
        (None, "gold", "Known plans: demo"),
        (None, "", "names none"),
    ],
)
def test_what_is_wrong_is_one_line(acme: Account, account: str | None, plan: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run("--account", account or acme.public_id, "--plan", plan)
    assert plans.plan_of(acme).code == "demo"
