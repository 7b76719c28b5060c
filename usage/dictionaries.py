"""Names → ids: operations, units, models, sessions and campaigns; what was never seen is added.

Rows of these tables are never deleted while their account lives, so what a process
has seen once stays true. Adding happens before the recording transaction and on its
own: a name without a record harms nothing.
"""

import contextlib
import threading
from collections.abc import Iterable

from django.db import connection, models
from django.utils import timezone

from usage import retrying
from usage.bulk import insert_new
from usage.models import Campaign, Model, Operation, Session, Unit
from usage.price_book import PriceBook, operation_entries, unit_entries

REMEMBERED_AT_MOST = 200_000
LOOKED_UP_AT_ONCE = 500

Name = tuple
GONE = 0  # stands for a name that went, with its account, as soon as it was added: its record is refused

_models: dict[Name, int] = {}
_sessions: dict[Name, int] = {}
_campaigns: dict[Name, int] = {}
_names_of_models: dict[int, tuple[str, str, str]] = {}
_lock = threading.Lock()


def forget_all() -> None:
    """Drop what this process remembers."""
    with _lock:
        for table in (_models, _sessions, _campaigns, _names_of_models):
            table.clear()


def add_operations(book: PriceBook, slugs: Iterable[str]) -> None:
    """Make sure that the book knows these operations; new ones are listed for staff."""
    missing = sorted({slug for slug in slugs if slug not in book.operations})
    if missing:
        now = timezone.now()
        columns = ("slug", "name", "default_unit", "first_seen_at")
        _insert(Operation, columns, [(slug, slug, "requests", now) for slug in missing])
        book.add_operations(operation_entries(Operation.objects.filter(slug__in=missing)))


def add_units(book: PriceBook, slugs: Iterable[str]) -> None:
    """Make sure that the book knows these units; new ones are plain counts until staff say more."""
    missing = sorted({slug for slug in slugs if slug not in book.units})
    if missing:
        now = timezone.now()
        columns = ("slug", "name", "kind", "informational", "first_seen_at")
        _insert(Unit, columns, [(slug, slug, "count", False, now) for slug in missing])
        book.add_units(unit_entries(Unit.objects.filter(slug__in=missing)))


def model_ids(names: Iterable[tuple[str, str, str]]) -> dict[Name, int]:
    """(provider, model, variant) → id."""
    return _ids(_models, Model, ("provider", "name", "variant"), set(names), is_dated=True)


def session_ids(names: Iterable[tuple[int, str]]) -> dict[Name, int]:
    """(account id, session) → id."""
    return _ids(_sessions, Session, ("account_id", "name"), set(names))


def campaign_ids(names: Iterable[tuple[int, str]]) -> dict[Name, int]:
    """(account id, campaign) → id."""
    return _ids(_campaigns, Campaign, ("account_id", "name"), set(names))


def models_by_id(ids: Iterable[int]) -> dict[int, tuple[str, str, str]]:
    """What models are called: id → (provider, model, variant). A name is never changed."""
    wanted = set(ids) - {0}
    missing = sorted(pk for pk in wanted if pk not in _names_of_models)
    if missing:
        rows = Model.objects.filter(pk__in=missing).values_list("pk", "provider", "name", "variant")
        found = {pk: (provider, name, variant) for pk, provider, name, variant in rows}
        with _lock:
            if len(_names_of_models) + len(found) > REMEMBERED_AT_MOST:
                _names_of_models.clear()
            _names_of_models.update(found)
    return {pk: name for pk in wanted if (name := _names_of_models.get(pk)) is not None}


def drop_names(account_ids: Iterable[int]) -> None:
    """Delete the sessions and campaigns of accounts that are gone."""
    for table in (Session, Campaign):
        table._default_manager.filter(account_id__in=list(account_ids)).delete()


def _ids(
    remembered: dict[Name, int],
    model: type[models.Model],
    columns: tuple[str, ...],
    names: set[Name],
    is_dated: bool = False,
) -> dict[Name, int]:
    with contextlib.suppress(KeyError):  # nearly always all of them are known
        return {name: remembered[name] for name in names}
    extra = {"first_seen_at": timezone.now()} if is_dated else {}
    missing = sorted(name for name in names if name not in remembered)
    for start in range(0, len(missing), LOOKED_UP_AT_ONCE):
        some = missing[start : start + LOOKED_UP_AT_ONCE]
        found = _look_up(model, columns, some)
        unseen = [name for name in some if name not in found]
        if unseen:
            _insert(model, (*columns, *extra), [(*name, *extra.values()) for name in unseen])
            found.update(_look_up(model, columns, unseen))
        with _lock:
            if len(remembered) + len(found) > REMEMBERED_AT_MOST:
                remembered.clear()
            remembered.update(found)
        names_found = {name: found.get(name, GONE) for name in some}
        if len(missing) == len(names) <= LOOKED_UP_AT_ONCE:
            return names_found
    # Another thread may have cleared what is remembered meanwhile: then look up again.
    try:
        return {name: remembered[name] for name in names}
    except KeyError:
        found = _look_up(model, columns, sorted(names))
        return {name: found.get(name, GONE) for name in names}


def _look_up(model: type[models.Model], columns: tuple[str, ...], names: list[Name]) -> dict[Name, int]:
    found: dict[Name, int] = {}
    for start in range(0, len(names), LOOKED_UP_AT_ONCE):
        some = names[start : start + LOOKED_UP_AT_ONCE]
        with connection.cursor() as cursor:
            # By statement: the ORM takes longer to build so many conditions than the database to answer them.
            one = " AND ".join(f"{column} = %s" for column in columns)
            wanted = " OR ".join([f"({one})"] * len(some))
            names_of = f"SELECT id, {', '.join(columns)} FROM {model._meta.db_table}"
            cursor.execute(f"{names_of} WHERE {wanted}", [part for name in some for part in name])
            found.update((tuple(name), pk) for pk, *name in cursor.fetchall())
    return found


def _insert(model: type[models.Model], columns: tuple[str, ...], rows: list[tuple]) -> None:
    # Sorted rows: two processes that add the same names lock them in one order.
    retrying.run(lambda: insert_new(connection, model._meta.db_table, columns, sorted(rows, key=str)))
