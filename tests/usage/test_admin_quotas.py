"""Quotas in the admin: looked at, overridden for whom it is named, ended with a reason; never edited."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts import keys
from accounts.lifecycle import open_business_account
from accounts.models import Account, AuditEntry, User
from usage.models import Campaign, Meter, Quota, Scope
from usage.quotas import limits

LIST = "/admin/usage/quota/"


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def meter(slug: str = "image_generations") -> Meter:
    return Meter.objects.get(slug=slug)


def sent(owner: Account, **changes: object) -> dict[str, object]:
    """The form that adds an override, as a browser sends it."""
    fields = {"account": owner.pk, "meter": meter().pk, "scope": "account", "who": "", "amount": "12.5"}
    fields |= {"window": "", "enforcement": "hard", "ends_at_0": "", "ends_at_1": "", "reason": "a trial"}
    return {**fields, **changes}


def overrides(account: Account) -> list[Quota]:
    return list(Quota.objects.filter(account=account, source="override").order_by("pk"))


def override(account: Account, limit: int = 5, **more: object) -> Quota:
    return limits.override(account, meter(), Decimal(limit), actor="test", reason="first", **more)  # type: ignore[arg-type]


def test_an_override_is_added_holds_at_once_and_is_written_down(
    admin: Client, acme: Account, staff: User
) -> None:
    assert admin.post(f"{LIST}add/", sent(acme)).status_code == 302

    (quota,) = overrides(acme)
    assert (quota.limit, quota.scope, quota.window, quota.ends_at) == (125_000, "account", "", None)
    assert (quota.reason, quota.set_by) == ("a trial", staff.email)
    entry = AuditEntry.objects.get(action="quota.overridden")
    assert (entry.actor_id, entry.account_public_id, entry.reason) == (staff.pk, acme.public_id, "a trial")
    assert not AuditEntry.objects.filter(action="quota.added").exists()


def test_unlimited_and_none_are_told_apart(admin: Client, acme: Account) -> None:
    admin.post(f"{LIST}add/", sent(acme, amount="Unlimited"))
    admin.post(f"{LIST}add/", sent(acme, amount="0", window="day"))
    assert [quota.limit for quota in overrides(acme)] == [None, 0]


def test_who_is_limited_is_named_as_people_do(admin: Client, acme: Account, bob: User) -> None:
    spring = Campaign.objects.create(account=acme, name="Spring sale")
    key, _ = keys.make_key(acme, name="server")
    wanted = {"member": "Bob@example.com", "campaign": "Spring sale", "key": key.prefix[:-1]}
    for scope, who in wanted.items():
        assert admin.post(f"{LIST}add/", sent(acme, scope=scope, who=who)).status_code == 302

    assert [(q.scope, q.scope_id) for q in overrides(acme)] == [
        ("member", bob.pk),
        ("campaign", spring.pk),
        ("key", key.pk),
    ]
    page = admin.get(LIST, {"source__exact": "override"}).content.decode()
    for name in ("bob@example.com", "Spring sale", key.prefix):
        assert f">{name}</a>" in page


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"amount": ""}, "amount", "Write a number"),
        ({"amount": "many"}, "amount", "Write a number"),
        ({"amount": "1,5"}, "amount", "Write a number"),
        ({"amount": "NaN"}, "amount", "Write a number"),
        ({"amount": "-1"}, "amount", "0 or more"),
        ({"amount": "1.00001"}, "amount", "decimal places"),
        ({"amount": "1e30"}, "amount", "too large"),
        ({"reason": " "}, "reason", "Say why"),
        ({"scope": "member", "who": ""}, "who", "Name the member"),
        ({"scope": "member", "who": "charlie@example.com"}, "who", "is not a member"),
        ({"scope": "campaign", "who": "Autumn"}, "who", "no campaign"),
        ({"scope": "key", "who": "tg_live_none"}, "who", "no key"),
        ({"scope": "account", "who": "bob@example.com"}, "who", "names nobody else"),
        ({"ends_at_0": "2020-01-01", "ends_at_1": "00:00"}, "ends_at", "past"),
        ({"account": "999999"}, "account", "valid choice"),
        ({"enforcement": "strict"}, "enforcement", "valid choice"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(
    admin: Client, acme: Account, charlie: User, changes: dict[str, str], field: str, message: str
) -> None:
    answer = admin.post(f"{LIST}add/", sent(acme, **changes))

    assert answer.status_code == 200
    errors = answer.context["adminform"].errors
    assert list(errors) == [field]
    assert message in str(errors)
    assert overrides(acme) == []


def test_a_key_beginning_that_names_several_is_refused(admin: Client, acme: Account) -> None:
    for _ in range(2):
        keys.make_key(acme)
    answer = admin.post(f"{LIST}add/", sent(acme, scope="key", who="tg_live_"))
    assert "Several keys begin with" in answer.content.decode()


def test_another_accounts_campaign_and_key_do_not_exist(admin: Client, acme: Account) -> None:
    other = open_business_account("Other")
    Campaign.objects.create(account=other, name="Theirs")
    key, _ = keys.make_key(other)
    for scope, who in (("campaign", "Theirs"), ("key", key.prefix)):
        assert admin.post(f"{LIST}add/", sent(acme, scope=scope, who=who)).status_code == 200
    assert overrides(acme) == []


def test_an_end_in_utc_is_kept(admin: Client, acme: Account) -> None:
    day = (timezone.now() + timedelta(days=3)).date()
    admin.post(f"{LIST}add/", sent(acme, ends_at_0=day.isoformat(), ends_at_1="06:30"))
    (quota,) = overrides(acme)
    assert quota.ends_at is not None
    assert quota.ends_at.isoformat() == f"{day}T06:30:00+00:00"


def test_an_override_is_ended_with_a_reason(admin: Client, acme: Account, staff: User) -> None:
    quota = override(acme)
    page = f"{LIST}{quota.pk}/end/"
    assert page in admin.get(f"{LIST}{quota.pk}/change/").content.decode()
    assert admin.post(page, {"reason": ""}).status_code == 200
    assert overrides(acme)[0].ends_at is None

    assert admin.post(page, {"reason": "the trial is over"}).status_code == 302

    quota.refresh_from_db()
    assert quota.ends_at is not None
    assert quota.ends_at <= timezone.now()
    entry = AuditEntry.objects.get(action="quota.override_ended")
    assert (entry.actor_id, entry.reason) == (staff.pk, "the trial is over")
    assert page not in admin.get(f"{LIST}{quota.pk}/change/").content.decode()
    assert admin.post(page, {"reason": "again"}).status_code == 403


def test_ticked_overrides_are_ended_together_and_plan_rows_stay(admin: Client, acme: Account) -> None:
    mine = [override(acme), override(acme, window="day")]
    planned = Quota.objects.filter(account=acme, source="plan", ends_at=None)
    before = planned.count()
    ids = [quota.pk for quota in (*mine, *planned)]
    ticked = {"action": "end_selected", "_selected_action": ids}
    assert "End 2 overrides?" in admin.post(LIST, {**ticked, "index": "0"}).content.decode()

    admin.post(LIST, {**ticked, "confirmed": "yes", "reason": "over"})

    assert all(quota.ends_at is not None for quota in overrides(acme))
    assert planned.count() == before


def test_a_plans_quota_cannot_be_ended_and_no_quota_is_edited_or_deleted(
    admin: Client, acme: Account
) -> None:
    quota = Quota.objects.filter(account=acme, source="plan")[0]
    assert admin.post(f"{LIST}{quota.pk}/end/", {"reason": "x"}).status_code == 403
    assert admin.post(f"{LIST}{quota.pk}/change/", {"limit": "1"}).status_code == 403
    assert admin.post(f"{LIST}{quota.pk}/delete/", {"post": "yes"}).status_code == 403


def test_the_list_is_filtered_and_searched(admin: Client, acme: Account, charlie: User) -> None:
    ended = override(acme, 5)
    limits.end_override(ended, actor="test", reason="over")
    live = override(acme, 7, enforcement="soft")

    def shown(**query: str | int) -> set[int]:
        answer = admin.get(LIST, query)
        return {row.pk for row in answer.context["cl"].result_list}

    mine: dict[str, int] = {"account__id__exact": acme.pk}
    assert shown(source__exact="override", **mine) == {ended.pk, live.pk}
    assert shown(source__exact="override", state="force") == {live.pk}
    assert shown(state="ended", **mine) == {ended.pk}
    assert shown(enforcement__exact="soft", **mine) == {live.pk}
    assert live.pk in shown(meter__id__exact=meter().pk)
    assert live.pk not in shown(meter__id__exact=meter("spend").pk)
    everybody = shown(q=acme.public_id)
    assert (
        everybody == shown(q="Acme") == set(Quota.objects.filter(account=acme).values_list("pk", flat=True))
    )
    assert not everybody & shown(q="charlie@example.com")


def test_limits_are_shown_as_people_read_them(admin: Client, acme: Account) -> None:
    limits.override(acme, meter("spend"), Decimal("0.25"), actor="test", reason="x")
    limits.override(acme, meter("tokens"), None, actor="test", reason="x")
    page = admin.get(LIST, {"source__exact": "override"}).content.decode()
    assert '<span class="tg-number">0.25</span> <span class="tg-note">USD</span>' in page
    assert "unlimited" in page
    assert "2500000000" not in page


def test_a_page_of_many_scopes_takes_few_queries(
    admin: Client, acme: Account, django_assert_max_num_queries: object
) -> None:
    for n in range(40):
        campaign = Campaign.objects.create(account=acme, name=f"campaign {n}")
        override(acme, scope=Scope.CAMPAIGN, scope_id=campaign.pk)
    with django_assert_max_num_queries(22):  # type: ignore[operator]
        page = admin.get(LIST).content.decode()
    assert all(f">campaign {n}</a>" in page for n in range(40))


def test_the_form_begins_with_the_account_that_a_link_names(admin: Client, acme: Account) -> None:
    page = admin.get(f"{LIST}add/", {"account": acme.pk}).content.decode()
    assert f'<option value="{acme.pk}" selected' in page


def test_who_may_only_look_neither_adds_nor_ends(acme: Account, client: Client) -> None:
    quota = override(acme)
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.add(Permission.objects.get(codename="view_quota"))
    client.force_login(clerk)

    assert client.get(f"{LIST}{quota.pk}/change/").status_code == 200
    assert client.post(f"{LIST}add/", sent(acme)).status_code == 403
    assert client.post(f"{LIST}{quota.pk}/end/", {"reason": "x"}).status_code == 403
    ticked = {"action": "end_selected", "_selected_action": [quota.pk], "confirmed": "yes", "reason": "x"}
    client.post(LIST, ticked)
    assert overrides(acme)[0].ends_at is None
