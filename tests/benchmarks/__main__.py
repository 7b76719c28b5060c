"""The write path's goals: everything runs once in every round, in turn; the medians of the ratios count.

Goals 8, 9 and 12 take five million records, 13 takes one; they run with --large alone. On SQLite, with no
server to compare with, goals 1, 4, 5, 10 and 14 make sense.
"""

import argparse
import contextlib
import sys
from collections.abc import Sequence

from tests.benchmarks import console, exports, fill, races, reading, year
from tests.benchmarks import contestants as c
from tests.benchmarks.engines import ENGINES
from tests.benchmarks.goals import GOALS, THOUSANDS, Goal, Runs, print_findings, print_goals, print_growth
from tests.benchmarks.stage import Stage, set_up

USUAL = {"mariadb": {1, 2, 3, 4, 5, 6, 7, 10, 11, 14}, "sqlite": {1, 4, 5, 10, 14}}
LARGE = {8, 9, 12, 13}
RECORDS_BEFORE = 1_000_000
FEW, MANY = 10_000, 5_000_000
GROWN_TO = (500_000, 5_000_000)
READ_BY_STAFF = (500_000, 5_000_000)
QUICKER = 50  # times fewer of everything where a quick look is enough
SMALL_POOL = "512M"  # less than the table of five millions
LARGE_POOL = "6G"
READ_OF_FEW, READ_OF_MANY = 1_000, 1_000_000
CONNECTIONS = 8
ROUNDS_OF_NAIVE = 3  # each takes half a minute: nothing else is as slow


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    is_exact = True
    try:
        for engine in options.engines:
            wanted = options.goals & USUAL[engine] if options.goals else USUAL[engine]
            if wanted:
                is_exact &= run_usual(engine, wanted, options)
        if options.large:
            run_large(options)
    except c.LostOrDoubledError as error:
        print(f"LOST OR DOUBLED: {error}", file=sys.stderr)
        return 1
    if not is_exact:
        print("LOST, DOUBLED OR OVERSHOT: see goal 10", file=sys.stderr)
        return 1
    if not options.large:  # the large ledgers are not read through: only goal 8's balances were compared
        print("\nEvery event is in the ledger once, and every total and balance agrees with it.")
    if not options.large and not options.quick:
        print("Goals 8, 9, 12 and 13, with millions of records: .venv/bin/python -m tests.benchmarks --large")
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--goals", type=numbers, help="such as 1,4; all but 8, 9, 12 and 13 by default")
    parser.add_argument("--engine", choices=sorted(ENGINES), help="both by default; MariaDB when quick")
    parser.add_argument("--quick", action="store_true", help="a few short rounds")
    parser.add_argument("--large", action="store_true", help="goals 8, 9, 12 and 13, nothing else; an hour")
    parser.add_argument("--rounds", type=int, help="7 by default, 3 when quick")
    parser.add_argument(
        "--no-details", dest="details", action="store_false", help="goals 1 to 4 only without details"
    )
    options = parser.parse_args(arguments)
    options.large = options.large or bool(options.goals and options.goals & LARGE)
    options.goals = options.goals or (LARGE if options.large else None)
    both = ["mariadb"] if options.quick else ["mariadb", "sqlite"]
    options.engines = [options.engine] if options.engine else both
    options.rounds = options.rounds or (3 if options.quick else 7)
    options.scale = 1 / 3 if options.quick else 1.0
    options.details = options.details and not options.quick
    return options


def numbers(text: str) -> set[int]:
    return {int(part) for part in text.split(",")}


def run_usual(engine: str, wanted: set[int], options: argparse.Namespace) -> bool:
    """Run goals on one database; whether nothing was lost, doubled or let past a limit."""
    findings: list[races.Finding] = []
    with set_up(engine) as stage:
        name = stage.engine.name
        for with_details in (False, True) if options.details else (False,):
            events = "Events with details" if with_details else "Events without details"
            run_goals(stage, wanted & {1, 2, 3, 4}, options, f"{name}. {events}", with_details=with_details)
        run_goals(stage, wanted & {5, 6}, options, f"{name}. Guarded views")
        run_goals(stage, wanted & {14}, options, f"{name}. Stripe's events")
        if 10 in wanted:
            findings = [*races.overshoot(stage, options.rounds if options.quick else 3)]
            findings += races.overlapping(stage)
            print(f"\n{name}")
            print_findings(findings)
        if 7 in wanted:
            fill.fill(stage, RECORDS_BEFORE)
            fill.copy_to_naive(stage)
            fewer = argparse.Namespace(rounds=min(options.rounds, ROUNDS_OF_NAIVE), scale=options.scale)
            run_goals(stage, {7}, fewer, f"{name}. An account with {RECORDS_BEFORE:,} records this month")
        audit(stage)
        if 11 in wanted:
            read_of_few_and_many(stage, options)
    return not any(found.wrong for found in findings if found.is_ours)


