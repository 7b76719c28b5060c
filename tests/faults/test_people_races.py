"""People who decide in the same moment: an owner is left, a link lets one in, what is kept stays."""

import json

from tests.faults.installation import ROUNDS, Installation

MEETING = """
import json, threading
from datetime import timedelta
from django.db import connections
from django.utils import timezone
from accounts import deletion, invitations, membership
from accounts.errors import DomainError
from accounts.lifecycle import open_business_account
from accounts.models import Account, AccountDeletion, AuditEntry, Invitation, Member, User

def user(part):
    return User.objects.create_user(f"{{part}}-{name}@example.com")

def owners(*users):
    account = open_business_account({name!r}, owner=users[0])
    for more in users[1:]:
        Member.objects.create(account=account, user=more, role="owner")
    return account

def place(account, user):
    return Member.objects.get(account=account, user=user).pk

def together(*acts):
    # Everybody begins at the same moment, each with a connection of their own.
    gate, said = threading.Barrier(len(acts)), [None] * len(acts)
    def run(n):
        gate.wait()
        try:
            acts[n]()
            said[n] = "done"
        except DomainError as error:
            said[n] = error.error
        except Exception as error:
            said[n] = repr(error)
        finally:
            connections.close_all()
    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(acts))]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return said

"""


def meet(tollgate: Installation, name: str, code: str) -> dict:
    """Let people meet in a process of their own; what they found afterwards."""
    tollgate.begin(MEETING.format(name=name) + code)
    status, output = tollgate.finish()
    assert status == 0, output
    return json.loads(output)


LEAVE = """
a, b = user("a"), user("b")
account = owners(a, b)
said = together(lambda: membership.leave(account, user=a), lambda: membership.leave(account, user=b))
"""
STEP_DOWN = """
a, b = user("a"), user("b")
account = owners(a, b)
pa, pb = place(account, a), place(account, b)
said = together(lambda: membership.change_role(account, pb, "admin", actor=a),
                lambda: membership.change_role(account, pa, "admin", actor=b))
"""
REMOVE = """
a, b = user("a"), user("b")
account = owners(a, b)
pa, pb = place(account, a), place(account, b)
said = together(lambda: membership.remove(account, pb, actor=a),
                lambda: membership.remove(account, pa, actor=b))
"""
LEAVE_AND_STEP_DOWN = """
a, b = user("a"), user("b")
account = owners(a, b)
pb = place(account, b)
said = together(lambda: membership.leave(account, user=a),
                lambda: membership.change_role(account, pb, "member", actor=b))
"""
COUNT_OWNERS = """
left = Member.objects.filter(account=account, role="owner").count()
written = AuditEntry.objects.filter(account_public_id=account.public_id).count()
print(json.dumps({"said": said, "owners": left, "written": written}))
"""


def assert_one_is_left(tollgate: Installation, name: str, code: str, refusals: set[str]) -> None:
    for n in range(ROUNDS):
        found = meet(tollgate, f"{name}{n}", code + COUNT_OWNERS)
        assert sorted(found["said"])[0] in refusals | {"done"}, found
        assert found["said"].count("done") == 1, found
        assert (found["owners"], found["written"]) == (1, 1), found


def test_of_two_owners_who_leave_at_once_one_stays(tollgate: Installation, name: str) -> None:
    assert_one_is_left(tollgate, name, LEAVE, {"last_owner"})


def test_of_two_owners_who_demote_each_other_one_stays(tollgate: Installation, name: str) -> None:
    assert_one_is_left(tollgate, name, STEP_DOWN, {"forbidden"})


def test_of_two_owners_who_remove_each_other_one_stays(tollgate: Installation, name: str) -> None:
    assert_one_is_left(tollgate, name, REMOVE, {"unknown_account"})


def test_of_one_who_leaves_and_one_who_steps_down_one_stays(tollgate: Installation, name: str) -> None:
    assert_one_is_left(tollgate, name, LEAVE_AND_STEP_DOWN, {"last_owner"})


INVITE = """
a, b = user("a"), user("b")
account = owners(a, b)
said = together(*[lambda who=who: invitations.invite(account, "dora@example.com", "member", actor=who)
                  for who in (a, b) * 4])
print(json.dumps({"said": said, "open": account.invitations.count()}))
"""


