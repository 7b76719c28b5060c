"""Goal 11: Usage & Costs and `current` over HTTP, of an account with many records and of one with few."""

from typing import ClassVar

from tests.benchmarks import load
from tests.benchmarks.contestants import Contestant, LostOrDoubledError
from tests.benchmarks.stage import Stage
from tests.benchmarks.year import Reader

READERS: dict[str, Reader] = {}  # by name, "few" and "many": made before the contestants are


class Reading(Contestant):
    """One request after the other, as one person looks: what counts is how long each takes."""

    path: ClassVar[str]
    of: ClassVar[str]
    shows: ClassVar[bytes]

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.reader = READERS[self.of]
        self.requests: list[bytes] = []
        self.answers: list[bytes] = []

    def prepare(self, events: int) -> None:
        self.requests = [load.get(self.path, self.headers())] * events

    def headers(self) -> dict[str, str]:
        return {"Cookie": f"sessionid={self.reader.session}"}

    def run(self) -> None:
        _, self.answers = load.drive(self.stage.port, [self.requests])

    def writer_cpu_s(self) -> float:
        return self.stage.server_cpu_s()

    def stored(self) -> int:
        return 0

    def expected(self, events: int) -> int:
        return 0

    def check_answers(self) -> None:
        for answer in self.answers:
            if load.status_of(answer) != 200 or self.shows not in answer:
                raise LostOrDoubledError(f"{self.name}: answered {answer[:600]!r}")


class PageOfFew(Reading):
    name = "Usage & Costs, few records"
    path = "/settings/usage/"
    of = "few"
    shows = b"Last 10 calls"


class PageOfMany(PageOfFew):
    name = "Usage & Costs, many records"
    of = "many"


class CurrentOfFew(Reading):
    name = "current, few records"
    path = "/api/v1/usage/current/"
    of = "few"
    shows = b'"lifetime_cost"'

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.reader.token}"}


class CurrentOfMany(CurrentOfFew):
    name = "current, many records"
    of = "many"


class PollOfFew(PageOfFew):
    """What an open page asks every few seconds: nothing has changed."""

    name = "poll of the page, few records"
    path = "/settings/usage/live/"

    def headers(self) -> dict[str, str]:
        first = load.drive(self.stage.port, [[load.get(self.path, super().headers())]])[1][0]
        tags = [line for line in first.split(b"\r\n") if line.lower().startswith(b"etag:")]
        return {**super().headers(), "If-None-Match": tags[0].partition(b":")[2].strip().decode()}

    def check_answers(self) -> None:
        for answer in self.answers:
            if load.status_of(answer) != 304:
                raise LostOrDoubledError(f"{self.name}: answered {answer[:600]!r}")


class PollOfMany(PollOfFew):
    name = "poll of the page, many records"
    of = "many"
