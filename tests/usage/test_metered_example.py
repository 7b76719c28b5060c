"""The documentation's example is the code that the tests of metered views run."""

import html
import inspect
from pathlib import Path
from typing import Any

import pytest

from tests.usage import metered_views
from usage.permission import checks

PAGE = Path(__file__).resolve().parents[2] / "templates" / "docs" / "quotas.html"
DOCUMENTED = html.unescape(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("view", [metered_views.generate, metered_views.answer])
def test_the_example_in_the_documentation_is_the_one_that_is_tested(view: Any) -> None:
    assert inspect.getsource(inspect.unwrap(view)).strip() in DOCUMENTED


def test_the_documentation_names_the_middleware_and_every_check() -> None:
    source = inspect.getsource(checks)

    assert checks.MIDDLEWARE in DOCUMENTED
    for number in ("E001", "E002", "W003", "E004", "W005"):
        assert f'"usage.{number}"' in source
        assert number in DOCUMENTED
