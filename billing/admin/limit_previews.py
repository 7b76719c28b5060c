"""What a plan's changed limits would do to the accounts on it, before they are saved."""

from collections.abc import Iterable
from typing import Any

from django.utils import timezone

from accounts.admin.display import linked, number
from accounts.admin.previews import Preview, Remark, Table
from billing import limit_preview, plans
from billing.limit_preview import Change, Found, Standing, Terms
from billing.models import Plan
from usage.models import Enforcement, Meter
from usage.quotas import limits

FIELDS = ("limit", "included", "enforcement", "window")
LARGEST = 10


def change_of(form: Any) -> Change | None:
    """What the form of a limit changes; None for what no account would notice."""
    values = form.cleaned_data
    if not values or not form.has_changed():
        return None
    before = Terms(**{name: form.initial[name] for name in FIELDS}) if form.instance.pk else None
    is_deleted = bool(values.get("DELETE"))
    if before is None and is_deleted:
        return None
    if not is_deleted and before and not {*FIELDS, "meter"} & {*form.changed_data}:
        return None
    meter: Meter = values.get("meter") or form.instance.meter
    after = None if is_deleted else Terms(**{name: values[name] for name in FIELDS})
    return Change(meter, before, after)


def of_limits(plan: Plan, forms: Iterable[Any]) -> Preview | None:
    """The preview of changed limits; None when they change nothing for anybody."""
    changes = [change for form in forms if (change := change_of(form))]
    if not changes:
        return None
    found = limit_preview.look(plan, plans.months_of(plan), changes, timezone.now(), LARGEST)
    if not found.accounts:
        return None
    return Preview(
        title=f"Change what {plan.name} limits?",
        text=f"{_accounts(found.accounts)} on this plan. Counted is what was used in the window that is"
        " running now. Nothing is saved yet.",
        submit="Save the limits",
        remarks=[remark for standing in found.standings for remark in _remarks(standing, found.accounts)],
        tables=[_limits(found), *_included(found), _largest(found)],
    )


def _accounts(count: int) -> str:
    return f"{count:,} account is" if count == 1 else f"{count:,} accounts are"


def _remarks(standing: Standing, accounts: int) -> Iterable[Remark]:
    slug, after = standing.change.meter.slug, standing.change.after
    if after is not None and after.limit is not None and standing.at_limit:
        before = standing.at_limit_before
        earlier = (
            "another window counted before"
            if before is None
            else f"{before:,} {'was' if before == 1 else 'were'} at the old one"
        )
        tone = "bad" if after.enforcement == Enforcement.HARD else "warn"
        meaning = {
            Enforcement.HARD: "Nothing more is admitted there in this window.",
            Enforcement.SOFT: "They go on, and are warned.",
        }.get(Enforcement(after.enforcement), "They go on: the limit is only shown.")
        said = (
            f"{slug}: {_accounts(standing.at_limit)} at or above the new limit already ({earlier}). {meaning}"
        )
        yield Remark(tone, "over", said)
    unknown = accounts - standing.known - standing.overridden
    if unknown > 0:
        yield Remark(
            "plain",
            "not known",
            f"{slug}: of {unknown:,} account{'' if unknown == 1 else 's'} nothing is known, as no window is"
            " open there: nothing was used in it, or nothing has counted this so far.",
        )
    if standing.overridden:
        yield Remark(
            "plain",
            "stays",
            f"{slug}: overrides of {standing.overridden:,}"
            f" account{'' if standing.overridden == 1 else 's'} stay as they are.",
        )


def _limits(found: Found) -> Table:
    heads = ("Meter", "Window", "Enforcement", "Limit", "New limit", "At the old one", "At the new one")
    return Table("What changes", heads, [_limit_row(standing) for standing in found.standings], words=3)


def _limit_row(standing: Standing) -> tuple[object, ...]:
    change = standing.change
    before, after = change.before or Terms(), change.after or Terms()
    return (
        change.meter.slug,
        _both(str(before.window), str(after.window)),
        _both(str(before.enforcement), str(after.enforcement)),
        number(before.limit, "unlimited"),
        number(after.limit, "unlimited"),
        number(standing.at_limit_before),
        number(standing.at_limit),
    )


def _included(found: Found) -> list[Table]:
    """What the price covers; no table where nothing is included, before or after."""
    rows = [
        (
            standing.change.meter.slug,
            number((standing.change.before or Terms()).included),
            number((standing.change.after or Terms()).included),
            number(standing.beyond_included_before),
            number(standing.beyond_included),
        )
        for standing in found.standings
        if any(
            terms and terms.included is not None for terms in (standing.change.before, standing.change.after)
        )
    ]
    heads = ("Meter", "Included", "New", "Beyond the old", "Beyond the new")
    return [Table("What is included", heads, rows)] if rows else []


def _both(before: str, after: str) -> str:
    shown = [text.replace("_", " ") for text in (before, after)]
    return shown[0] if before == after else " → ".join(shown)


def _largest(found: Found) -> Table:
    return Table(
        "The accounts furthest above the new limit",
        ("Account", "Meter", "Used", "New limit"),
        [
            (
                linked(balance.account),
                change.meter.slug,
                number(limits.shown(balance.used, change.meter)),
                number(change.after.limit if change.after else None, "unlimited"),
            )
            for change, balance in found.largest
        ],
        words=2,
        empty="No account whose window is open is at or above a new limit.",
    )
