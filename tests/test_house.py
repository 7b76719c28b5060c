"""The house rules that a machine can see; import directions and the schema have checks of their own too."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
APPS = ("config", "billing", "usage", "accounts")
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "templates" / "docs").rglob("*.html")))
FUNCTION_LINES_AT_MOST = 70
FILE_LINES_AT_MOST = 500
FLOATS: dict[str, str] = {}  # file → why it may make one
SKIPS: dict[str, str] = {}  # file → why it may skip
LOCAL = re.compile(r"(?<![\w.])/(?:home|work|root|Users)/")


def product_files() -> list[Path]:
    return [
        path for app in APPS for path in sorted((ROOT / app).rglob("*.py")) if "migrations" not in path.parts
    ]


def written_tests() -> list[Path]:
    return sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def found(paths: list[Path], *kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for path in paths:
        for node in nodes(path):
            if isinstance(node, kinds):
                yield f"{name_of(path)}:{getattr(node, 'lineno', 0)}", node


def test_no_function_is_longer_than_70_lines() -> None:
    too_long = [
        f"{where} {node.name}"
        for where, node in found([*product_files(), *written_tests()], ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_AT_MOST
    ]

    assert too_long == []


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {name_of(p): len(p.read_text().splitlines()) for p in [*product_files(), *written_tests()]}

    assert {name: n for name, n in lengths.items() if n > FILE_LINES_AT_MOST} == {}


def test_money_and_quantities_never_become_floats() -> None:
    made = [
        where
        for where, node in found(product_files(), ast.Call)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
    ]

    assert [where for where in made if where.partition(":")[0] not in FLOATS] == []


def test_no_model_keeps_a_number_as_a_float_or_a_decimal_of_the_database() -> None:
    kept = [
        where
        for where, node in found(product_files(), ast.Attribute)
        if isinstance(node, ast.Attribute)
        and node.attr in ("FloatField", "DecimalField")
        and isinstance(node.value, ast.Name)
        and node.value.id == "models"
    ]

    assert kept == []


def test_no_error_is_swallowed_whole() -> None:
    def is_everything(kind: ast.expr | None) -> bool:
        return kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))

    swallowed = [
        where
        for where, node in found([*product_files(), *written_tests()], ast.ExceptHandler)
        if isinstance(node, ast.ExceptHandler)
        and is_everything(node.type)
        and all(isinstance(step, ast.Pass) for step in node.body)
    ]

    assert swallowed == []


def settings_read() -> set[str]:
    """Every variable that the settings ask the environment for."""
    readers = (ROOT / "config" / "settings.py").read_text()
    return set(re.findall(r"\benv\.\w+\(\s*\"([A-Z_]+)\"", readers))


def test_the_settings_are_those_of_the_contract() -> None:
    assert settings_read() == {
        "DATABASE_URL", "SECRET_KEY", "API_KEY_PEPPER", "DEBUG", "ALLOWED_HOSTS", "TRUSTED_PROXIES",
        "BASE_URL", "PORT", "TIME_ZONE", "REDIS_URL", "EMAIL_URL", "DEFAULT_FROM_EMAIL", "STRIPE_SECRET_KEY",
        "STRIPE_WEBHOOK_SECRETS", "STRIPE_API_BASE", "SENTRY_DSN", "QUOTA_REFUSED_STATUS", "RETENTION_MONTHS",
        "STAFF_TWO_STEP",
    }  # fmt: skip


@pytest.mark.parametrize("variable", sorted(settings_read()))
def test_every_setting_is_documented(variable: str) -> None:
    written = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)

    assert re.search(rf"(?<![A-Z_]){variable}(?![A-Z_])", written)


@pytest.mark.parametrize("variable", sorted(settings_read()))
def test_no_setting_of_the_callers_shell_reaches_the_checks(variable: str) -> None:
    listed = re.search(r"^SETTINGS :=((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert listed is not None
    assert variable in listed.group(1).split()


def test_no_path_of_a_machine_is_written_down() -> None:
    files = [*product_files(), *written_tests(), ROOT / "Makefile", ROOT / "pyproject.toml", *DOCUMENTS]
    named = [name_of(path) for path in files if LOCAL.search(path.read_text(encoding="utf-8"))]

    assert [name for name in named if name != "tests/test_house.py"] == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    forbidden = re.compile(r"pytest\.skip\(|mark\.skip|mark\.xfail|importorskip|unittest\.skip")
    kept = [name_of(path) for path in written_tests() if forbidden.search(path.read_text(encoding="utf-8"))]

    assert [name for name in kept if name not in SKIPS and name != "tests/test_house.py"] == []


def test_every_test_asserts() -> None:
    def asserts(node: ast.AST) -> bool:
        for part in ast.walk(node):
            if isinstance(part, ast.Assert):
                return True
            called = part.func if isinstance(part, ast.Call) else None
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if re.match(r"assert|raises|check|expect|refus|django_assert|to_", name):
                return True
        return False

    silent = [
        f"{where} {node.name}"
        for where, node in found(written_tests(), ast.FunctionDef)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not asserts(node)
    ]

    assert silent == []


def test_no_drawer_is_named_helpers_utils_or_services() -> None:
    drawers = {"helpers", "utils", "services", "misc", "common"}

    assert [name_of(path) for path in product_files() if drawers & {path.stem, *path.parts}] == []
