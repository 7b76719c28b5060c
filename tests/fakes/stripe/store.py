"""What the look-alike holds: objects by id, the clock, and what tells one run from another."""

import copy
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Object = dict[str, Any]
API_VERSION = "2026-10-28.endive"


class Problem(Exception):
    """An error as Stripe answers it."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str = "",
        kind: str = "invalid_request_error",
        param: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {
            "error": {"type": kind, "message": message, "code": code or None, "param": param or None}
        }


def missing(kind: str, object_id: str) -> Problem:
    return Problem(f"No such {kind}: '{object_id}'", status=404, code="resource_missing", param="id")


class Store:
    """Objects by id in the order in which they were made, a clock that can be moved, and cards.

    `cards` says what becomes of a customer's payments: "ok", "fails", "3ds", or nothing for no card.
    """

    def __init__(self, seed: int = 1, path: Path | None = None) -> None:
        self.lock = threading.RLock()
        self.random = random.Random(seed)
        self.path = path
        self.objects: dict[str, Object] = {}
        self.deleted: set[str] = set()
        self.cards: dict[str, str] = {}
        self.notes: dict[str, Any] = {}
        self.replies: dict[str, list] = {}
        self.offset = 0
        self.numbers = 0
        if path is not None and path.exists():
            self._load(path)

    @property
    def now(self) -> int:
        """The look-alike's time in seconds since 1970: the real one, and by how much it was moved."""
        return int(time.time()) + self.offset

    def new_id(self, prefix: str) -> str:
        self.numbers += 1
        alphabet = "ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz23456789"
        return f"{prefix}_{self.numbers:04d}" + "".join(self.random.choices(alphabet, k=14))

    def add(self, found: Object) -> Object:
        self.objects[found["id"]] = found
        return found

    def get(self, object_id: str, kind: str) -> Object:
        """The object itself, to be read or changed under the lock."""
        found = self.objects.get(object_id)
        if found is None or found["object"] != kind:
            raise missing(kind, object_id)
        return found

    def all(self, kind: str, **equal: Any) -> list[Object]:
        """Objects of a kind whose members equal what is given, the newest first."""
        of_kind = (found for found in reversed(list(self.objects.values())) if found["object"] == kind)
        return [found for found in of_kind if all(found.get(name) == value for name, value in equal.items())]

    def first(self, kind: str, **equal: Any) -> Object | None:
        return next(iter(self.all(kind, **equal)), None)

    def save(self) -> None:
        """Write everything down, so that the next start goes on from here."""
        if self.path is None:
            return
        names = ("objects", "cards", "notes", "replies", "offset", "numbers")
        state = {name: getattr(self, name) for name in names} | {"deleted": sorted(self.deleted)}
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(state))
        os.replace(part, self.path)

    def _load(self, path: Path) -> None:
        state = json.loads(path.read_text())
        for name, value in state.items():
            setattr(self, name, set(value) if name == "deleted" else value)


def clone(found: Object) -> Object:
    return copy.deepcopy(found)


def listed(found: list[Object], url: str) -> Object:
    """A list inside an object."""
    return {"object": "list", "data": found, "has_more": False, "url": url}


def walk(found: Any) -> Iterator[Object]:
    """An object and every object in it."""
    if isinstance(found, dict):
        yield found
        for value in found.values():
            yield from walk(value)
    elif isinstance(found, list):
        for value in found:
            yield from walk(value)
