"""A browser of the staff that gives a reason with whatever it sends; unless asked, it is not read."""

from typing import Any

from django.test import Client

REASON = "as agreed"


class GivesReasons(Client):
    """A post without a `reason` has this one."""

    def post(self, path: str, data: Any = None, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        sent = {"reason": REASON, **(data or {})}
        return super().post(path, sent, *args, **kwargs)
