"""Deleting an account: asked for a reason, logged, and nothing of it stays but the log."""

import pytest

from accounts.errors import DomainError
from accounts.lifecycle import delete_account
from accounts.models import Account, AuditEntry, Key, Member, Permit, User
from tests.conftest import Api, forget_everything
from usage.models import (
    Campaign,
    Record,
    RecordDetail,
    ReferenceCount,
    ReferenceName,
    Reversal,
    Rollup,
    RollupDay,
    RollupUnit,
    Session,
)

pytestmark = pytest.mark.usefixtures("totals_agree")

LEDGER = (
    *(Record, RecordDetail, Reversal, Rollup, RollupUnit, RollupDay, Session, Campaign),
    *(ReferenceName, ReferenceCount),
)


def use_everything(service_api: Api, account: Account) -> None:
    event = {
        "account": account.public_id,
        "operation": "api_call",
        "session": "chat-9",
        "campaign": "spring",
        "reference": "generation-1",
        "request_id": "req-1",
        "metadata": {"a": 1},
    }
    first = service_api.record(**event).json()
    service_api.record(**event)
    service_api.post(f"usage/{first['id']}/reverse/", {"reason": "sent by mistake"})


def rows_of(account_id: int) -> dict[str, list]:
    return {
        table.__name__: list(table.objects.filter(account_id=account_id).order_by("pk").values())
        for table in LEDGER
    }


def test_everything_of_the_account_goes_and_others_stay(
    acme: Account, charlie: User, service_api: Api
) -> None:
    charlies = charlie.personal_account
    use_everything(service_api, acme)
    use_everything(service_api, charlies)
    before = rows_of(charlies.pk)
    assert all(before.values())
    assert all(rows_of(acme.pk).values())
    acme_id = acme.pk

    delete_account(acme, actor="staff@example.com", reason="closed by its owner")

    assert not any(rows_of(acme_id).values())
    assert rows_of(charlies.pk) == before
    assert not Account.objects.filter(pk=acme_id).exists()
    assert not Member.objects.filter(account_id=acme_id).exists()
    assert not Key.objects.filter(account_id=acme_id).exists()
    assert not Permit.objects.exists()


def test_a_business_account_leaves_its_members_with_their_own(
    acme: Account, alice: User, bob: User, service_api: Api
) -> None:
    use_everything(service_api, alice.personal_account)
    before = rows_of(alice.personal_account.pk)

    delete_account(acme, actor="staff@example.com", reason="closed")

    assert set(User.objects.all()) == {alice, bob}
    assert rows_of(alice.personal_account.pk) == before


def test_it_is_logged_with_who_and_why(acme: Account, staff: User) -> None:
    public_id = acme.public_id

    delete_account(acme, actor=staff, reason=" closed by its owner ")

    entry = AuditEntry.objects.get(action="account.deleted")
    assert (entry.actor, entry.reason) == ("staff@example.com", "closed by its owner")
    assert (entry.account_public_id, entry.subject) == (public_id, "Acme")
    assert entry.before is not None
    assert entry.before["members"] == ["alice@example.com", "bob@example.com"]


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_without_a_reason_nothing_is_deleted(reason: str, acme: Account, service_api: Api) -> None:
    use_everything(service_api, acme)
    before = rows_of(acme.pk)

    with pytest.raises(DomainError, match="Say why"):
        delete_account(acme, actor="staff@example.com", reason=reason)

    assert rows_of(acme.pk) == before
    assert not AuditEntry.objects.filter(action="account.deleted").exists()


def test_a_deletion_that_fails_deletes_nothing(
    acme: Account, service_api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_everything(service_api, acme)
    before = rows_of(acme.pk)

    def fail(self: Account) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(Account, "delete", fail)
    with pytest.raises(RuntimeError):
        delete_account(acme, actor="staff@example.com", reason="closed")

    assert rows_of(acme.pk) == before
    assert not Permit.objects.exists()


def test_what_arrives_afterwards_is_refused_and_leaves_no_name_behind(
    acme: Account, acme_api: Api, service_api: Api
) -> None:
    event = {"operation": "api_call", "session": "chat-9", "campaign": "spring"}
    assert acme_api.record(**event).status_code == 201  # both keys' processes remember the account
    assert service_api.record(account=acme.public_id, **event).status_code == 201
    public_id, acme_id = acme.public_id, acme.pk

    delete_account(acme, actor="staff@example.com", reason="closed")
    late = {**event, "session": "chat-10", "campaign": "summer"}
    refused = [acme_api.record(**late), service_api.record(account=public_id, **late)]

    assert [answer.json()["error"] for answer in refused] == ["unknown_account"] * 2
    assert not any(rows_of(acme_id).values())


def test_of_a_batch_for_two_accounts_the_living_one_gets_its_part(
    acme: Account, charlie: User, service_api: Api
) -> None:
    names = [acme.public_id, charlie.personal_account.public_id]
    batch = [{"account": name, "operation": "api_call"} for name in names]
    assert service_api.post("usage/", batch).json()["accepted"] == 2

    delete_account(acme, actor="staff@example.com", reason="closed")
    answer = service_api.post("usage/", batch)

    assert answer.status_code == 207
    assert answer.json()["accepted"] == 1
    assert [(item["index"], item["error"]) for item in answer.json()["rejected"]] == [(0, "unknown_account")]


def test_an_external_id_can_be_used_again_and_starts_from_nothing(service_api: Api) -> None:
    service_api.record(account="u-17", event_id="one", operation="api_call")
    account = Account.objects.get(external_id="u-17")

    delete_account(account, actor="staff@example.com", reason="closed")
    forget_everything()
    answer = service_api.record(account="u-17", event_id="one", operation="api_call")

    assert answer.status_code == 201
    assert answer.json()["account"] != account.public_id
    current = service_api.get("usage/current/", account="u-17").json()
    assert current["summary"]["operations"] == 1
