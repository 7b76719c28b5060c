"""Quotas against a naive model of them, through thousands of random steps."""

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db.models import Sum
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from hypothesis.stateful import run_state_machine_as_test as check_machine

from accounts import keys
from accounts.errors import DomainError
from accounts.lifecycle import open_business_account
from accounts.models import Member, User
from billing import plans
from billing.models import Plan
from tests.conftest import forget_everything
from tests.usage.quota_model import (
    METERS,
    OPERATIONS,
    PLANS,
    Held,
    Key,
    NaiveAccount,
    NaiveLimit,
    NaiveMeter,
    NaiveOverride,
    NaivePlan,
    Usage,
    add_catalogue,
)
from usage import ledger, price_book, rollups
from usage.events import Announcement, decode_announcement, decode_one
from usage.ingestion import record_events
from usage.models import (
    Balance,
    Enforcement,
    Meter,
    Quota,
    Record,
    Refusal,
    Reservation,
    Scope,
    Window,
)
from usage.permission import reservations
from usage.quotas import balances, limits
from usage.quotas import status as quota_status
from usage.quotas.windows import Span, kind_of
from usage.snapshot import consistent

EXAMPLES = 6
STEPS = 40
START = datetime(2026, 1, 30, 22, 30, tzinfo=UTC)
ZONES = ["UTC", "Asia/Kolkata", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/New_York"]
REFUSED = "usage_limit_exceeded"

amounts = st.sampled_from(["0.7", "1", "1", "2.5", "4"]).map(Decimal)
operations = st.sampled_from(OPERATIONS)
agos = st.sampled_from(
    [timedelta(0), timedelta(0), timedelta(minutes=-4), timedelta(hours=6), timedelta(hours=23)]
)
_numbers = itertools.count()


class QuotaMachine(RuleBasedStateMachine):
    """An account, and the naive model of it beside."""

    def __init__(self) -> None:
        super().__init__()
        forget_everything()
        self.clock = time_machine.travel(START, tick=False)
        self.now_is = self.clock.start()
        self.spans: dict[int, Span] = {}

    def teardown(self) -> None:
        self.clock.stop()

    @initialize(plan=st.sampled_from(PLANS), zone=st.sampled_from(ZONES))
    def open(self, plan: NaivePlan, zone: str) -> None:
        add_catalogue()
        name = f"model-{next(_numbers)}"
        owner = User.objects.create_user(f"{name}@example.com", "correct horse")
        self.account = open_business_account(name, owner=owner, plan=plan.code, time_zone=zone)
        self.member = User.objects.create_user(f"{name}-member@example.com", "correct horse")
        Member.objects.create(account=self.account, user=self.member, role=Member.Role.MEMBER)
        self.own = keys.check(keys.make_key(self.account)[1])
        self.service = keys.check(keys.make_key(None)[1])
        self.model = NaiveAccount(plan)
        self.records: list[tuple[Record, Usage]] = []
        self.reservations: list[tuple[Reservation, Held]] = []
        self.overrides: list[tuple[Quota, NaiveOverride]] = []

    @rule(
        items=st.lists(
            st.tuples(operations, amounts, agos, st.booleans(), st.booleans()), min_size=1, max_size=4
        ),
        is_guarded=st.sampled_from([True, True, True, False]),
    )
    def record(self, items: list[tuple], is_guarded: bool) -> None:
        """Some records in one request; a single one can go another way than many."""
        now = timezone.now()
        usages = [
            Usage(operation, requests, now - ago, self.member.pk if mine else 0, is_error)
            for operation, requests, ago, mine, is_error in items
        ]
        caller = self.own if is_guarded else self.service
        outcomes = record_events([self._event(usage) for usage in usages], caller)
        for usage, outcome in zip(usages, outcomes, strict=True):
            has_room = not is_guarded or self._has_room(usage, now)
            assert (outcome.error is None) == has_room, (usage, outcome, self._told())
            if has_room:
                self._recorded(usage, outcome.event_id)
            else:
                assert outcome.error is not None
                assert outcome.error.error == REFUSED
                self.model.refused += 1

    @rule(days=st.integers(1, 70), operation=operations, requests=amounts)
    def tell_of_long_ago(self, days: int, operation: str, requests: Decimal) -> None:
        """A fact of a window that may never have been opened."""
        usage = Usage(operation, requests, timezone.now() - timedelta(days=days))
        (outcome,) = record_events([self._event(usage)], self.service)
        assert outcome.error is None
        self._recorded(usage, outcome.event_id)

    def _event(self, usage: Usage, kind: Any = decode_one, **more: object) -> Any:
        body: dict[str, object] = {
            "account": self.account.public_id,
            "operation": usage.operation,
            "quantities": {"requests": str(usage.requests)},
            **more,
        }
        if usage.member:
            body["user"] = self.member.email
        if kind is decode_one:
            body["event_id"] = f"model-{next(_numbers)}"
            body["occurred_at"] = usage.at.isoformat()
            body["status"] = "error" if usage.is_error else "success"
        return kind(json.dumps(body).encode())

    def _recorded(self, usage: Usage, event_id: str | None) -> None:
        record = Record.objects.get(account_id=self.account.pk, event_id=event_id)
        self.records.append((record, usage))
        self.model.records.append(usage)

    @rule(operation=operations, requests=amounts, mine=st.booleans(), ttl=st.sampled_from([60, 300, 3600]))
    def reserve(self, operation: str, requests: Decimal, mine: bool, ttl: int) -> None:
        now = timezone.now()
        usage = Usage(operation, requests, now, self.member.pk if mine else 0)
        event = self._event(usage, decode_announcement, ttl_seconds=ttl)
        made = self._reserved(event, ttl)
        assert (made is not None) == self._has_room(usage, now), (usage, self._told())
        if made is None:
            self.model.refused += 1
            return
        held = Held(usage, now + timedelta(seconds=ttl))
        self.model.held.append(held)
        self.reservations.append((made, held))

    def _reserved(self, event: Announcement, ttl_seconds: int) -> Reservation | None:
        try:
            return reservations.reserve(event, self.own, ttl_seconds=ttl_seconds)
        except DomainError as error:
            if error.error != REFUSED:
                raise
            return None

    @precondition(lambda self: self.reservations)
    @rule(data=st.data(), requests=amounts, by_service=st.booleans())
    def settle(self, data: st.DataObject, requests: Decimal, by_service: bool) -> None:
        """With more or less than was held, before or after its time has run out."""
        reservation, held = self.reservations.pop(data.draw(indices(self.reservations)))
        usage = replace(held.usage, requests=requests, at=timezone.now())
        event = self._event(usage)
        caller = self.service if by_service else self.own
        assert reservations.settle(reservation, event, caller, timezone.now()).is_new
        held.is_open = False
        self._recorded(usage, event.event_id)
        again = reservations.settle(reservation, event, caller, timezone.now())
        assert (again.error, again.is_new) == (None, False)

    @precondition(lambda self: self.reservations)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        reservation, held = self.reservations[data.draw(indices(self.reservations))]
        reservations.release(reservation)
        held.is_open = False

    @rule()
    def expire(self) -> None:
        reservations.expire(self.account.pk, timezone.now())
        for held in self.model.held:
            held.is_open = held.holds(timezone.now())

    @precondition(lambda self: self.records)
    @rule(data=st.data())
    def reverse(self, data: st.DataObject) -> None:
        record, usage = self.records.pop(data.draw(indices(self.records)))
        assert ledger.reverse(record, "a test", key_id=None)[1]
        self.model.records.append(replace(usage, sign=-1))

    @rule(plan=st.sampled_from(PLANS), at_period_end=st.booleans())
    def change_plan(self, plan: NaivePlan, at_period_end: bool) -> None:
        model, now = self.model, timezone.now()
        row = Plan.objects.get(code=plan.code)
        subscription = plans.change_plan(self.account, row, actor="test", at_period_end=at_period_end)
        model.plan, model.next_plan, model.next_at = model.plan_at(now), None, None
        if plan != model.plan and at_period_end:
            model.next_plan, model.next_at = plan, subscription.next_at
        elif plan != model.plan:
            model.plan = plan

    @rule(
        meter=st.sampled_from(METERS),
        limit=st.sampled_from([None, "0", "3", "10.5", "30"]),
        window=st.sampled_from(["", "", "day", "week", "calendar_month"]),
        mine=st.booleans(),
        is_hard=st.sampled_from([True, True, False]),
        ends_in=st.sampled_from([None, None, timedelta(hours=5), timedelta(days=9)]),
    )
    def override(self, meter: NaiveMeter, limit: str | None, window: str, mine: bool, **more: Any) -> None:
        ends_at = timezone.now() + more["ends_in"] if more["ends_in"] else None
        says = NaiveLimit(
            meter,
            window,
            None if limit is None else Decimal(limit),
            more["is_hard"],
            self.member.pk if mine else 0,
        )
        quota = limits.override(
            self.account,
            Meter.objects.get(slug=meter.slug),
            says.limit,
            actor="test",
            reason="a test",
            scope=Scope.MEMBER if mine else Scope.ACCOUNT,
            scope_id=says.member,
            window=window,
            enforcement=Enforcement.HARD if says.is_hard else Enforcement.SOFT,
            ends_at=ends_at,
        )
        for other in self.model.overrides:
            same = (other.says.meter, other.says.window, other.says.member)
            other.is_ended |= same == (says.meter, says.window, says.member)
        naive = NaiveOverride(says, ends_at)
        self.model.overrides.append(naive)
        self.overrides.append((quota, naive))

    @precondition(lambda self: self.overrides)
    @rule(data=st.data())
    def end_override(self, data: st.DataObject) -> None:
        quota, naive = self.overrides.pop(data.draw(indices(self.overrides)))
        limits.end_override(quota, actor="test", reason="a test")
        naive.is_ended = True

    @rule(zone=st.sampled_from(ZONES))
    def move(self, zone: str) -> None:
        self.account.time_zone = zone
        self.account.save(update_fields=["time_zone"])

    @rule(
        by=st.sampled_from(
            [
                timedelta(seconds=61),
                timedelta(minutes=50),
                timedelta(hours=11),
                timedelta(days=4),
                timedelta(days=25),
            ]
        )
    )
    def wait(self, by: timedelta) -> None:
        self.now_is.shift(by)

    @rule()
    def start_afresh(self) -> None:
        """Another process, which remembers nothing."""
        forget_everything()

    @invariant()
    def shows_what_the_model_counts(self) -> None:
        now = timezone.now()
        shown = {}
        spans = {}
        for status in quota_status.of_quotas(self.account, now, price_book.current()):
            assert status.slot is not None
            key = Key(status.meter.slug, status.slot.key.scope_id, status.window)
            amounts = (status.used, status.reserved, status.limit)
            shown[key] = (*map(status.decimal, amounts), status.slot.is_hard)
            spans[key] = status.span
        limits_now = self.model.limits_at(now)
        assert shown.keys() == limits_now.keys()
        for key, limit in limits_now.items():
            assert now in spans[key]
            used = self.model.used(limit, spans[key])
            reserved = self.model.reserved(limit, spans[key], now)
            is_hard = limit.is_hard and limit.limit is not None
            assert shown[key] == (used, reserved, limit.limit, is_hard), key

    @invariant()
    def agrees_with_the_ledger(self) -> None:
        with consistent():
            ids = [self.account.pk]
            assert [str(drift) for drift in (*rollups.verify(ids), *balances.verify(ids))] == []
        attempts = Refusal.objects.filter(account_id=self.account.pk).aggregate(all=Sum("attempts"))["all"]
        assert (attempts or 0) == self.model.refused

    @invariant()
    def keeps_its_windows(self) -> None:
        """They never overlap, and one that was stored once stays as it is."""
        windows = Window.objects.filter(account=self.account).order_by("kind", "starts_at")
        spans = {row.pk: Span(row.starts_at, row.ends_at) for row in windows}
        assert spans.items() >= self.spans.items()
        self.spans = spans
        for one, next_one in itertools.pairwise(windows):
            assert one.kind != next_one.kind or one.ends_at <= next_one.starts_at

    def _has_room(self, usage: Usage, now: datetime) -> bool:
        """Whether every hard limit has room in the window of the usage and in the current one."""
        months = 12 if self.model.plan_at(now).interval == "year" else 1
        return all(
            self._fits(usage, limit, kind_of(key.window, months), at, now)
            for key, limit in self.model.limits_at(now).items()
            for at in (usage.at, now)
            if limit.is_hard and limit.limit is not None and limit.member in (0, usage.member)
        )

    def _fits(self, usage: Usage, limit: NaiveLimit, kind: Any, at: datetime, now: datetime) -> bool:
        amount = limit.meter.amount(usage)
        if amount <= 0:
            return True
        window = Window.objects.get(account=self.account, kind=kind, starts_at__lte=at, ends_at__gt=at)
        span = Span(window.starts_at, window.ends_at)
        most = limit.limit
        if span.end <= now:  # a closed window keeps the limit that it ended with
            kept = Balance.objects.get(window=window, meter__slug=limit.meter.slug, scope_id=limit.member)
            most = None if kept.limit is None else Decimal(kept.limit).scaleb(-kept.meter.places)
        taken = self.model.used(limit, span) + self.model.reserved(limit, span, now)
        return most is None or taken + amount <= most

    def _told(self) -> object:
        now = timezone.now()
        return [
            status.as_json() for status in quota_status.of_quotas(self.account, now, price_book.current())
        ]


def indices(rows: list) -> st.SearchStrategy[int]:
    return st.integers(0, len(rows) - 1)


@pytest.mark.django_db(transaction=True)
def test_quotas_admit_and_count_as_a_naive_model_does() -> None:
    check_machine(
        QuotaMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
        ),
    )
