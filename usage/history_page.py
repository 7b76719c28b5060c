"""What the History page shows: the records and refusals that its filters ask for, a page at a time."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from urllib.parse import urlencode

from django.urls import reverse

from accounts.errors import Invalid
from accounts.models import Account
from usage import exports, formatting, parameters
from usage import price_book as price_books
from usage.history_choices import offered
from usage.history_filters import Asked, Filters, check
from usage.pagination import Cursor, Page, Row, parse_cursor, read_page
from usage.price_book import PriceBook
from usage.refusal_rows import represent_entry
from usage.representation import RecordRow


@dataclass(frozen=True, slots=True)
class RecordCost:
    """What one record costs: in USD, and in the account's own currency when that is another one."""

    usd: Decimal
    currency: str | None
    other: Decimal | None  # None although there is a currency: no exchange rate held on its day


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: a record or a refusal in the API's form, with what people read instead of it."""

    record: dict
    occurred_at: datetime
    operation: str
    cost: RecordCost | None  # None: nothing of its cost is known
    latency: str
    url: str  # of the record; a refusal has no page of its own

    @property
    def correction(self) -> str:
        if self.record["adjusts"]:
            return "adjustment"
        return "reversal" if self.record["reverses"] else ""


@dataclass(frozen=True, slots=True)
class Export:
    label: str
    url: str


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Entries newest first; none while something is wrong with the filters."""

    filters: Filters
    entries: list[Entry]
    newer: str | None
    older: str | None
    exports: list[Export]

    @property
    def is_fresh(self) -> bool:
        """Nothing was ever recorded or refused."""
        asked = self.filters.asked
        return not (self.entries or asked.filters or self.filters.errors or "cursor" in asked.values)


def load(account: Account, asked: Asked) -> HistoryPage:
    """The page that an address asks for."""
    book = price_books.current()
    filters = check(account, asked, offered(account, book))
    cursor = _cursor(filters)
    if filters.errors:
        return HistoryPage(filters, [], None, None, [])
    listed = parameters.listed(asked.values, account, filters.ids)
    page = read_page(listed, cursor, filters.page_size)
    return HistoryPage(
        filters,
        [entry(row, account, book) for row in page.rows],
        newer=_beside(asked, page, page.previous),
        older=_beside(asked, page, page.next),
        exports=exports_of(account, asked),
    )


def _cursor(filters: Filters) -> Cursor | None:
    try:
        return parse_cursor(filters.asked.values.get("cursor"))
    except Invalid:
        filters.errors["cursor"] = "This address names a page that is not there."
        return None


def _beside(asked: Asked, page: Page, cursor: Cursor | None) -> str | None:
    return None if cursor is None else asked.address(cursor=str(cursor))


def exports_of(account: Account, asked: Asked) -> list[Export]:
    """A file of exactly what is filtered, in each format."""
    # The account is named: another one may be switched to before the link is followed.
    same = {"account": account.public_id, **asked.filters}
    return [
        Export(name.upper(), f"{reverse('export')}?{urlencode({'format': name, **same})}")
        for name in exports.FORMATS
    ]


def entry(row: Row, account: Account, book: PriceBook) -> Entry:
    record = represent_entry(row, book)
    operation = book.operations.get(row.operation)
    return Entry(
        record=record,
        occurred_at=row.occurred_at,
        operation=operation.name if operation else row.operation,
        cost=cost_of(record, account, book),
        latency=formatting.latency(row.latency_ms if isinstance(row, RecordRow) else None),
        url=reverse("settings_record", args=[record["id"]]) if isinstance(row, RecordRow) else "",
    )


def cost_of(record: dict, account: Account, book: PriceBook) -> RecordCost | None:
    """The cost of a record in the API's form, in the account's own currency too, at the rate of its day."""
    if record["cost"] is None:
        return None
    usd = Decimal(record["cost"]["USD"])
    if account.currency == "USD":
        return RecordCost(usd, None, None)
    day = date.fromisoformat(record["local_day"])
    return RecordCost(usd, account.currency, book.convert(usd, account.currency, day))
