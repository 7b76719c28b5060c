"""What meters count between any two instants is what the ledger holds there, record by record."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.keys import Caller
from accounts.lifecycle import open_business_account
from accounts.models import Account, Member, User
from tests.conftest import Api
from usage import events, ledger
from usage import price_book as price_books
from usage.ingestion import record_events
from usage.models import Campaign, Meter, Record, Status, Unit
from usage.quotas import counting
from usage.quotas.counting import Counted
from usage.quotas.windows import Span, midnight

pytestmark = pytest.mark.usefixtures("totals_agree")

NOW = datetime(2026, 4, 3, 12, tzinfo=UTC)
ZONES = ["UTC", "Asia/Kolkata", "Asia/Kathmandu", "Europe/Berlin", "Pacific/Kiritimati", "Etc/GMT+12"]
OPERATIONS = ("image_generation", "content_generation", "ai_response", "never_priced")
names = count(1)


@pytest.fixture(autouse=True)
def _in_april() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


# Instants around the midnights of several zones; the clocks of Berlin change on the 29th.
around = st.sampled_from([-90, -60, -30, -1, 0, 1, 15, 30, 60, 90])
days = st.integers(26, 33).map(lambda n: date(2026, 3, 1) + timedelta(days=n - 1))
instants = st.builds(
    lambda zone, day, minutes: midnight(day, ZoneInfo(zone)) + timedelta(minutes=minutes),
    st.sampled_from(ZONES), days, around,
)  # fmt: skip
sent = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(OPERATIONS),
        "occurred_at": instants.map(datetime.isoformat),
        "status": st.sampled_from(["success", "success", "error", "rate_limited"]),
        "quantities": st.dictionaries(
            st.sampled_from(["output_images", "input_tokens", "total_tokens", "messages"]),
            st.sampled_from(["0", "1", "0.7", "12.5", "0.0001"]),
            min_size=1,
            max_size=3,
        ),
    },
    optional={
        "user": st.just("bob@example.com"),
        "campaign": st.just("spring"),
        "cost": st.just({"amount": "83.5", "currency": "INR"}),
    },
)
phases = st.lists(st.tuples(st.sampled_from(ZONES), st.lists(sent, min_size=1, max_size=6)), max_size=4)
spans = st.lists(st.tuples(instants, instants), min_size=1, max_size=8)


@pytest.fixture
def member(bob: User) -> User:
    Meter.objects.create(
        slug="odd", name="Odd", aggregation="sum", units=["total_tokens", "messages"], shown_as="things"
    )
    return bob


def new_account(member: User) -> Account:
    account = open_business_account(f"account {next(names)}")
    Member.objects.create(account=account, user=member)
    return account


def record(account: Account, caller: Caller, some: list[dict]) -> None:
    body = json.dumps([{**event, "account": account.public_id} for event in some]).encode()
    outcomes = record_events(events.decode_array(body), caller)
    assert [outcome.error for outcome in outcomes if outcome.error] == []


def expected(account: Account, span: Span, counted: Counted) -> int:
    """By looking at each record of the ledger."""
    units = {unit.pk: unit for unit in Unit.objects.all()}
    total = 0
    for row in Record.objects.filter(account=account).select_related("operation"):
        ids = {"account": 0, "member": row.user_id, "campaign": row.campaign_id, "key": row.key_id}
        scoped = ids[counted.scope]
        meter = counted.meter
        is_listed = not meter.operations or row.operation.slug in meter.operations
        if not (span.start <= row.occurred_at < span.end and is_listed and scoped == counted.scope_id):
            continue
        if meter.aggregation == "cost":
            total += int((row.cost or 0) * 10**10) if row.status != Status.RATE_LIMITED else 0
        elif row.status == Status.SUCCESS and meter.aggregation == "count":
            total += row.counts * 10_000
        elif row.status == Status.SUCCESS:
            lines = [(units[line[0]], line[1]) for line in json.loads(row.lines) if line[0]]
            total += sum(n for unit, n in lines if unit.slug in meter.units and not unit.informational)
    return total


def all_counted(account: Account, member: User, key_id: int) -> list[Counted]:
    campaign = Campaign.objects.filter(account=account).values_list("pk", flat=True).first() or -1
    scopes = [("account", 0), ("member", member.pk), ("campaign", campaign), ("key", key_id)]
    return [Counted(meter, *scope) for meter in price_books.current().meters for scope in scopes]


@given(phases=phases, spans=spans, data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sums_between_any_two_instants_are_those_of_the_records_there(
    member: User, phases: list, spans: list, data: st.DataObject
) -> None:
    account = new_account(member)
    callers = [Caller(None, frozenset({"usage:write"}), key_id=n) for n in (1, 2)]
    for n, (zone, some) in enumerate(phases):
        account.time_zone = zone
        account.save(update_fields=["time_zone"])
        record(account, callers[n % 2], some)
    for original in Record.objects.filter(account=account, counts=1):
        if data.draw(st.integers(0, 5)) == 0:
            ledger.reverse(original, "sent by mistake", key_id=None)
    counted = all_counted(account, member, 1)
    book = price_books.current()

    for bounds in [*spans, (NOW - timedelta(days=9), NOW + timedelta(days=1))]:
        span = Span(min(bounds), max(bounds))
        wanted = [expected(account, span, one) for one in counted]
        assert counting.sums(account, span, counted, book) == wanted, span


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
@pytest.mark.parametrize("before", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
def test_at_the_edges_of_the_world_no_record_of_an_earlier_zone_is_lost(
    member: User, zone: str, before: str
) -> None:
    account = new_account(member)
    account.time_zone = before
    account.save(update_fields=["time_zone"])
    start = midnight(date(2026, 3, 30), ZoneInfo(zone))
    hours = [
        {"operation": "api_call", "occurred_at": (start + timedelta(hours=n)).isoformat()} for n in range(72)
    ]
    record(account, Caller(None, frozenset({"usage:write"})), hours)
    account.time_zone = zone
    account.save(update_fields=["time_zone"])

    book = price_books.current()
    calls = next(meter for meter in book.meters if meter.slug == "api_calls")
    for first, last in ((0, 1), (0, 3), (1, 2), (1, 3)):
        span = Span(start + timedelta(days=first), start + timedelta(days=last))
        assert counting.totals(account, span, [calls], book) == {"api_calls": (last - first) * 24 * 10_000}


def current(api: Api, account: Account) -> dict[str, str]:
    meters = api.get("usage/current/", account=account.public_id).json()["meters"]
    return {meter["meter"]: meter["used"] for meter in meters if meter["scope"] == "account"}


def test_failed_calls_move_only_what_counts_cost(acme: Account, service_api: Api) -> None:
    event = {"account": acme.public_id, "operation": "api_call", "quantities": {"requests": 2}}

    service_api.record(**event, status="error")
    assert {k: v for k, v in current(service_api, acme).items() if v != "0"} == {"spend": "0.02"}
    service_api.record(**event, status="rate_limited")
    assert {k: v for k, v in current(service_api, acme).items() if v != "0"} == {"spend": "0.02"}
    service_api.record(**event)
    assert {k: v for k, v in current(service_api, acme).items() if v != "0"} == {
        "spend": "0.04",
        "api_calls": "2",
    }


def test_what_a_client_states_as_its_cost_counts_in_spend_and_its_units_in_their_meters(
    acme: Account, service_api: Api
) -> None:
    service_api.record(
        account=acme.public_id, operation="api_call", quantities={"requests": 3},
        cost={"amount": "83.5", "currency": "INR"},
    )  # fmt: skip

    used = current(service_api, acme)
    assert (used["spend"], used["api_calls"]) == ("1", "3")


def test_informational_units_count_in_no_meter_also_where_one_names_them(
    acme: Account, service_api: Api
) -> None:
    Meter.objects.create(
        slug="all_tokens", name="All", aggregation="sum", units=["total_tokens", "pages"], shown_as="tokens"
    )
    service_api.record(
        account=acme.public_id, operation="never_seen", quantities={"total_tokens": 500, "pages": 2}
    )

    assert current(service_api, acme)["all_tokens"] == "2"


def test_a_reversal_takes_its_record_out_of_the_day_on_which_it_was_used(
    acme: Account, service_api: Api
) -> None:
    made = service_api.record(
        account=acme.public_id, operation="api_call", occurred_at="2026-04-01T00:00:00Z"
    ).json()
    service_api.record(account=acme.public_id, operation="api_call")
    assert current(service_api, acme)["api_calls"] == "2"

    service_api.post(f"usage/{made['id']}/reverse/", {"reason": "a test"})

    assert current(service_api, acme)["api_calls"] == "1"
