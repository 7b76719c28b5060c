"""Jobs that only one test knows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from usage import queue
from usage.models import Job


@contextmanager
def only_jobs_of_the_test() -> Iterator[None]:
    """Nothing is registered at first, and afterwards what was before."""
    before = dict(queue.DEFINITIONS)
    queue.DEFINITIONS.clear()
    try:
        yield
    finally:
        queue.DEFINITIONS.clear()
        queue.DEFINITIONS.update(before)


class Recorder:
    """A registered job that keeps what it was called with, and does what `then` says."""

    def __init__(self, name: str = "test.record", attempts: int = 3) -> None:
        self.calls: list[dict[str, Any]] = []
        self.then: Callable[[], Any] = lambda: None
        self.name = name
        queue.job(name, attempts=attempts)(self.run)
        self.function = queue.DEFINITIONS[name].function

    def run(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        return self.then()

    def fail(self) -> None:
        raise ValueError(f"no luck at call {len(self.calls)}")

    def only(self) -> Job:
        return Job.objects.get(name=self.name)
