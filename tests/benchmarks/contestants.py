"""What is run against each other. Each one says afterwards whether everything is there exactly once."""

import gc
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.benchmarks import load
from tests.benchmarks.engines import query
from tests.benchmarks.stage import Stage
from tests.benchmarks.traffic import Traffic

BATCH = 1_000
BATCH_CONNECTIONS = 4
SINGLE_CONNECTIONS = 8


class LostOrDoubledError(Exception):
    """After a run the tables do not hold what was sent, each once."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """How long `count` events or requests took, and the CPU of the database and of whoever wrote to it."""

    count: int
    seconds: float
    writer_cpu_s: float
    database_cpu_s: float

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    @property
    def cpu_us(self) -> float:
        return (self.writer_cpu_s + self.database_cpu_s) / self.count * 1e6

    @property
    def writer_us(self) -> float:
        return self.writer_cpu_s / self.count * 1e6


class Contestant(ABC):
    """Prepares a run, runs it against the clock, and checks what it left behind."""

    name: ClassVar[str]

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.connection = stage.engine.connect()

    def measure(self, events: int) -> Measurement:
        self.prepare(events)
        before = self.stored()
        gc.collect()
        gc.disable()
        writer, database = self.writer_cpu_s(), self.stage.database_cpu_s()
        started = time.perf_counter()
        try:
            self.run()
        finally:
            gc.enable()
        seconds = time.perf_counter() - started
        writer, database = self.writer_cpu_s() - writer, self.stage.database_cpu_s() - database
        self.check_answers()
        stored = self.stored() - before
        if stored != self.expected(events):
            raise LostOrDoubledError(f"{self.name}: {self.expected(events)} sent, {stored} stored")
        return Measurement(events, seconds, writer, database)

    @abstractmethod
    def prepare(self, events: int) -> None: ...

    @abstractmethod
    def run(self) -> None: ...

    @abstractmethod
    def writer_cpu_s(self) -> float: ...

    @abstractmethod
    def stored(self) -> int:
        """How many events the tables hold."""

    def expected(self, events: int) -> int:
        return events

    def check_answers(self) -> None:  # noqa: B027 - not everyone gets answers
        """Raise LostOrDoubledError when an answer says that something was not taken."""

    def count(self, table: str) -> int:
        return int(query(self.connection, f"SELECT COUNT(*) FROM {table}")[0][0])


class OverHttp(Contestant):
    """Requests to the server, from the client apps' keep-alive connections."""

    path: ClassVar[str]
    table: ClassVar[str]
    connections: ClassVar[int]
    operation: ClassVar[str] = ""

    def __init__(self, stage: Stage, *, with_details: bool = False) -> None:
        super().__init__(stage)
        self.traffic = [
            Traffic(f"{self.name}-{number}", with_details=with_details, operation=self.operation)
            for number in range(self.connections)
        ]
        self.queues: list[list[bytes]] = []
        self.answers: list[bytes] = []

    def requests_of(self, number: int, bodies: Sequence[bytes]) -> list[bytes]:
        return [load.post(self.path, self.token(number), body) for body in bodies]

    def token(self, number: int) -> str:
        """The key that a connection sends."""
        return self.stage.tokens[number % len(self.stage.tokens)]

    def run(self) -> None:
        _, self.answers = load.drive(self.stage.port, self.queues)

    def writer_cpu_s(self) -> float:
        return self.stage.server_cpu_s()

    def stored(self) -> int:
        return self.count(self.table)


class Batches(OverHttp):
    """Batches of a thousand."""

    connections = BATCH_CONNECTIONS

    def prepare(self, events: int) -> None:
        each = events // BATCH // self.connections
        self.queues = [
            self.requests_of(number, list(traffic.batches(each, BATCH)))
            for number, traffic in enumerate(self.traffic)
        ]

    def check_answers(self) -> None:
        for answer in self.answers:
            body = load.body_of(answer)
            if load.status_of(answer) != 200 or json.loads(body)["accepted"] != BATCH:
                raise LostOrDoubledError(f"{self.name}: answered {answer[:600]!r}")


class Ours(Batches):
    name = "Tollgate, batches of 1,000"
    path = "/api/v1/usage/"
    table = "usage_record"


class Idiomatic(Batches):
    name = "DRF ListSerializer, bulk_create, F()"
    path = "/api/bench/idiomatic/"
    table = "benchmarks_event"


class Singles(OverHttp):
    """One request per event."""

    connections = SINGLE_CONNECTIONS

    def prepare(self, events: int) -> None:
        each = events // self.connections
        self.queues = [
            self.requests_of(number, list(traffic.singles(each)))
            for number, traffic in enumerate(self.traffic)
        ]

    def check_answers(self) -> None:
        for answer in self.answers:
            if load.status_of(answer) != 201:
                raise LostOrDoubledError(f"{self.name}: answered {answer[:600]!r}")


