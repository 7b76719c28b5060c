"""Keyset pages over the ledger, newest first.

DRF's CursorPagination pages by its first ordering field alone, and loops for ever
where more records than a page share an instant; the key here is (occurred_at, id).
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db.models import Q, QuerySet
from rest_framework.request import Request

from accounts.errors import Invalid
from usage.representation import RecordRow, read_rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two records, and the direction to read from it."""

    occurred_at: datetime
    record_id: int
    backward: bool = False

    def __str__(self) -> str:
        direction = "p" if self.backward else "n"
        text = f"{direction}:{(self.occurred_at - EPOCH) // MICROSECOND}:{self.record_id}"
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
        direction, instant, record_id = base64.urlsafe_b64decode(padded).decode("ascii").split(":")
        if direction not in ("n", "p") or not 0 <= int(record_id) < 2**63:
            raise ValueError(text)
        return Cursor(EPOCH + int(instant) * MICROSECOND, int(record_id), direction == "p")
    except (ValueError, binascii.Error, OverflowError) as error:
        raise Invalid("cursor", "This cursor is not one that an answer gave.") from error


@dataclass(frozen=True, slots=True)
class Page:
    """Records newest first, and the cursors of the pages beside; None where there is nothing more."""

    rows: list[RecordRow]
    next: Cursor | None
    previous: Cursor | None


def read_page(records: QuerySet, cursor: Cursor | None, size: int) -> Page:
    """The page at a cursor, or the first one; one record more is read to know whether there is more."""
    backward = cursor is not None and cursor.backward
    if cursor is not None:
        records = records.filter(_beyond(cursor))
    order = ("occurred_at", "id") if backward else ("-occurred_at", "-id")
    rows = read_rows(records.order_by(*order)[: size + 1])
    has_more, rows = len(rows) > size, rows[:size]
    if backward:
        rows.reverse()
    if not rows:
        return Page([], None, None)
    after = Cursor(rows[-1].occurred_at, rows[-1].id)
    before = Cursor(rows[0].occurred_at, rows[0].id, backward=True)
    return Page(
        rows,
        next=after if has_more or backward else None,
        previous=before if (cursor is not None and not backward) or (backward and has_more) else None,
    )


def _beyond(cursor: Cursor) -> Q:
    # The first condition alone bounds the index range; MariaDB makes little of an OR.
    if cursor.backward:
        later = Q(occurred_at__gt=cursor.occurred_at) | Q(id__gt=cursor.record_id)
        return Q(occurred_at__gte=cursor.occurred_at) & later
    earlier = Q(occurred_at__lt=cursor.occurred_at) | Q(id__lt=cursor.record_id)
    return Q(occurred_at__lte=cursor.occurred_at) & earlier


def page_url(request: Request, cursor: Cursor | None) -> str | None:
    """The absolute address of another page with the same filters."""
    if cursor is None:
        return None
    query = request.query_params.copy()
    query["cursor"] = str(cursor)
    # Behind a proxy that ends TLS the request itself does not know that it was https.
    base = settings.BASE_URL if settings.HTTPS else request.build_absolute_uri("/").rstrip("/")
    return f"{base}{request.path}?{query.urlencode()}"
