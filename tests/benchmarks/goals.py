"""The ratios to reach, and how they are printed."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks import console as n
from tests.benchmarks import contestants as c
from tests.benchmarks import guarded as g
from tests.benchmarks import reading as r
from tests.benchmarks import webhooks as w
from tests.benchmarks.races import Finding

Runs = dict[type[c.Contestant], list[c.Measurement]]


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio to reach: of rates, or of CPU (`cpu`) or time (`time`) per request, where less is better.

    Without a floor it is only shown.
    """

    number: int
    ours: type[c.Contestant]
    against: type[c.Contestant]
    floor: float | None = None
    go_for: float | None = None
    cpu: bool = False
    time: bool = False

    def ratios(self, runs: Runs) -> list[float]:
        pairs = zip(runs[self.ours], runs[self.against], strict=True)
        if self.cpu:
            return [ours.cpu_us / other.cpu_us for ours, other in pairs]
        if self.time:
            return [other.per_second / ours.per_second for ours, other in pairs]
        return [ours.per_second / other.per_second for ours, other in pairs]

    def verdict(self, ratio: float) -> str:
        if self.floor is None or self.go_for is None:
            return "for information"
        reached = (lambda bound: ratio <= bound) if self.cpu or self.time else (lambda bound: ratio >= bound)
        return "reached" if reached(self.go_for) else "pass" if reached(self.floor) else "MISS"

    def bounds(self) -> tuple[str, str]:
        sign = "≤ " if self.cpu or self.time else ""
        return tuple("" if b is None else f"{sign}{b:g}" for b in (self.floor, self.go_for))  # type: ignore[return-value]


GOALS = (
    Goal(1, c.Ours, c.RawExecutemany, 1.0, 2.0),
    Goal(2, c.Ours, c.RawPrebuilt, 0.35, 0.6),
    Goal(3, c.Ours, c.Idiomatic, 5, 8),
    Goal(4, c.OursOneByOne, c.BareView, 0.45, 0.7),
    Goal(4, c.OursOneByOne, c.BareView, 2.5, 1.8, cpu=True),
    Goal(5, g.LookedView, c.BareView, 0.75, 0.9),
    Goal(5, g.LookedView, c.BareView, 1.6, 1.3, cpu=True),
    Goal(5, g.MeteredView, c.BareView),
    Goal(5, g.MeteredView, c.BareView, cpu=True),
    Goal(6, g.MeteredView, g.TrackedView, 1.0, 1.3),
    Goal(6, g.MeteredView, g.TrackedView, cpu=True),
    Goal(7, g.GuardedRecord, g.NaiveSum, 50, 100),
    Goal(7, g.GuardedRecord, g.NaiveSum, cpu=True),
    Goal(8, g.AmongMany, g.AmongFew, 0.85, 1.0),
    Goal(8, g.AmongMany, g.AmongFew, cpu=True),
    Goal(11, r.PageOfMany, r.PageOfFew, 1.3, 1.1, time=True),
    Goal(11, r.PageOfMany, r.PageOfFew, cpu=True),
    Goal(11, r.CurrentOfMany, r.CurrentOfFew, 1.3, 1.1, time=True),
    Goal(11, r.CurrentOfMany, r.CurrentOfFew, cpu=True),
    Goal(11, r.PollOfMany, r.PollOfFew, time=True),
    Goal(12, n.NetOfMany, n.RawAggregate, 50, 100),
    Goal(12, n.NetOfMany, n.NetOfFew, 1.3, 1.1, time=True),
    Goal(12, n.ApiOfMany, n.ApiOfFew, 1.3, 1.1, time=True),
    Goal(12, n.HomeOfMany, n.HomeOfFew, 1.3, 1.1, time=True),
    Goal(14, w.Webhook, w.EmptyView, 2.0, 1.5, time=True),
    Goal(14, w.Webhook, w.EmptyView, cpu=True),
)
# How many thousands of events or requests one round has.
THOUSANDS: dict[type[c.Contestant], float] = {
    c.Ours: 36,
    c.RawExecutemany: 36,
    c.RawPrebuilt: 36,
    c.Idiomatic: 12,
    c.OursOneByOne: 2.4,
    c.BareView: 4.8,
    g.LookedView: 4.8,
    g.MeteredView: 2.4,
    g.TrackedView: 2.4,
    g.GuardedRecord: 2.4,
    g.NaiveSum: 0.016,
    g.AmongMany: 2.4,
    g.AmongFew: 2.4,
    r.PageOfMany: 0.048,
    r.PageOfFew: 0.048,
    r.CurrentOfMany: 0.096,
    r.CurrentOfFew: 0.096,
    r.PollOfMany: 0.16,
    r.PollOfFew: 0.16,
    n.NetOfMany: 0.016,
    n.NetOfFew: 0.016,
    n.ApiOfMany: 0.016,
    n.ApiOfFew: 0.016,
    n.HomeOfMany: 0.016,
    n.HomeOfFew: 0.016,
    n.RawAggregate: 0.008,
    w.Webhook: 1.2,
    w.EmptyView: 1.2,
}
WIDTHS = "{:<5}{:<42}{:<38}{:>7} {:>7} {:>7}  {:>6} {:>7}  {}"


def print_goals(goals: Sequence[Goal], runs: Runs, heading: str) -> None:
    """The ratios to reach, and what they were made of."""
    print(f"\n{heading}; medians of {len(next(iter(runs.values())))} rounds")
    print(WIDTHS.format("goal", "what", "against", "min", "median", "max", "floor", "go for", ""))
    for goal in goals:
        ratios = goal.ratios(runs)
        middle = statistics.median(ratios)
        what = goal.ours.name + (" (CPU)" if goal.cpu else " (time)" if goal.time else "")
        digits = 2 if middle >= 0.01 else 5
        figures = [f"{ratio:.{digits}f}" for ratio in (min(ratios), middle, max(ratios))]
        row = (goal.number, what, goal.against.name, *figures, *goal.bounds(), goal.verdict(middle))
        print(WIDTHS.format(*row))
    print()
    for side, measured in runs.items():
        rate = statistics.median(run.per_second for run in measured)
        cpu = statistics.median(run.cpu_us for run in measured)
        writer = statistics.median(run.writer_us for run in measured)
        print(
            f"     {side.name:<38}{rate:>9,.0f} /s   CPU {cpu:9.1f} µs each:"
            f" {writer:.1f} writer + {cpu - writer:.1f} database",
            flush=True,
        )


def print_findings(findings: Sequence[Finding]) -> None:
    """Goal 10: what must be 0."""
    print("\ngoal what                                                    who")
    for found in findings:
        verdict = "for comparison" if not found.is_ours else "MISS" if found.wrong else "reached"
        print(f"10   {found.what:<56}{found.who:<44}{found.wrong:>6}  {verdict}", flush=True)


def print_growth(sizes: Sequence[int], rates: Sequence[float], floor: float, go_for: float) -> None:
    """Goal 9: the rate at the last size against that at the first."""
    ratio = rates[-1] / rates[0]
    verdict = "reached" if ratio >= go_for else "pass" if ratio >= floor else "MISS"
    print("\ngoal what")
    for size, rate in zip(sizes, rates, strict=True):
        print(f"9    inserts of 1,000 records, random ids, at {size:>9,} records: {rate:>9,.0f} /s")
    print(f"9    ratio {ratio:.2f}, floor {floor:g}, go for {go_for:g}: {verdict}", flush=True)
