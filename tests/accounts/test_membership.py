"""Roles in a business account: who may decide about whom, and that an owner is always left."""

import pytest

from accounts import membership
from accounts.errors import DomainError
from accounts.lifecycle import open_business_account
from accounts.models import Account, AuditEntry, Key, Member, User
from tests.conftest import Api

OWNER, ADMIN, MEMBER = Member.Role.OWNER, Member.Role.ADMIN, Member.Role.MEMBER


def place(account: Account, email: str, role: str) -> Member:
    return Member.objects.create(account=account, user=User.objects.create_user(email), role=role)


def role_of(account: Account, user: User) -> str | None:
    return Member.objects.filter(account=account, user=user).values_list("role", flat=True).first()


@pytest.fixture
def bob_s_place(acme: Account, bob: User) -> Member:
    return Member.objects.get(account=acme, user=bob)


def as_role(acme: Account, role: str) -> User:
    """Somebody who has this role in Acme, beside Alice and Bob."""
    return place(acme, f"the-{role}@example.com", role).user


@pytest.mark.parametrize("to", [OWNER, ADMIN, MEMBER])
@pytest.mark.parametrize("whose", [OWNER, ADMIN, MEMBER])
@pytest.mark.parametrize("who", [OWNER, ADMIN, MEMBER])
def test_who_may_give_which_role_to_whom(acme: Account, who: str, whose: str, to: str) -> None:
    actor, target = as_role(acme, who), place(acme, "target@example.com", whose)
    may = who == OWNER or (who == ADMIN and OWNER not in (whose, to))

    if may:
        membership.change_role(acme, target.pk, to, actor=actor)
    else:
        with pytest.raises(DomainError) as refused:
            membership.change_role(acme, target.pk, to, actor=actor)
        assert refused.value.status == 403

    target.refresh_from_db()
    assert target.role == (to if may else whose)


@pytest.mark.parametrize("whose", [OWNER, ADMIN, MEMBER])
@pytest.mark.parametrize("who", [OWNER, ADMIN, MEMBER])
def test_who_may_remove_whom(acme: Account, who: str, whose: str) -> None:
    actor, target = as_role(acme, who), place(acme, "target@example.com", whose)
    may = who == OWNER or (who == ADMIN and whose != OWNER)

    if may:
        membership.remove(acme, target.pk, actor=actor)
    else:
        with pytest.raises(DomainError) as refused:
            membership.remove(acme, target.pk, actor=actor)
        assert refused.value.status == 403

    assert Member.objects.filter(pk=target.pk).exists() != may


def test_a_role_that_does_not_exist_is_refused_at_its_field(
    acme: Account, alice: User, bob_s_place: Member
) -> None:
    with pytest.raises(DomainError) as refused:
        membership.change_role(acme, bob_s_place.pk, "king", actor=alice)
    assert (refused.value.status, refused.value.field) == (400, "role")


def test_a_change_is_written_down_once_and_the_same_role_not_at_all(
    acme: Account, alice: User, bob_s_place: Member
) -> None:
    membership.change_role(acme, bob_s_place.pk, ADMIN, actor=alice)
    membership.change_role(acme, bob_s_place.pk, ADMIN, actor=alice)

    entry = AuditEntry.objects.get(action="member.role_changed")
    assert (entry.actor, entry.subject) == ("alice@example.com", "bob@example.com")
    assert (entry.before, entry.after) == ({"role": "member"}, {"role": "admin"})
    assert entry.account_public_id == acme.public_id


def test_the_only_owner_can_neither_leave_nor_step_down_nor_be_removed(acme: Account, alice: User) -> None:
    own = Member.objects.get(account=acme, user=alice)
    acts = [
        lambda: membership.leave(acme, user=alice),
        lambda: membership.remove(acme, own.pk, actor=alice),
        lambda: membership.change_role(acme, own.pk, ADMIN, actor=alice),
    ]
    for act in acts:
        with pytest.raises(DomainError, match="only owner") as refused:
            act()
        assert refused.value.status == 409
    assert role_of(acme, alice) == OWNER


def test_of_two_owners_one_may_leave(acme: Account, alice: User) -> None:
    second = as_role(acme, OWNER)

    membership.leave(acme, user=alice)

    assert role_of(acme, alice) is None
    with pytest.raises(DomainError, match="only owner"):
        membership.leave(acme, user=second)
    assert AuditEntry.objects.get(action="member.left").subject == "alice@example.com"


