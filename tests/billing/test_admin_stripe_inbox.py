"""What staff see of Stripe's events and findings, and what they may do about them."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts.models import Account, AuditEntry, User
from billing.models import StripeEvent, StripeFinding, StripeNotice
from billing.stripe import findings
from tests.billing.stripe_events import event
from usage.models import Job

pytestmark = pytest.mark.django_db
State = StripeEvent.State
LIST = "/admin/billing/stripeevent/"
FINDINGS = "/admin/billing/stripefinding/"
ERROR = "Traceback (most recent call last):\n  …\nUnknownCustomer: nobody knows <cus_1>\n"


def stored(event_id: str, state: State, **values: Any) -> StripeEvent:
    kept = {"type": "invoice.paid", "livemode": False, "subject": "cus_1", "created_at": timezone.now()}
    body = json.dumps(event(id=event_id, note="ünï <b>")).encode()
    return StripeEvent.objects.create(event_id=event_id, state=state, body=body, **{**kept, **values})


@pytest.fixture
def events() -> dict[str, StripeEvent]:
    return {
        "waiting": stored("evt_waiting", State.WAITING, attempts=3, error=ERROR),
        "handled": stored("evt_handled", State.HANDLED, type="charge.refunded", subject="cus_2"),
        "aside": stored("evt_aside", State.SET_ASIDE, note="An event of live mode.", livemode=True),
        "dead": stored("evt_dead", State.DEAD, attempts=8, error=ERROR),
        "strange": stored("evt_strange", State.HANDLED, type="treasury.new"),
    }


@pytest.fixture
def admin(staff: User, client: Client) -> Client:
    client.force_login(staff)
    return client


def page_of(event: StripeEvent, page: str = "change") -> str:
    return f"{LIST}{event.pk}/{page}/"


def listed(admin: Client, **query: str) -> set[str]:
    return set(re.findall(r"evt_\w+", admin.get(LIST, query).content.decode()))


def test_the_list_says_what_became_of_each_event_and_what_failed(
    events: dict[str, StripeEvent], admin: Client
) -> None:
    page = admin.get(LIST).content.decode()

    assert "UnknownCustomer: nobody knows &lt;cus_1&gt;" in page
    assert "An event of live mode." in page
    assert "8 of 8" in page
    assert {"waits", "handled", "set aside", "failed for good"} <= set(
        re.findall(r'<span class="tg-badge tg-\w+">([^<]+)</span>', page)
    )


def test_the_list_is_narrowed_down(events: dict[str, StripeEvent], admin: Client) -> None:
    assert listed(admin, state__exact=str(State.DEAD.value)) == {"evt_dead"}
    assert listed(admin, type="charge.refunded") == {"evt_handled"}
    assert listed(admin, type="others") == {"evt_strange"}
    assert listed(admin, q="cus_2") == {"evt_handled"}
    assert listed(admin, q="evt_aside") == {"evt_aside"}
    assert listed(admin, q="cus_") == set()


def test_the_sidebar_says_how_many_failed_for_good(events: dict[str, StripeEvent], admin: Client) -> None:
    badge = rf'<a href="{LIST}"[^>]*>(?:(?!</a>).)*bg-red-100[^>]*>\s*1\s*</span>'
    assert re.search(badge, admin.get("/admin/").content.decode(), re.DOTALL)

    events["dead"].delete()

    assert not re.search(badge, admin.get("/admin/").content.decode(), re.DOTALL)


def test_the_page_shows_the_body_on_lines_of_its_own_and_the_whole_error(
    events: dict[str, StripeEvent], admin: Client
) -> None:
    page = admin.get(page_of(events["dead"])).content.decode()

    assert "&quot;note&quot;: &quot;ünï &lt;b&gt;&quot;" in page
    assert "Traceback (most recent call last)" in page


@pytest.mark.parametrize("body", [b"\xff\xfe{", b'{"a":' * 50_000])
def test_a_body_that_is_no_json_is_shown_as_it_is(
    events: dict[str, StripeEvent], admin: Client, body: bytes
) -> None:
    StripeEvent.objects.filter(pk=events["dead"].pk).update(body=body)

    assert admin.get(page_of(events["dead"])).status_code == 200


@pytest.mark.parametrize("kind", ["dead", "handled", "aside"])
def test_an_event_is_replayed_and_that_is_written_down(
    events: dict[str, StripeEvent], admin: Client, staff: User, kind: str
) -> None:
    page = admin.get(page_of(events[kind], "replay")).content.decode()
    assert "Replay event" in page
    assert Job.objects.count() == 0  # asked, not done

    answer = admin.post(page_of(events[kind], "replay"), {"reason": "the customer is here now"})

    assert answer.status_code == 302
    events[kind].refresh_from_db()
    assert (events[kind].state, events[kind].attempts, events[kind].error) == (State.WAITING, 0, "")
    assert Job.objects.get().arguments == {"subject": events[kind].subject}
    entry = AuditEntry.objects.get(action="stripe_event.replayed")
    assert (entry.actor, entry.reason) == (staff.email, "the customer is here now")
    assert events[kind].event_id in entry.subject


def test_what_waits_is_not_replayed(events: dict[str, StripeEvent], admin: Client) -> None:
    assert page_of(events["waiting"], "replay") not in admin.get(page_of(events["waiting"])).content.decode()
    assert admin.post(page_of(events["waiting"], "replay")).status_code == 403


def clerk_who_looks(client: Client, codename: str) -> Client:
    clerk = User.objects.create_user("clerk@example.com", "correct horse", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename=codename))
    client.force_login(clerk)
    return client


def test_whoever_may_only_look_replays_nothing(events: dict[str, StripeEvent], client: Client) -> None:
    clerk = clerk_who_looks(client, "view_stripeevent")

    assert clerk.get(page_of(events["dead"])).status_code == 200
    assert clerk.post(page_of(events["dead"], "replay")).status_code == 403
    events["dead"].refresh_from_db()
    assert events["dead"].state == State.DEAD


def test_events_are_written_by_nobody_here(events: dict[str, StripeEvent], admin: Client) -> None:
    assert admin.get(f"{LIST}add/").status_code == 403
    assert admin.post(page_of(events["dead"]), {"state": 1}).status_code == 403
    assert admin.post(page_of(events["dead"], "delete"), {"post": "yes"}).status_code == 403


@pytest.fixture
def finding(acme: Account) -> StripeFinding:
    findings.report("drift", "sub_1", "The plan <b> differed.", account=acme, ours="free", stripes="pro")
    return StripeFinding.objects.get()


def test_findings_are_listed_open_or_settled(finding: StripeFinding, admin: Client) -> None:
    findings.report("unknown_price", "price_9", "It sells nothing.", is_settled=True)

    def shown(**query: str) -> str:
        return admin.get(FINDINGS, query).content.decode()

    assert "The plan &lt;b&gt; differed." in shown(standing="open")
    assert "It sells nothing." not in shown(standing="open")
    assert "It sells nothing." in shown(standing="settled")
    assert "It sells nothing." in shown(kind__exact="unknown_price")
    assert "It sells nothing." in shown(q="price_9")
    assert "It sells nothing." in shown()


def test_a_finding_is_settled_with_a_reason_and_that_is_written_down(
    finding: StripeFinding, admin: Client, staff: User, acme: Account
) -> None:
    address = f"{FINDINGS}{finding.pk}/settle/"
    assert "Say why" in admin.post(address, {"reason": " "}).content.decode()

    assert admin.post(address, {"reason": "mended by hand"}).status_code == 302

    finding.refresh_from_db()
    assert (finding.settled_by, finding.open_as) == (staff.email, None)
    assert finding.settled_at is not None
    entry = AuditEntry.objects.get(action="stripe_finding.settled")
    assert (entry.reason, entry.account_public_id) == ("mended by hand", acme.public_id)
    assert admin.post(address, {"reason": "again"}).status_code == 403


def test_found_again_it_is_a_new_finding(finding: StripeFinding) -> None:
    findings.settle_one(finding.pk, "staff@example.com")
    findings.report("drift", "sub_1", "It differed again.")

    assert [found.settled_at is None for found in StripeFinding.objects.order_by("pk")] == [False, True]
    assert not findings.settle_one(finding.pk, "staff@example.com")


def test_whoever_may_only_look_settles_nothing(finding: StripeFinding, client: Client) -> None:
    clerk = clerk_who_looks(client, "view_stripefinding")

    assert clerk.get(f"{FINDINGS}{finding.pk}/change/").status_code == 200
    assert clerk.post(f"{FINDINGS}{finding.pk}/settle/", {"reason": "x"}).status_code == 403


def test_the_lists_take_few_queries(
    events: dict[str, StripeEvent], finding: StripeFinding, admin: Client, acme: Account,
    django_assert_max_num_queries: Any,
) -> None:  # fmt: skip
    StripeNotice.objects.create(account=acme, kind=StripeNotice.Kind.TRIAL_ENDS, about="sub_1", name="a")
    for address in (LIST, FINDINGS, "/admin/billing/stripenotice/"):
        with django_assert_max_num_queries(12):
            assert admin.get(address).status_code == 200
