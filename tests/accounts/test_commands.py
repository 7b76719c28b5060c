"""createaccount and createkey: each prints only the thing named, and leaves nothing half-made."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts import keys
from accounts.models import Account, AuditEntry, Key, User
from billing.models import Subscription
from tests.conftest import Api

pytestmark = pytest.mark.django_db


def run(command: str, *arguments: str) -> str:
    """What the command prints on standard output; standard error has to stay empty."""
    out, err = StringIO(), StringIO()
    call_command(command, *arguments, stdout=out, stderr=err)
    assert err.getvalue() == ""
    return out.getvalue()


def refusal(command: str, *arguments: str) -> str:
    out = StringIO()
    with pytest.raises(CommandError) as refused:
        call_command(command, *arguments, stdout=out)
    assert out.getvalue() == ""
    message = str(refused.value)
    assert message
    assert "\n" not in message
    return message


def test_createaccount_prints_the_account_id_and_nothing_else() -> None:
    printed = run("createaccount", "--email", "ann@example.com")

    account = Account.objects.get()
    assert printed == f"{account.public_id}\n"
    assert account.public_id.startswith("acc_")
    assert account.person == User.objects.get(email="ann@example.com")
    assert Subscription.objects.get(account=account).plan.is_default


def test_createaccount_again_prints_the_same_id() -> None:
    first = run("createaccount", "--email", "ann@example.com")

    again = run("createaccount", "--email", " Ann@Example.com ", "--plan", "pro", "--external-id", "u-17")

    assert again == first
    assert (User.objects.count(), Account.objects.count()) == (1, 1)
    assert Account.objects.get().external_id is None


def test_createaccount_takes_plan_external_id_and_time_zone() -> None:
    run(
        "createaccount", "--email", "ann@example.com", "--plan", "free", "--external-id", "u-17",
        "--time-zone", "Asia/Kolkata",
    )  # fmt: skip

    account = Account.objects.get(external_id="u-17")
    assert account.time_zone == "Asia/Kolkata"
    assert Subscription.objects.get(account=account).plan.code == "free"


def test_with_a_password_the_user_can_sign_in_and_without_one_not() -> None:
    run("createaccount", "--email", "ann@example.com", "--password", "correct horse battery")
    run("createaccount", "--email", "bea@example.com")

    assert Client().login(username="ann@example.com", password="correct horse battery")
    assert not User.objects.get(email="bea@example.com").has_usable_password()
    assert not Client().login(username="bea@example.com", password="")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--plan", "platinum", "platinum"),
        ("--time-zone", "Mars/Olympus", "Mars/Olympus"),
        ("--external-id", "acc_17", "acc_"),
        ("--external-id", "taken", "already exists"),
        ("--email", "nonsense", "valid email"),
        ("--email", "a" * 250 + "@example.com", ""),
    ],
)
def test_a_bad_value_is_said_in_one_line_and_nothing_is_half_made(option: str, value: str, said: str) -> None:
    Account.objects.create(name="Shop", external_id="taken")
    email = [] if option == "--email" else ["--email", "ann@example.com"]

    assert said in refusal("createaccount", *email, option, value)

    assert (User.objects.count(), Account.objects.count(), Subscription.objects.count()) == (0, 1, 0)


def test_createaccount_of_one_made_meanwhile_prints_that_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = User.objects.create_user("ann@example.com")
    looks = iter([User.objects.none()])
    original = User.objects.filter
    monkeypatch.setattr(User.objects, "filter", lambda **only: next(looks, None) or original(**only))

    assert run("createaccount", "--email", "ann@example.com").strip() == made.personal_account.public_id


@pytest.mark.parametrize("named_by", ["public_id", "external_id", "email"])
def test_createkey_prints_a_working_key_of_the_account_and_nothing_else(named_by: str) -> None:
    account_id = run("createaccount", "--email", "ann@example.com", "--external-id", "u-17").strip()
    names = {"public_id": account_id, "external_id": "u-17", "email": "ann@example.com"}

    printed = run("createkey", "--account", names[named_by], "--name", "laptop")

    assert printed.startswith("tg_live_")
    assert printed == f"{printed.strip()}\n"
    assert Api(printed.strip()).get("usage/current/").json()["account"] == account_id
    assert Key.objects.get().name == "laptop"


def test_createkey_service_makes_a_key_of_every_scope() -> None:
    caller = keys.check(run("createkey", "--service").strip())

    assert caller.is_service
    assert "accounts:create" in caller.scopes


def test_createkey_takes_scopes() -> None:
    run("createaccount", "--email", "ann@example.com")

    token = run("createkey", "--account", "ann@example.com", "--scopes", "usage:write, usage:read,quotas")

    assert keys.check(token.strip()).scopes == {"usage:write", "usage:read", "quotas"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--account", "nobody@example.com"],
        ["--account", "acc_nobody"],
        ["--service", "--scopes", "usage:delete"],
        ["--account", "ann@example.com", "--scopes", "net:read"],
        ["--service", "--scopes", ""],
        ["--service", "--scopes", " , "],
        ["--service", "--name", "x" * 101],
        ["--service", "--account", "ann@example.com"],
        [],
    ],
    ids=" ".join,
)
def test_createkey_refuses_in_one_line_and_makes_nothing(arguments: list[str]) -> None:
    run("createaccount", "--email", "ann@example.com")

    assert refusal("createkey", *arguments)

    assert (Key.objects.count(), AuditEntry.objects.filter(action="key.created").count()) == (0, 0)


def test_a_made_key_is_in_the_audit_trail_without_its_secret() -> None:
    token: Any = run("createkey", "--service").strip()

    entry = AuditEntry.objects.get(action="key.created")
    assert entry.actor == "createkey"
    assert token not in (entry.subject, entry.after)
    assert token.startswith(entry.subject)