def test_handing_over_makes_one_an_owner_and_the_other_an_admin(
    acme: Account, alice: User, bob: User, bob_s_place: Member
) -> None:
    membership.transfer(acme, bob_s_place.pk, actor=alice)

    assert (role_of(acme, bob), role_of(acme, alice)) == (OWNER, ADMIN)
    assert AuditEntry.objects.get(action="account.transferred").subject == "bob@example.com"


@pytest.mark.parametrize("who", [ADMIN, MEMBER])
def test_only_an_owner_hands_over(acme: Account, alice: User, bob_s_place: Member, who: str) -> None:
    with pytest.raises(DomainError) as refused:
        membership.transfer(acme, bob_s_place.pk, actor=as_role(acme, who))
    assert refused.value.status == 403
    assert role_of(acme, alice) == OWNER


def test_nobody_hands_over_to_themself(acme: Account, alice: User) -> None:
    with pytest.raises(DomainError) as refused:
        membership.transfer(acme, Member.objects.get(account=acme, user=alice).pk, actor=alice)
    assert refused.value.status == 409
    assert role_of(acme, alice) == OWNER


def test_a_member_of_another_account_is_not_there(acme: Account, alice: User, charlie: User) -> None:
    theirs = Member.objects.get(user=charlie)
    acts = [
        lambda: membership.change_role(acme, theirs.pk, ADMIN, actor=alice),
        lambda: membership.remove(acme, theirs.pk, actor=alice),
        lambda: membership.transfer(acme, theirs.pk, actor=alice),
    ]
    for act in acts:
        with pytest.raises(DomainError) as refused:
            act()
        assert refused.value.status == 404


def test_a_stranger_decides_nothing(acme: Account, bob_s_place: Member, charlie: User) -> None:
    acts = [
        lambda: membership.change_role(acme, bob_s_place.pk, ADMIN, actor=charlie),
        lambda: membership.remove(acme, bob_s_place.pk, actor=charlie),
        lambda: membership.transfer(acme, bob_s_place.pk, actor=charlie),
        lambda: membership.leave(acme, user=charlie),
    ]
    for act in acts:
        with pytest.raises(DomainError) as refused:
            act()
        assert refused.value.status == 404


def test_a_personal_account_keeps_its_person(alice: User) -> None:
    own = alice.personal_account
    place(own, "second-owner@example.com", OWNER)  # as staff could have made one

    with pytest.raises(DomainError, match="belongs to its person"):
        membership.leave(own, user=alice)
    assert role_of(own, alice) == OWNER


def test_what_a_removed_member_recorded_and_the_keys_they_made_stay(
    acme: Account, alice: User, bob: User, bob_s_place: Member, service_api: Api
) -> None:
    key = Key.objects.create(
        account=acme, prefix="tg_live_bob", secret_hash=bytes(32), created_by=bob, scopes=["usage:read"]
    )
    record = {"account": acme.public_id, "operation": "api_call", "user": "bob@example.com"}
    assert service_api.record(**record).status_code == 201

    membership.remove(acme, bob_s_place.pk, actor=alice)

    key.refresh_from_db()
    history = service_api.get("usage/history/", account=acme.public_id).json()["results"]
    assert (key.revoked_at, key.created_by) == (None, bob)
    assert [row["user"] for row in history] == ["bob@example.com"]


def test_nobody_records_for_a_removed_member_from_then_on(
    acme: Account,
    alice: User,
    bob_s_place: Member,
    service_api: Api,
    django_capture_on_commit_callbacks: object,
) -> None:
    record = {"account": acme.public_id, "operation": "api_call", "user": "bob@example.com"}
    assert service_api.record(**record).status_code == 201  # this process remembers Bob now

    with django_capture_on_commit_callbacks(execute=True):  # type: ignore[operator]
        membership.remove(acme, bob_s_place.pk, actor=alice)

    assert service_api.record(**record).json()["error"] == "unknown_user"


def test_the_accounts_that_only_one_owns(acme: Account, alice: User, bob: User) -> None:
    shared = open_business_account("Shared", owner=alice)
    Member.objects.create(account=shared, user=bob, role=OWNER)
    open_business_account("Bob's", owner=bob)

    assert membership.only_owned_by(alice) == [acme]
