"""manage.py setlimit: the same override as in the admin, from a shell."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Account, AuditEntry, User
from usage.models import Campaign, Quota


def run(account: Account, *options: str) -> str:
    out = StringIO()
    named = ("--account", account.public_id, "--meter", "image_generations", "--reason", "a trial")
    call_command("setlimit", *named, *options, stdout=out)
    return out.getvalue().strip()


def overrides(account: Account) -> list[Quota]:
    return list(Quota.objects.filter(account=account, source="override").order_by("pk"))


def test_a_limit_is_set_until_an_instant_and_ended(acme: Account) -> None:
    said = run(acme, "--limit", "12.5", "--enforcement", "soft", "--until", "2030-01-01T06:00:00")
    assert said == "image_generations: 12.5 images, soft, from now until 2030-01-01T06:00:00+00:00"
    (quota,) = overrides(acme)
    assert (quota.limit, quota.enforcement) == (125_000, "soft")
    assert quota.ends_at == datetime(2030, 1, 1, 6, tzinfo=UTC)
    entry = AuditEntry.objects.get(action="quota.overridden")
    assert (entry.actor, entry.reason) == ("setlimit", "a trial")

    assert run(acme, "--end") == "image_generations: ended 1; the plan holds again"
    assert overrides(acme)[0].ends_at != quota.ends_at
    with pytest.raises(CommandError, match="No override of image_generations is in force there"):
        run(acme, "--end")


def test_unlimited_for_a_member_and_a_campaign(acme: Account, bob: User) -> None:
    spring = Campaign.objects.create(account=acme, name="Spring")
    assert run(acme, "--limit", "unlimited", "--member", "bob@example.com").startswith(
        "image_generations: unl"
    )
    run(acme, "--limit", "0", "--campaign", "Spring", "--window", "day")
    found = [(q.scope, q.scope_id, q.limit, q.window) for q in overrides(acme)]
    assert found == [("member", bob.pk, None, ""), ("campaign", spring.pk, 0, "day")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--limit", "lots"), "Write a number"),
        (("--limit", "-1"), "0 or more"),
        (("--limit", "1", "--until", "soon"), "no instant"),
        (("--limit", "1", "--until", "2020-01-01T00:00:00Z"), "past"),
        (("--limit", "1", "--member", "x@example.com"), "is not a member"),
        (("--limit", "1", "--meter", "nothing"), "Known meters: "),
        (("--limit", "1", "--account", "acc_none"), "There is no account"),
        (("--limit", "1", "--reason", " "), "Say why"),
        (("--limit", "1", "--end"), "not allowed with"),
        (("--limit", "1", "--window", "hour"), "invalid choice"),
    ],
)
def test_what_is_wrong_is_one_line(acme: Account, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(acme, *options)
    assert overrides(acme) == []
