"""An account's pages in the admin: parts that lead to each other, each of panels that the apps add.

A page asks for one part only: everything about a large account at once would be a slow page.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from django.http import HttpRequest, HttpResponse

from accounts.models import Account

Fact = tuple[str, object]

PARTS = {
    "overview": "Overview",
    "limits": "Quotas",
    "usage": "Usage",
    "records": "Records",
    "billing": "Billing",
    "people": "People & keys",
    "trail": "Audit & alerts",
    "settings": "Settings",
}
FIRST = "overview"
PARAMETER = "part"


@dataclass(frozen=True, slots=True)
class Card:
    """One figure, with what it was before."""

    title: str
    figure: str
    exact: str = ""
    lines: Sequence[str] = ()
    href: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first column heads its row, and `numbers` are set flush right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars over time, drawn on the server: paths, slots with what they say, ticks and ends in words."""

    paths: Sequence[str]
    slots: Sequence[tuple[str, str, str]]  # x, width, title
    ticks: Sequence[str]
    edges: Sequence[str]
    summary: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A section of an account's page: what is there of it, or a sentence when there is nothing."""

    title: str
    facts: Sequence[Fact] = ()
    empty: str = ""
    links: Sequence[tuple[str, str]] = ()  # what it says, and its address
    cards: Sequence[Card] = ()
    table: Table | None = None
    bars: Bars | None = None
    note: str = ""
    is_folded: bool = False  # a long table is opened by a click
    alarms: Sequence[tuple[str, str, str]] = ()  # tone, what is the matter, and where that is seen

    @property
    def is_empty(self) -> bool:
        has_rows = self.table is not None and bool(self.table.rows)
        return not (self.facts or self.cards or has_rows or self.bars or self.alarms)


Show = Callable[[HttpRequest, Account], Iterable[Panel]]


@dataclass(slots=True)
class Shown:
    """What the apps add to one part, by its place there."""

    panels: list[tuple[int, Show]] = field(default_factory=list)


related: list[str] = ["person", "deletion"]
"""What of an account is read together with it, as every part may tell of it; apps above add theirs."""

_shown: dict[str, Shown] = {part: Shown() for part in PARTS}


def panels(part: str, place: int) -> Callable[[Show], Show]:
    """Adds what the decorated function yields to a part, for who may see it: it asks itself."""

    def add(show: Show) -> Show:
        _shown[part].panels.append((place, show))
        _shown[part].panels.sort(key=lambda entry: entry[0])
        return show

    return add


def part_of(request: HttpRequest) -> str:
    """The part that an address asks for; a form that was sent is shown where it stands."""
    if request.method == "POST":
        return "settings"
    wanted = request.GET.get(PARAMETER, FIRST)
    return wanted if wanted in PARTS else FIRST


def load(part: str, request: HttpRequest, account: Account) -> list[Panel]:
    return [panel for _, show in _shown[part].panels for panel in show(request, account)]


Serve = Callable[..., HttpResponse]
pages: dict[str, tuple[str, Serve]] = {}
"""Further pages and files of an account, by name: their address behind the account's, and what answers.

It is called with the request and the account, which the reader may look at, and asks for every other right.
"""
