"""Invitations: a mail with a link that works once, for one address, within a week."""

import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core import mail as outbox
from django.test import Client
from django.utils import timezone

from accounts import invitations
from accounts.email_addresses import verify
from accounts.errors import DomainError
from accounts.models import Account, AuditEntry, Invitation, Member, User

OWNER, ADMIN, MEMBER = Member.Role.OWNER, Member.Role.ADMIN, Member.Role.MEMBER
INVITE = "/settings/account/invite/"


def browser_of(user: User) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


@pytest.fixture
def alice_s_browser(alice: User, acme: Account) -> Client:
    return browser_of(alice)


def invite(browser: Client, email: str = "dora@example.com", role: str = MEMBER) -> Any:
    return browser.post(INVITE, {"email": email, "role": role})


def link(mail: Any = None) -> str:
    """The path of the link in a mail, the last one by default."""
    mail = mail or outbox.outbox[-1]
    found = re.findall(r"/accounts/invitations/[\w-]+/", mail.body)
    assert len(found) == 1
    return found[0]


def text(answer: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


# Inviting


def test_the_mail_says_who_invites_to_what_as_what(alice_s_browser: Client) -> None:
    answer = invite(alice_s_browser, " Dora@Example.com ", ADMIN)

    (mail,) = outbox.outbox
    assert answer.headers["Location"] == "/settings/account/"
    assert mail.to == ["dora@example.com"]
    assert mail.subject == "Alice invites you to Acme"
    assert "Alice (alice@example.com) invites you to Acme on Tollgate, as admin." in mail.body
    assert f"http://127.0.0.1:8000{link()}" in mail.body


def test_the_mail_is_plain_and_html_and_loads_nothing_from_anywhere(alice_s_browser: Client) -> None:
    invite(alice_s_browser)

    mail: Any = outbox.outbox[0]
    ((html, kind),) = mail.alternatives
    assert kind == "text/html"
    assert link() in html
    assert re.findall(r"\b(?:src|url)\b", html) == []
    assert {re.sub(r"/.*", "", rest) for rest in re.findall(r"https?://([^\"<]+)", html)} == {
        "127.0.0.1:8000"
    }


def test_names_are_escaped_in_html_and_have_no_line_breaks_in_the_subject(
    alice_s_browser: Client, alice: User, acme: Account
) -> None:
    Account.objects.filter(pk=acme.pk).update(name="A <b>&\r\nBcc: eve@example.com")
    invite(alice_s_browser)

    mail: Any = outbox.outbox[0]
    assert mail.subject == "Alice invites you to A <b>& Bcc: eve@example.com"
    assert mail.recipients() == ["dora@example.com"]
    assert "A &lt;b&gt;&amp;" in mail.alternatives[0][0]
    assert "A <b>&" in mail.body


def test_of_the_link_only_a_hash_is_stored(alice_s_browser: Client) -> None:
    invite(alice_s_browser)

    secret = link().split("/")[-2]
    row = Invitation.objects.values().get()
    entry = AuditEntry.objects.filter(action="member.invited").values().get()
    assert len(secret) >= 43
    assert secret not in f"{row}{entry}"


@pytest.mark.parametrize("role", [OWNER, ADMIN, MEMBER])
@pytest.mark.parametrize("who", [OWNER, ADMIN, MEMBER])
def test_who_may_invite_as_what(acme: Account, who: str, role: str) -> None:
    user = User.objects.create_user("who@example.com")
    Member.objects.create(account=acme, user=user, role=who)
    may = who == OWNER or (who == ADMIN and role != OWNER)

    invite(browser_of(user), role=role)

    assert Invitation.objects.filter(role=role).exists() == may
    assert len(outbox.outbox) == may


def test_the_rule_holds_below_the_form_too(acme: Account, bob: User) -> None:
    Member.objects.filter(account=acme, user=bob).update(role=ADMIN)
    with pytest.raises(DomainError) as refused:
        invitations.invite(acme, "dora@example.com", OWNER, actor=bob)
    assert refused.value.status == 403
    assert not Invitation.objects.exists()


def test_nobody_is_invited_to_a_personal_account(alice: User) -> None:
    browser = browser_of(alice)
    answer = browser.post(INVITE, {"email": "dora@example.com", "role": MEMBER})
    assert answer.status_code == 404
    with pytest.raises(DomainError, match="personal account"):
        invitations.invite(alice.personal_account, "dora@example.com", MEMBER, actor=alice)
    assert outbox.outbox == []


@pytest.mark.parametrize(
    ("email", "problem"),
    [
        ("", "Enter an e-mail."),
        ("nobody", "That is not an e-mail address."),
        ("a" * 250 + "@example.com", "at most 254 characters"),
        ("bob@example.com", "bob@example.com is a member of Acme already."),
        (" BOB@example.com", "bob@example.com is a member of Acme already."),
    ],
)
def test_what_is_wrong_is_told_at_the_field(alice_s_browser: Client, email: str, problem: str) -> None:
    answer = invite(alice_s_browser, email)
    assert 'aria-invalid="true"' in answer.content.decode()
    assert problem in text(answer)
    assert not Invitation.objects.exists()


def test_who_is_invited_already_is_told_kindly_and_gets_no_second_mail(alice_s_browser: Client) -> None:
    invite(alice_s_browser)
    answer = invite(alice_s_browser, "DORA@example.com")
    assert "dora@example.com is invited already" in text(answer)
    assert len(outbox.outbox) == 1
    assert Invitation.objects.count() == 1


def test_whether_an_address_has_a_user_makes_no_difference(alice_s_browser: Client, charlie: User) -> None:
    answers = []
    for email in ("charlie@example.com", "nobody@example.com"):
        page = alice_s_browser.post(INVITE, {"email": email, "role": MEMBER}, follow=True)
        opened = Client().get(link())
        answers.append([text(a).replace(email, "…") for a in (page, opened)])
        Invitation.objects.all().delete()
    known, unknown = ([re.sub(r"\d\d:\d\d", "", t) for t in answer] for answer in answers)
    assert known == unknown


def test_there_is_a_most_of_open_invitations(
    alice_s_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "OPEN_AT_MOST", 2)
    for n in range(3):
        answer = invite(alice_s_browser, f"guest-{n}@example.com")
    assert "2 invitations are open" in text(answer)
    assert Invitation.objects.count() == 2


def test_there_is_a_most_of_mails_a_day(alice_s_browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "MAILS_A_DAY", 2)
    for n in range(2):
        invite(alice_s_browser, f"guest-{n}@example.com")
    Invitation.objects.all().delete()  # withdrawing and inviting anew is no way around it
    answer = invite(alice_s_browser)
    assert "2 invitations went out within a day" in text(answer)
    with time_machine.travel(timezone.now() + timedelta(days=1, minutes=1)):
        invite(browser_of(User.objects.get(email="alice@example.com")))
    assert len(outbox.outbox) == 3


def test_a_mail_server_that_is_away_is_told_and_the_invitation_waits(
    alice_s_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: object, **kwargs: object) -> None:
        raise ConnectionRefusedError("no mail today")

    monkeypatch.setattr(invitations.mail, "send", away)
    answer = alice_s_browser.post(INVITE, {"email": "dora@example.com", "role": MEMBER}, follow=True)
    assert "dora@example.com is invited, but the mail could not be sent just now." in text(answer)
    assert "not sent" in text(answer)
    monkeypatch.undo()
    alice_s_browser.post(f"/settings/account/invitations/{Invitation.objects.get().pk}/resend/")
    assert len(outbox.outbox) == 1


# Sending again, withdrawing


@pytest.fixture
def invited(alice_s_browser: Client) -> Invitation:
    invite(alice_s_browser)
    return Invitation.objects.get()


def act(browser: Client, invitation: Invitation, what: str) -> Any:
    return browser.post(f"/settings/account/invitations/{invitation.pk}/{what}/")


def test_sending_again_makes_a_new_link_and_ends_the_old_one(
    alice: User, alice_s_browser: Client, invited: Invitation
) -> None:
    old = link()
    with time_machine.travel(timezone.now() + timedelta(days=6), tick=False):
        act(browser_of(alice), invited, "resend")
        invited.refresh_from_db()
        assert invited.expires_at == timezone.now() + timedelta(days=7)
    assert (len(outbox.outbox), link() != old) == (2, True)
    assert Client().get(old).status_code == 404
    assert Client().get(link()).status_code == 200
    assert AuditEntry.objects.filter(action="invitation.sent_again").count() == 1


def test_a_mail_goes_out_again_only_after_a_minute(alice_s_browser: Client, invited: Invitation) -> None:
    answer = alice_s_browser.post(f"/settings/account/invitations/{invited.pk}/resend/", follow=True)
    assert "went out a moment ago" in text(answer)
    assert len(outbox.outbox) == 1
    assert Client().get(link()).status_code == 200


def test_a_withdrawn_invitation_is_gone(alice_s_browser: Client, invited: Invitation) -> None:
    act(alice_s_browser, invited, "withdraw")
    assert not Invitation.objects.exists()
    gone = Client().get(link())
    assert (gone.status_code, "not open any more" in text(gone)) == (404, True)
    assert AuditEntry.objects.get(action="invitation.withdrawn").subject == "dora@example.com"
    assert act(alice_s_browser, invited, "withdraw").status_code == 404


def test_an_admin_does_not_touch_an_owner_s_invitation(acme: Account, alice: User, bob: User) -> None:
    Member.objects.filter(account=acme, user=bob).update(role=ADMIN)
    invitation, _ = invitations.invite(acme, "dora@example.com", OWNER, actor=alice)
    browser = browser_of(bob)
    assert [act(browser, invitation, what).status_code for what in ("resend", "withdraw")] == [403, 403]
    assert "Send again" not in browser.get("/settings/account/").content.decode()
    assert Invitation.objects.count() == 1


# Accepting


def test_who_has_the_address_joins_and_lands_in_the_business(
    alice_s_browser: Client, acme: Account, charlie: User
) -> None:
    invite(alice_s_browser, charlie.email, ADMIN)
    browser = browser_of(charlie)
    assert "Join Acme" in text(browser.get(link()))
    answer = browser.post(link())
    page = browser.get("/settings/account/")
    assert answer.headers["Location"] == "/settings/usage/"
    assert Member.objects.get(account=acme, user=charlie).role == ADMIN
    assert acme.public_id in page.content.decode()
    assert AuditEntry.objects.get(action="member.joined").actor == charlie.email


def test_somebody_new_makes_a_login_first_and_comes_back(
    alice_s_browser: Client, invited: Invitation
) -> None:
    opened = Client().get(link()).content.decode()
    assert f'href="/accounts/login/?next={link().replace("/", "%2F")}"' in opened
    assert (
        f'href="/accounts/signup/?next={link().replace("/", "%2F")}&amp;email=dora%40example.com"' in opened
    )
    dora = User.objects.create_user("dora@example.com", "correct horse")
    browser = Client()
    verify(dora)
    credentials = {"login": "dora@example.com", "password": "correct horse", "next": link()}
    assert browser.post("/accounts/login/", credentials).headers["Location"] == link()
    browser.post(link())
    assert Member.objects.filter(account__name="Acme", user=dora, role=MEMBER).exists()


def test_a_link_works_once(alice_s_browser: Client, acme: Account, charlie: User) -> None:
    invite(alice_s_browser, charlie.email)
    browser = browser_of(charlie)
    browser.post(link())
    Member.objects.filter(account=acme, user=charlie).delete()
    assert browser.post(link()).status_code == 404
    assert not Member.objects.filter(account=acme, user=charlie).exists()


def test_a_link_ends_after_seven_days(alice_s_browser: Client, acme: Account, charlie: User) -> None:
    now = timezone.now()
    with time_machine.travel(now, tick=False):
        invite(alice_s_browser, charlie.email)
    with time_machine.travel(now + timedelta(days=7) - timedelta(seconds=1), tick=False):
        assert Client().get(link()).status_code == 200
    with time_machine.travel(now + timedelta(days=7), tick=False):
        assert browser_of(charlie).post(link()).status_code == 404
        assert "expired" in text(browser_of(acme.members.get(role=OWNER).user).get("/settings/account/"))
    assert not Member.objects.filter(account=acme, user=charlie).exists()


def test_another_user_cannot_use_it(invited: Invitation, acme: Account, charlie: User) -> None:
    browser = browser_of(charlie)
    page = browser.get(link())
    assert "You are signed in as charlie@example.com" in text(page)
    assert "Join Acme</button>" not in page.content.decode()
    assert browser.post(link()).status_code == 403
    assert not Member.objects.filter(account=acme, user=charlie).exists()
    assert Invitation.objects.exists()


def test_a_visitor_who_posts_is_asked_to_sign_in(invited: Invitation) -> None:
    assert "Sign in to join" in text(Client().post(link()))
    assert Invitation.objects.exists()


def test_who_became_a_member_meanwhile_keeps_their_role(
    alice_s_browser: Client, acme: Account, charlie: User
) -> None:
    invite(alice_s_browser, charlie.email, MEMBER)
    Member.objects.create(account=acme, user=charlie, role=ADMIN)
    browser_of(charlie).post(link())
    assert Member.objects.get(account=acme, user=charlie).role == ADMIN
    assert not Invitation.objects.exists()


@pytest.mark.parametrize("secret", ["x", "%00", "a" * 500, "%F0%9F%8E%89", "../../etc"])
def test_a_link_that_was_never_made_is_not_there(db: None, secret: str) -> None:
    assert Client().get(f"/accounts/invitations/{secret}/").status_code == 404


def test_joining_needs_the_csrf_token(alice_s_browser: Client, acme: Account, charlie: User) -> None:
    invite(alice_s_browser, charlie.email)
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(charlie)
    assert browser.post(link()).status_code == 403
    assert not Member.objects.filter(account=acme, user=charlie).exists()


def test_an_invitation_goes_with_its_account(invited: Invitation, acme: Account) -> None:
    acme.delete()
    assert Client().get(link()).status_code == 404
