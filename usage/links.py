"""Addresses of the pages that lead from a number to the records behind it."""

from dataclasses import dataclass
from datetime import date
from urllib.parse import urlencode

HISTORY = "/settings/usage/history/"


@dataclass(frozen=True, slots=True)
class Links:
    """Links of a page; `account` is named in them where the page was asked for it by name."""

    account: str | None = None

    def history(self, start: date | None = None, end: date | None = None, **filters: str) -> str:
        """The records of local days [start, end) that a filter of history leaves; empty filters are none."""
        days = {"from": start and start.isoformat(), "to": end and end.isoformat()}
        return HISTORY + self._query({**days, **filters})

    def record(self, record_id: str) -> str:
        return f"{HISTORY}{record_id}/{self._query({})}"

    def upgrade(self, meter: str) -> str:
        return f"/upgrade/{self._query({'meter': meter})}"

    def _query(self, params: dict) -> str:
        given = {name: value for name, value in {**params, "account": self.account}.items() if value}
        return f"?{urlencode(given)}" if given else ""
