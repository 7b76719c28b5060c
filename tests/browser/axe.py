"""What axe finds on a page, and the screens that every page is looked at on."""

from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import DESKTOP, PHONE

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
SCREENS = [
    pytest.param({"viewport": size, "color_scheme": colours}, id=f"{name}-{colours}")
    for name, size in (("desktop", DESKTOP), ("phone", PHONE))
    for colours in ("light", "dark")
]


@cache
def axe_source() -> str:
    return AXE.read_text(encoding="utf-8")


def violations(page: Page, within: str = "") -> list[str]:
    """What axe finds, one line each; evaluated from outside, since the page's policy refuses scripts.

    Args:
        within: only in what this selector finds, where the frame around it is somebody else's.
    """
    page.evaluate(axe_source())
    found = page.evaluate("async within => (await axe.run(within || document)).violations", within)
    return [f"{v['id']}: {node['html']}" for v in found for node in v["nodes"]]


def width_beyond_the_screen(page: Page) -> int:
    """A click returns before the next page has come; between two pages there is no document to measure."""
    page.wait_for_function("document.documentElement !== null && document.readyState === 'complete'")
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
