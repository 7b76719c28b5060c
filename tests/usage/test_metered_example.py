"""The README's example is the code that the tests of metered views run."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from tests.usage import metered_views
from usage.permission import checks

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("view", [metered_views.generate, metered_views.answer])
def test_the_example_in_the_readme_is_the_one_that_is_tested(view: Any) -> None:
    assert inspect.getsource(inspect.unwrap(view)).strip() in README


def test_the_readme_names_the_middleware_and_every_check() -> None:
    source = inspect.getsource(checks)

    assert checks.MIDDLEWARE in README
    for number in ("E001", "E002", "W003", "E004", "W005"):
        assert f'"usage.{number}"' in source
        assert number in README
