"""Goals 1 to 4: rounds in which everything runs once, in turn, and the medians of their ratios."""

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests.benchmarks import contestants as c
from tests.benchmarks.stage import Stage, set_up

Runs = dict[type[c.Contestant], list[c.Measurement]]


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio to reach: of rates, or (`cpu`) of CPU per request, where less is better."""

    number: int
    ours: type[c.Contestant]
    against: type[c.Contestant]
    floor: float
    go_for: float
    cpu: bool = False

    def ratios(self, runs: Runs) -> list[float]:
        pairs = zip(runs[self.ours], runs[self.against], strict=True)
        if self.cpu:
            return [ours.cpu_us / other.cpu_us for ours, other in pairs]
        return [ours.per_second / other.per_second for ours, other in pairs]

    def verdict(self, ratio: float) -> str:
        reached = (lambda bound: ratio <= bound) if self.cpu else (lambda bound: ratio >= bound)
        return "reached" if reached(self.go_for) else "pass" if reached(self.floor) else "MISS"


GOALS = (
    Goal(1, c.Ours, c.RawExecutemany, 1.0, 2.0),
    Goal(2, c.Ours, c.RawPrebuilt, 0.35, 0.6),
    Goal(3, c.Ours, c.Idiomatic, 5, 8),
    Goal(4, c.OursOneByOne, c.BareView, 0.45, 0.7),
    Goal(4, c.OursOneByOne, c.BareView, 2.5, 1.8, cpu=True),
)
THOUSANDS = {
    c.Ours: 36,
    c.RawExecutemany: 36,
    c.RawPrebuilt: 36,
    c.Idiomatic: 12,
    c.OursOneByOne: 2.4,
    c.BareView: 4.8,
}
WIDTHS = "{:<5}{:<37}{:<38}{:>6} {:>7} {:>6}  {:>6} {:>7}  {}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    goals = [goal for goal in GOALS if goal.number in options.goals]
    try:
        with set_up() as stage:
            for with_details in (False, True) if options.details else (False,):
                runs = measure(stage, goals, options.rounds, options.scale, with_details)
                print_goals(goals, runs, "with details" if with_details else "without details")
            audit()
    except c.LostOrDoubledError as error:
        print(f"LOST OR DOUBLED: {error}", file=sys.stderr)
        return 1
    print("\nEvery event is in the ledger once, and every total agrees with it.")
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--goals", type=numbers, default={1, 2, 3, 4}, help="such as 1,4; all by default")
    parser.add_argument("--quick", action="store_true", help="a few short rounds, within a minute")
    parser.add_argument("--rounds", type=int, help="7 by default, 3 when quick")
    parser.add_argument(
        "--no-details", dest="details", action="store_false", help="only events without details"
    )
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.scale = 1 / 3 if options.quick else 1.0
    options.details = options.details and not options.quick
    return options


def numbers(text: str) -> set[int]:
    return {int(part) for part in text.split(",")}


def measure(stage: Stage, goals: Sequence[Goal], rounds: int, scale: float, with_details: bool) -> Runs:
    """Run everything that the goals compare, in every round, each time beginning with another one."""
    classes = list(dict.fromkeys(side for goal in goals for side in (goal.ours, goal.against)))
    running = [made(side, stage, with_details) for side in classes]
    runs: Runs = {side: [] for side in classes}
    for number in range(-1, rounds):
        for contestant in running[number % len(running) :] + running[: number % len(running)]:
            if number < 0 and isinstance(contestant, c.Raw):
                continue  # nothing that it could copy yet
            measurement = contestant.measure(round(THOUSANDS[type(contestant)] * 1000 * scale))
            if number >= 0:
                runs[type(contestant)].append(measurement)
        show_progress(number + 1, rounds)
    return runs


def made(side: type[c.Contestant], stage: Stage, with_details: bool) -> c.Contestant:
    return side(stage, with_details=with_details) if issubclass(side, c.OverHttp) else side(stage)


def show_progress(done: int, rounds: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {rounds} rounds", end="" if done < rounds else "\n", file=sys.stderr, flush=True)


def print_goals(goals: Sequence[Goal], runs: Runs, heading: str) -> None:
    """The ratios to reach, and what they were made of."""
    print(f"\nEvents {heading}; medians of {len(next(iter(runs.values())))} rounds")
    print(WIDTHS.format("goal", "what", "against", "min", "median", "max", "floor", "go for", ""))
    for goal in goals:
        ratios = goal.ratios(runs)
        middle = statistics.median(ratios)
        what = goal.ours.name + (" (CPU)" if goal.cpu else "")
        figures = [f"{ratio:.2f}" for ratio in (min(ratios), middle, max(ratios))]
        sign = "≤ " if goal.cpu else ""
        bounds = (f"{sign}{goal.floor:g}", f"{sign}{goal.go_for:g}")
        print(WIDTHS.format(goal.number, what, goal.against.name, *figures, *bounds, goal.verdict(middle)))
    print()
    for side, measured in runs.items():
        rate = statistics.median(run.per_second for run in measured)
        cpu = statistics.median(run.cpu_us for run in measured)
        writer = statistics.median(run.writer_us for run in measured)
        print(
            f"     {side.name:<38}{rate:>9,.0f} /s   CPU {cpu:7.1f} µs each:"
            f" {writer:.1f} writer + {cpu - writer:.1f} database"
        )


def audit() -> None:
    """Raise LostOrDoubledError when a total differs from the ledger."""
    # Django is ready only after the stage was set up.
    from usage import rollups
    from usage.snapshot import consistent

    with consistent():
        drifts = [str(drift) for drift in rollups.verify()]
    if drifts:
        raise c.LostOrDoubledError("; ".join(drifts[:3]))


if __name__ == "__main__":
    sys.exit(main())
