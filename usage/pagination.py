"""Keyset pages over records and refusals together, newest first.

DRF's CursorPagination pages by its first ordering field alone, and loops for ever
where more records than a page share an instant; the key here is (occurred_at, id) of
a record and (minute, operation, key) of a refusal, records before refusals of one instant.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge

from django.conf import settings
from django.db.models import Q, QuerySet
from rest_framework.request import Request

from accounts.errors import Invalid
from usage.refusal_rows import NEWEST_FIRST, OLDEST_FIRST, RefusalRow, read_refusals
from usage.representation import RecordRow, read_rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
Row = RecordRow | RefusalRow


@dataclass(frozen=True, slots=True)
class Listed:
    """What a history lists: records of one account, and refusals unless its filters leave no room for any."""

    records: QuerySet
    refusals: QuerySet | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two rows, and the direction to read from it.

    `ids` are those that order the row among others of its instant: (record id,), or
    (operation id, key id) of a refusal.
    """

    occurred_at: datetime
    ids: tuple[int, ...]
    backward: bool = False

    @property
    def is_refusal(self) -> bool:
        return len(self.ids) == 2

    def __str__(self) -> str:
        direction = "p" if self.backward else "n"
        ids = ".".join(map(str, self.ids))
        text = f"{direction}:{(self.occurred_at - EPOCH) // MICROSECOND}:{ids}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_cursor(text: str | None) -> Cursor | None:
    """A cursor from an earlier answer.

    Raises:
        Invalid: it is not one of ours.
    """
    if not text:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        direction, instant, named = base64.urlsafe_b64decode(padded).decode("ascii").split(":")
        ids = tuple(map(int, named.split(".")))
        if direction not in ("n", "p") or len(ids) > 2 or not all(0 <= value < 2**63 for value in ids):
            raise ValueError(text)
        return Cursor(EPOCH + int(instant) * MICROSECOND, ids, direction == "p")
    except (ValueError, binascii.Error, OverflowError) as error:
        raise Invalid("cursor", "This cursor is not one that an answer gave.") from error


@dataclass(frozen=True, slots=True)
class Page:
    """Rows newest first, and the cursors of the pages beside; None where there is nothing more."""

    rows: list[Row]
    next: Cursor | None
    previous: Cursor | None


def read_page(listed: Listed, cursor: Cursor | None, size: int) -> Page:
    """The page at a cursor, or the first one, in one statement for records and one for refusals.

    Of each one row more is read than there is room for, to know whether there is more.
    """
    backward = cursor is not None and cursor.backward
    found = [_records(listed.records, cursor, size + 1)]
    if listed.refusals is not None:
        found.append(_refusals(listed.refusals, cursor, size + 1))
    rows = list(merge(*found, key=_place, reverse=not backward))
    has_more, rows = len(rows) > size, rows[:size]
    if backward:
        rows.reverse()
    if not rows:
        return Page([], None, None)
    after = Cursor(rows[-1].occurred_at, _ids(rows[-1]))
    before = Cursor(rows[0].occurred_at, _ids(rows[0]), backward=True)
    return Page(
        rows,
        next=after if has_more or backward else None,
        previous=before if (cursor is not None and not backward) or (backward and has_more) else None,
    )


def _ids(row: Row) -> tuple[int, ...]:
    return (row.id,) if isinstance(row, RecordRow) else (row.operation_id, row.key_id)


def _place(row: Row) -> tuple[datetime, bool, tuple[int, ...]]:
    """Where a row stands among all: the newer one has the larger place."""
    return row.occurred_at, isinstance(row, RecordRow), _ids(row)


def _records(records: QuerySet, cursor: Cursor | None, limit: int) -> list[Row]:
    if cursor is None:
        beyond = Q()
    elif cursor.is_refusal:  # the records of its instant are all newer
        at = cursor.occurred_at
        beyond = Q(occurred_at__gte=at) if cursor.backward else Q(occurred_at__lt=at)
    else:
        beyond = _beyond("occurred_at", ("id",), cursor)
    backward = cursor is not None and cursor.backward
    order = ("occurred_at", "id") if backward else ("-occurred_at", "-id")
    return [*read_rows(records.filter(beyond).order_by(*order)[:limit])]


def _refusals(refusals: QuerySet, cursor: Cursor | None, limit: int) -> list[Row]:
    if cursor is None:
        beyond = Q()
    elif cursor.is_refusal:
        beyond = _beyond("minute", ("operation_id", "key_id"), cursor)
    else:  # the refusals of its instant are all older
        at = cursor.occurred_at
        beyond = Q(minute__gt=at) if cursor.backward else Q(minute__lte=at)
    backward = cursor is not None and cursor.backward
    order = OLDEST_FIRST if backward else NEWEST_FIRST
    return [*read_refusals(refusals.filter(beyond).order_by(*order)[:limit])]


def _beyond(instant: str, ids: tuple[str, ...], cursor: Cursor) -> Q:
    """Rows of the cursor's own kind on the side of it that it reads towards."""
    side = "gt" if cursor.backward else "lt"
    beyond, same = Q(**{f"{instant}__{side}": cursor.occurred_at}), Q()
    for name, value in zip(ids, cursor.ids, strict=True):
        beyond |= same & Q(**{f"{name}__{side}": value})
        same &= Q(**{name: value})
    # The first condition alone bounds the index range; MariaDB makes little of an OR.
    return Q(**{f"{instant}__{side}e": cursor.occurred_at}) & beyond


def page_url(request: Request, cursor: object | None) -> str | None:
    """The absolute address of another page with the same filters.

    Args:
        cursor: what the address carries as text; None where there is no such page.
    """
    if cursor is None:
        return None
    query = request.query_params.copy()
    query["cursor"] = str(cursor)
    # Behind a proxy that ends TLS the request itself does not know that it was https.
    base = settings.BASE_URL if settings.HTTPS else request.build_absolute_uri("/").rstrip("/")
    return f"{base}{request.path}?{query.urlencode()}"