def read_of_few_and_many(stage: Stage, options: argparse.Namespace) -> None:
    """Goal 11."""
    for name, records in (("few", READ_OF_FEW), ("many", READ_OF_MANY)):
        reading.READERS[name] = year.reader(stage, records)
    heading = f"{stage.engine.name}. A year with {READ_OF_MANY:,} records against one with {READ_OF_FEW:,}"
    run_goals(stage, {11}, options, heading)


def run_goals(
    stage: Stage, wanted: set[int], options: argparse.Namespace, heading: str, *, with_details: bool = False
) -> None:
    goals = [goal for goal in GOALS if goal.number in wanted and possible(goal, stage)]
    if goals:
        print_goals(goals, measure({"": stage}, goals, options, with_details=with_details), heading)


def possible(goal: Goal, stage: Stage) -> bool:
    """SQLite has no second connection that writes at the same time."""
    return goal.against is not c.RawPrebuilt or stage.engine.name == "MariaDB"


def run_large(options: argparse.Namespace) -> None:
    """Goals 8, 9, 12 and 13."""
    if 8 in options.goals:
        with contextlib.ExitStack() as both:
            stages = {
                n: both.enter_context(set_up("mariadb", buffer_pool=LARGE_POOL)) for n in ("few", "many")
            }
            for name, records in (("few", FEW), ("many", MANY)):
                fill.fill(stages[name], records)
            goals = [goal for goal in GOALS if goal.number == 8]
            runs = measure(stages, goals, options)
            print_goals(goals, runs, f"MariaDB. A ledger of {MANY:,} records against one of {FEW:,}")
    if 9 in options.goals:
        with set_up("mariadb", buffer_pool=SMALL_POOL) as stage:
            print_growth(GROWN_TO, fill.rate_at(stage, GROWN_TO), 0.7, 0.85)
    if 12 in options.goals:
        read_by_staff(options)
    if 13 in options.goals:
        with set_up("mariadb") as stage:
            exports.measured(stage)


def read_by_staff(options: argparse.Namespace) -> None:
    """Goal 12."""
    fewer = QUICKER if options.quick else 1
    few, many = (records // fewer for records in READ_BY_STAFF)
    with contextlib.ExitStack() as both:
        stages = {n: both.enter_context(set_up("mariadb", buffer_pool=LARGE_POOL)) for n in ("few", "many")}
        for name, records in (("few", few), ("many", many)):
            console.prepare(stages[name], name, records, console.ACCOUNTS // fewer)
        goals = [goal for goal in GOALS if goal.number == 12]
        runs = measure(stages, goals, options)
        print_goals(goals, runs, f"MariaDB. Twelve months of {many:,} records against {few:,}")


def measure(
    stages: dict[str, Stage],
    goals: Sequence[Goal],
    options: argparse.Namespace,
    *,
    with_details: bool = False,
) -> Runs:
    """Run everything that the goals compare, in every round, each time beginning with another one."""
    classes = list(dict.fromkeys(side for goal in goals for side in (goal.ours, goal.against)))
    running = [made(side, stages[getattr(side, "stage_name", "")], with_details) for side in classes]
    runs: Runs = {side: [] for side in classes}
    for number in range(-1, options.rounds):
        for contestant in running[number % len(running) :] + running[: number % len(running)]:
            if number < 0 and isinstance(contestant, c.Raw):
                continue  # nothing that it could copy yet
            thousands = THOUSANDS[type(contestant)] * options.scale
            measurement = contestant.measure(max(1, round(thousands * 1000 / CONNECTIONS)) * CONNECTIONS)
            if number >= 0:
                runs[type(contestant)].append(measurement)
        show_progress(number + 1, options.rounds)
    return runs


def made(side: type[c.Contestant], stage: Stage, with_details: bool) -> c.Contestant:
    return side(stage, with_details=with_details) if issubclass(side, c.OverHttp) else side(stage)


def show_progress(done: int, rounds: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {rounds} rounds", end="" if done < rounds else "\n", file=sys.stderr, flush=True)


def audit(stage: Stage) -> None:
    """Raise LostOrDoubledError when a total or a balance differs from the ledger.

    The large account is left out: its runs compare its balance with its ledger, and a million
    records take long to be read one by one.
    """
    drifts = stage.inside("audit", stage.large.account_id)
    if drifts:
        raise c.LostOrDoubledError("; ".join(map(str, drifts)))  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())
