"""Reading a whole list in its own order, a page at a time, each page from where the last one ended."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import F, Model, OrderBy, Q, QuerySet

PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Step:
    """A part of a list's order: a column, which way, and whether it may be NULL."""

    path: str
    is_descending: bool
    may_be_null: bool = False

    def __str__(self) -> str:
        return f"-{self.path}" if self.is_descending else self.path

    def value(self, row: Any) -> Any:
        for name in self.path.split("__"):
            row = None if row is None else getattr(row, name)
        return row

    def same(self, value: Any) -> Q:
        return Q((f"{self.path}__isnull", True)) if value is None else Q((self.path, value))

    def later(self, value: Any) -> Q | None:
        """What comes after a value; NULL is before all others, as both databases sort it."""
        if value is None:
            return None if self.is_descending else Q((f"{self.path}__isnull", False))
        if not self.is_descending:
            return Q((f"{self.path}__gt", value))
        below = Q((f"{self.path}__lt", value))
        return below | Q((f"{self.path}__isnull", True)) if self.may_be_null else below

    def bound(self, value: Any) -> Q:
        """What holds for all that comes later or has the same value, for an index to begin at."""
        if value is None or self.may_be_null:
            return Q()
        return Q((f"{self.path}__{'lte' if self.is_descending else 'gte'}", value))


def pages(rows: QuerySet, size: int) -> Iterator[list[Any]]:
    """All rows in their order. Neither memory nor the time of a page grows with the result."""
    steps = steps_of(rows.model, rows.query.order_by or rows.model._meta.ordering or ())
    if steps is None:
        yield from _by_ids(rows, size)
        return
    ordered = rows.order_by(*map(str, steps))
    page = list(ordered[:size])
    while page:
        yield page
        page = list(ordered.filter(beyond(steps, page[-1]))[:size]) if len(page) == size else []


def steps_of(model: type[Model], ordering: Sequence[Any]) -> list[Step] | None:
    """An order as columns, ending with one that tells all rows apart; None when an expression orders."""
    steps: list[Step] = []
    for part in ordering:
        found = _steps(model, part)
        if found is None:
            return None
        steps += found
    fields = model._meta.concrete_fields
    unique = {"pk", *(field.attname for field in fields if field.unique and not field.null)}
    return steps if any(step.path in unique for step in steps) else [*steps, Step("pk", True)]


def _steps(model: type[Model], part: Any) -> list[Step] | None:
    if isinstance(part, OrderBy) and isinstance(part.expression, F):
        if part.nulls_first or part.nulls_last:
            return None
        name = part.expression.name  # type: ignore[attr-defined]
        part = f"-{name}" if part.descending else name
    if not isinstance(part, str):
        return None
    return _columns(model, part.removeprefix("-"), part.startswith("-"))


def _columns(model: type[Model], path: str, is_descending: bool) -> list[Step] | None:
    """A path as columns; one that ends with a relation is ordered as the model it leads to."""
    may_be_null = False
    field: Any = None
    reached: Any = model
    for name in path.split("__"):
        if name == "pk":
            return [Step(path, is_descending, may_be_null)]
        try:
            field = reached._meta.get_field(name)
        except FieldDoesNotExist:  # an annotation
            return None
        may_be_null = may_be_null or field.null
        reached = field.related_model
    if reached is None or path.endswith(field.attname):
        return [Step(path, is_descending, may_be_null)]
    found: list[Step] = []
    for part in reached._meta.ordering or ("pk",):
        if not isinstance(part, str):
            return None
        direction = part.startswith("-") != is_descending
        inner = _columns(model, f"{path}__{part.removeprefix('-')}", direction)
        if inner is None:
            return None
        found += inner
    return found


def beyond(steps: list[Step], last: Any) -> Q:
    """The rows that come after `last`."""
    values = [step.value(last) for step in steps]
    found: list[Q] = []
    same = Q()
    for step, value in zip(steps, values, strict=True):
        later = step.later(value)
        if later is not None:
            found.append(same & later)
        same &= step.same(value)
    return steps[0].bound(values[0]) & Q(*found, _connector=Q.OR)


def _by_ids(rows: QuerySet, size: int) -> Iterator[list[Any]]:
    """For an order that no column gives: the ids in that order first, then the rows."""
    ids = list(rows.values_list("pk", flat=True))
    for start in range(0, len(ids), size):
        some = ids[start : start + size]
        found = {row.pk: row for row in rows.filter(pk__in=some)}
        yield [found[pk] for pk in some if pk in found]