def test_somebody_who_is_invited_by_many_at_once_is_invited_once(tollgate: Installation, name: str) -> None:
    found = meet(tollgate, name, INVITE)
    assert sorted(found["said"]) == ["already_invited"] * 7 + ["done"]
    assert found["open"] == 1


ACCEPT = """
a, dora = user("a"), user("dora")
account = owners(a)
_, secret = invitations.invite(account, dora.email, "admin", actor=a)
said = together(*[lambda: invitations.accept(secret, user=dora)] * 8)
places = list(Member.objects.filter(account=account, user=dora).values_list("role", flat=True))
joined = AuditEntry.objects.filter(action="member.joined", account_public_id=account.public_id).count()
print(json.dumps({"said": said, "places": places, "joined": joined}))
"""


def test_a_link_that_is_opened_many_times_at_once_lets_in_once(tollgate: Installation, name: str) -> None:
    found = meet(tollgate, name, ACCEPT)
    assert sorted(found["said"]) == ["done"] + ["unknown_invitation"] * 7
    assert (found["places"], found["joined"]) == (["admin"], 1)


WITHDRAW = """
a, dora = user("a"), user("dora")
account = owners(a)
invitation, secret = invitations.invite(account, dora.email, "admin", actor=a)
said = together(lambda: invitations.accept(secret, user=dora),
                lambda: invitations.withdraw(account, invitation.pk, actor=a))
inside = Member.objects.filter(account=account, user=dora).exists()
print(json.dumps({"said": said, "inside": inside, "open": account.invitations.count()}))
"""


def test_an_invitation_is_accepted_or_withdrawn_never_both(tollgate: Installation, name: str) -> None:
    for n in range(ROUNDS):
        found = meet(tollgate, f"{name}{n}", WITHDRAW)
        expected = ["done", "unknown_invitation"] if found["inside"] else ["unknown_invitation", "done"]
        assert (found["said"], found["open"]) == (expected, 0)


KEEP = """
a = user("a")
account = owners(a)
now = timezone.now()
AccountDeletion.objects.create(account=account, asked_by=a.email, due_at=now)
kept, gone = [], []
said = together(lambda: kept.append(deletion.keep(account, actor=a)),
                *[lambda: gone.append(deletion.carry_out(account.pk, now))] * 4)
there = Account.objects.filter(pk=account.pk).exists()
print(json.dumps({"said": said, "kept": kept, "gone": sum(g is not None for g in gone), "there": there}))
"""


def test_an_account_is_kept_or_deleted_once_never_both(tollgate: Installation, name: str) -> None:
    for n in range(ROUNDS):
        found = meet(tollgate, f"{name}{n}", KEEP)
        assert found["gone"] == (0 if found["there"] else 1), found
        assert found["said"][1:] == ["done"] * 4, found
        if found["there"]:
            assert (found["said"][0], found["kept"]) == ("done", [True])
        else:
            assert found["said"][0] == "unknown_account"


DELETE_WHILE_RECORDING = """
account = Account.objects.get(external_id={name!r})
AccountDeletion.objects.create(account=account, asked_by="test", due_at=timezone.now())
gone = deletion.carry_out(account.pk, timezone.now())
from usage.models import Record, Rollup
left = [table.objects.filter(account_id=account.pk).count() for table in (Record, Rollup, Member)]
print(json.dumps({{"gone": gone is not None, "left": left}}))
"""


def test_what_is_recorded_in_that_moment_does_not_outlive_its_account(
    tollgate: Installation, name: str
) -> None:
    assert tollgate.post("usage/", {"operation": "api_call", "account": name}).status == 201
    tollgate.begin(MEETING.format(name=name) + DELETE_WHILE_RECORDING.format(name=name))
    events = [{"operation": "api_call", "account": name, "event_id": f"e{n}"} for n in range(50)]
    for start in range(0, 50, 10):
        assert tollgate.post("usage/", events[start : start + 10]).status in (200, 207, 400)
    status, output = tollgate.finish()
    assert (status, json.loads(output)["gone"]) == (0, True), output
    assert json.loads(output)["left"] == [0, 0, 0]