class OursOneByOne(Singles):
    name = "Tollgate, one record per POST"
    path = "/api/v1/usage/"
    table = "usage_record"


class BareView(Singles):
    name = "bare DRF view"
    path = "/api/bench/bare/"
    table = "usage_record"

    def expected(self, events: int) -> int:
        return 0


class Raw(Contestant):
    """The driver alone, writing rows that the product has stored before, into tables just like its own."""

    tables: ClassVar[str]

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.batches: list[tuple[list[tuple], list[tuple]]] = []
        for table in ("usage_record", "usage_recorddetail"):
            stage.engine.copy_table(self.connection, table, self.tables)
        self.columns = self._columns("usage_record", without=("id",))
        self.detail_columns = self._columns("usage_recorddetail")
        self._read_to = int(query(self.connection, "SELECT COALESCE(MAX(id), 0) FROM usage_record")[0][0])

    def _columns(self, table: str, without: Sequence[str] = ()) -> list[str]:
        found = self.stage.engine.columns(self.connection, table)
        return [f"`{name}`" for name in found if name not in without]

    def read(self, events: int) -> None:
        """The next rows that the product has stored, one of its batches as one of ours."""
        batches = query(
            self.connection,
            f"SELECT batch, MIN(id), MAX(id) FROM usage_record WHERE id > {self._read_to}"
            f" GROUP BY batch HAVING COUNT(*) = {BATCH} ORDER BY 2 LIMIT {events // BATCH}",
        )
        self.batches = [self._rows(*batch) for batch in batches]
        self._read_to = max(last for _, _, last in batches)

    def _rows(self, batch: int, first: int, last: int) -> tuple[list[tuple], list[tuple]]:
        """The rows of one batch, and those of its details."""
        sql = f"SELECT {','.join(self.columns)} FROM usage_record"
        sql += f" WHERE id BETWEEN {first} AND {last} AND batch = {batch} ORDER BY id"
        detail_sql = (
            f"SELECT {','.join(f'd.{name}' for name in self.detail_columns)} FROM usage_recorddetail d"
        )
        detail_sql += f" JOIN usage_record r ON r.id = d.record_id WHERE r.id BETWEEN {first} AND {last}"
        detail_sql += f" AND r.batch = {batch} ORDER BY r.id"
        return list(query(self.connection, sql)), list(query(self.connection, detail_sql))

    def stored(self) -> int:
        return self.count(f"{self.tables}_usage_record")

    def writer_cpu_s(self) -> float:
        return time.process_time()

    def marks(self, columns: Sequence[str]) -> str:
        return f"({','.join([self.stage.engine.mark] * len(columns))})"

    def insert(self, table: str, columns: Sequence[str]) -> str:
        return f"INSERT INTO {self.tables}_{table} ({','.join(columns)}) VALUES "


class RawExecutemany(Raw):
    name = "raw executemany, 1 connection"
    tables = "executemany"

    def prepare(self, events: int) -> None:
        self.read(events)

    def run(self) -> None:
        sql = self.insert("usage_record", self.columns) + self.marks(self.columns)
        detail_sql = self.insert("usage_recorddetail", self.detail_columns) + self.marks(self.detail_columns)
        cursor = self.connection.cursor()
        for records, details in self.batches:
            cursor.executemany(sql, records)
            if details:
                cursor.executemany(detail_sql, details)
            self.connection.commit()


class RawPrebuilt(Raw):
    name = "prebuilt SQL, 2 connections"
    tables = "prebuilt"

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.writers = [stage.engine.connect(), stage.engine.connect()]
        self.statements: list[list[list[bytes]]] = []

    def prepare(self, events: int) -> None:
        self.read(events)
        texts = [self._texts(records, details) for records, details in self.batches]
        self.statements = [texts[number :: len(self.writers)] for number in range(len(self.writers))]

    def _texts(self, records: list[tuple], details: list[tuple]) -> list[bytes]:
        texts = [self._text("usage_record", self.columns, records)]
        return texts + ([self._text("usage_recorddetail", self.detail_columns, details)] if details else [])

    def _text(self, table: str, columns: Sequence[str], rows: list[tuple]) -> bytes:
        return self.insert(table, columns).encode() + b",".join(self.connection.literal(row) for row in rows)

    def run(self) -> None:
        threads = [
            threading.Thread(target=write, args=(writer, texts))
            for writer, texts in zip(self.writers, self.statements, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def write(connection: Any, transactions: list[list[bytes]]) -> None:
    for statements in transactions:
        for statement in statements:
            connection.query(statement)
        connection.commit()
