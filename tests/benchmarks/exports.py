"""Goal 13: a million records as a file over HTTP, beside a server-side cursor that writes the same columns.

The peak of memory is that of the server's processes together, since a moment before the request.
"""

import contextlib
import csv
import http.client
import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import fill
from tests.benchmarks.stage import Stage, descendants

SIZES = (100_000, 1_000_000)
FORMATS = ("csv", "jsonl", "xlsx")
AT_ONCE = 1 << 16
ROWS_AT_ONCE = 2_000
FLOOR, GO_FOR = 0.5, 0.75  # of the cursor's rate
GROWTH_AT_MOST = 1.1  # of memory, from the first size to the last
CURSOR = """
SELECT r.id, r.event_id, a.public_id, u.email, k.prefix, r.occurred_at, r.recorded_at, r.local_day, o.slug,
 m.provider, m.name, m.variant, r.status, r.cost, r.priced, r.estimated, r.latency_ms, s.name, r.reference,
 c.name, d.endpoint, d.request_id, d.ip_address, d.user_agent, r.corrects, r.`lines`, d.metadata
FROM usage_record r
 JOIN accounts_account a ON a.id = r.account_id JOIN usage_operation o ON o.id = r.operation_id
 JOIN usage_model m ON m.id = r.model_id LEFT JOIN accounts_user u ON u.id = r.user_id
 LEFT JOIN accounts_key k ON k.id = r.key_id LEFT JOIN usage_session s ON s.id = r.session_id
 LEFT JOIN usage_campaign c ON c.id = r.campaign_id LEFT JOIN usage_recorddetail d ON d.record_id = r.id
WHERE r.account_id = {account} ORDER BY r.occurred_at DESC, r.id DESC
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """How fast a file of so many records came, and the server's peak of memory meanwhile."""

    records: int
    seconds: float
    size: int
    peak_bytes: int

    @property
    def per_second(self) -> float:
        return self.records / self.seconds


def measured(stage: Stage) -> None:
    """Fill the large account step by step; export it in each format at each size, and print what it took."""
    runs: dict[str, list[Exported]] = {name: [] for name in FORMATS}
    stored = 0
    for size in SIZES:
        fill.grow(stage, stored + 1, size, SIZES[-1])
        stored = size
        for name in FORMATS:
            export(stage, name, 0, "&reference=none")  # a first one fills memories, and is not counted
            runs[name].append(export(stage, name, size))
    print_exports(runs, cursor_rate(stage, SIZES[-1]))


def export(stage: Stage, file_format: str, records: int, filters: str = "") -> Exported:
    """One file, read as it comes."""
    pids = descendants(stage.server.pid)
    for pid in pids:
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins again
    connection = http.client.HTTPConnection("127.0.0.1", stage.port, timeout=600)
    started = time.perf_counter()
    headers = {"Authorization": f"Bearer {stage.large.token}"}
    connection.request("GET", f"/api/v1/usage/export/?format={file_format}{filters}", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    size = lines = 0
    while piece := answer.read(AT_ONCE):
        size += len(piece)
        lines += piece.count(b"\n")
    seconds = time.perf_counter() - started
    connection.close()
    if file_format != "xlsx":
        assert lines == records + (file_format == "csv"), f"{lines} lines of {records} records"
    return Exported(records, seconds, size, sum(map(peak_bytes, pids)))


def peak_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def cursor_rate(stage: Stage, records: int) -> float:
    """Records per second of the driver's own cursor and csv's own writer, which shape nothing."""
    from MySQLdb.cursors import SSCursor

    connection: Any = stage.engine.connect()
    cursor = connection.cursor(SSCursor)
    started = time.perf_counter()
    cursor.execute(CURSOR.format(account=stage.large.account_id))
    written = 0
    while rows := cursor.fetchmany(ROWS_AT_ONCE):
        csv.writer(io.StringIO()).writerows(rows)
        written += len(rows)
    seconds = time.perf_counter() - started
    cursor.close()
    connection.close()
    assert written == records, f"{written} of {records} records"
    return records / seconds


def print_exports(runs: dict[str, list[Exported]], cursor: float) -> None:
    print("\nMariaDB. An export of the whole history of an account")
    print(f"13   {'server-side cursor and csv writer':<40}{cursor:>9,.0f} records/s")
    for name, exported in runs.items():
        last = exported[-1]
        ratio, growth = last.per_second / cursor, last.peak_bytes / exported[0].peak_bytes
        verdict = ""
        if name == "csv":
            speed = "reached" if ratio >= GO_FOR else "pass" if ratio >= FLOOR else "MISS"
            verdict = f"{speed}; memory {'pass' if growth <= GROWTH_AT_MOST else 'MISS'}"
        print(
            f"13   {name + f' of {last.records:,} records':<40}{last.per_second:>9,.0f} records/s"
            f"  ratio {ratio:.2f}  {last.size / 1e6:,.0f} MB  peak {last.peak_bytes / 1e6:.0f} MB"
            f"  {growth:.2f} of that at {exported[0].records:,}  {verdict}",
            flush=True,
        )
