"""What the look-alike's pages are made of."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from tests.fakes.stripe.store import Problem

STYLE = (Path(__file__).parent / "style.css").read_text()
NOTICE = "This is not Stripe: a look-alike for trying Tollgate locally. No money moves."


@dataclass(slots=True)
class Answer:
    status: int
    body: str
    content_type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


def page(title: str, body: str, status: int = 200) -> Answer:
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)} · look-alike</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>'
        f'<body><header class="notice"><p role="note">{NOTICE}</p></header>'
        f"<main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return Answer(status, text)


def to(url: str) -> Answer:
    return Answer(303, "", headers={"Location": url})


def button(action: str, text: str, *, first: bool = False, about: str = "", **more: str) -> str:
    """A form of one button; `about` tells it from others of its name to who cannot see where it stands."""
    fields = "".join(
        f'<input type="hidden" name="{n}" value="{escape(v)}">' for n, v in {"do": action, **more}.items()
    )
    style = " class=first" if first else ""
    label = f' aria-label="{escape(text)}: {escape(about)}"' if about else ""
    return f'<form method="post">{fields}<button{style}{label}>{escape(text)}</button></form>'


def money(cents: int) -> str:
    return f"${cents // 100}.{cents % 100:02d}"


def day(seconds: int | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%-d %B %Y, %H:%M} UTC" if seconds else "–"


def wanted(given: dict[str, str], name: str) -> str:
    """A field of a form that has to be there."""
    if not given.get(name):
        raise Problem(f"The field {name} is missing.", param=name)
    return given[name]
