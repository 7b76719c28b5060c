"""Millions of records by set-based SQL, and how fast records go in as their table outgrows the memory.

They are synthetic in this: their hashes are random and not those of their ids, they were not rated one
by one, and they have no session, key or detail. Their totals are made from them, so whatever counts
from totals and ledger counts right.
"""

import time
from typing import Any

from tests.benchmarks.engines import query
from tests.benchmarks.stage import Stage

AT_ONCE = 50_000
PROBE_ROWS = 1_000  # of a transaction, as the product's batches
PROBES = 100
ONE_REQUEST = 10_000  # in 10⁻⁴
COST = 10**8  # of one call, in 10⁻¹⁰ USD

RECORDS = """
INSERT INTO usage_record (account_id, event_hash, event_id, content_hash, batch, key_id, user_id,
 operation_id, model_id, session_id, campaign_id, reference, status, estimated, priced, counts, cost, `lines`,
 latency_ms, local_day, occurred_at, recorded_at, corrects)
SELECT {account}, RANDOM_BYTES(16), CONCAT('fill-', seq), RANDOM_BYTES(16), seq, NULL, NULL,
 {operation}, {model}, NULL, NULL, NULL, 0, 0, 1, 1, {cost}, '[[{unit},{one},{rate},{cost}]]',
 80 + seq % 900, DATE({at}), {at}, {at}, NULL
FROM seq_{first}_to_{last}
"""
# Spread over this month until now, in order; the account's days are those of UTC.
MONTH = "DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-01')"
AT = f"({MONTH} + INTERVAL (TIMESTAMPDIFF(SECOND, {MONTH}, UTC_TIMESTAMP()) * seq DIV {{all}}) SECOND)"
ROLLUP = """
INSERT INTO usage_rollup SELECT account_id, local_day, operation_id, model_id, status, 0, 0, 0, COUNT(*), 0,
 SUM(cost), COUNT(latency_ms), SUM(latency_ms), MAX(latency_ms)
FROM usage_record WHERE account_id = {account} GROUP BY 1, 2, 3, 4, 5
"""
ROLLUP_UNIT = """
INSERT INTO usage_rollupunit (account_id, local_day, operation_id, model_id, status, user_id, campaign_id,
 key_id, unit_id, records, quantity, cost, unpriced_quantity)
SELECT account_id, local_day, operation_id, model_id, status, 0, 0, 0, {unit}, COUNT(*), COUNT(*) * {one},
 SUM(cost), 0
FROM usage_record WHERE account_id = {account} GROUP BY 1, 2, 3, 4, 5
"""
ROLLUP_DAY = """
INSERT INTO usage_rollupday (account_id, local_day, records, cost)
SELECT account_id, local_day, COUNT(*), SUM(cost) FROM usage_record WHERE account_id = {account} GROUP BY 1, 2
"""
CALLS = """
INSERT INTO benchmarks_call (account_id, event_id, requests, occurred_at)
SELECT account_id, event_id, 1, occurred_at FROM usage_record WHERE account_id = {account} ORDER BY id
"""


def fill(stage: Stage, records: int) -> None:
    """Give the large account so many records of this month, their totals, and then its hard quota."""
    connection = stage.engine.connect()
    names = _names(connection, stage)
    _insert(connection, names, 1, records, records)
    for sql in (ROLLUP, ROLLUP_UNIT, ROLLUP_DAY, "ANALYZE TABLE usage_record"):
        query(connection, sql.format(**names, one=ONE_REQUEST))
    connection.close()
    stage.inside("limit", stage.large.account_id, 10**9)


def grow(stage: Stage, first: int, last: int, everything: int) -> None:
    """Give the large account its records number `first` to `last`, of so many, without totals."""
    connection = stage.engine.connect()
    _insert(connection, _names(connection, stage), first, last, everything)
    query(connection, "ANALYZE TABLE usage_record")
    connection.close()


def copy_to_naive(stage: Stage) -> None:
    """The same records for the naive check, in its own table."""
    connection = stage.engine.connect()
    query(connection, CALLS.format(account=stage.large.account_id))
    query(connection, "ANALYZE TABLE benchmarks_call")
    connection.close()


def _names(connection: Any, stage: Stage) -> dict[str, int]:
    """The ids that the records refer to."""
    query(
        connection,
        "INSERT IGNORE INTO usage_model (provider, name, variant, first_seen_at)"
        " VALUES ('openai', 'gpt-4o', '', UTC_TIMESTAMP())",
    )
    wanted = {
        "operation": "SELECT id FROM usage_operation WHERE slug = 'api_call'",
        "model": "SELECT id FROM usage_model WHERE provider = 'openai' AND name = 'gpt-4o' AND variant = ''",
        "unit": "SELECT id FROM usage_unit WHERE slug = 'requests'",
        "rate": "SELECT r.id FROM usage_rate r JOIN usage_pricingconfig c ON c.id = r.config_id"
        " WHERE c.operation = 'api_call' ORDER BY r.id LIMIT 1",
    }
    found = {name: int(query(connection, sql)[0][0]) for name, sql in wanted.items()}
    return found | {"account": stage.large.account_id}


def _insert(
    connection: Any, names: dict[str, int], first: int, last: int, everything: int, at_once: int = AT_ONCE
) -> None:
    """Insert records number `first` to `last` of so many that fill the month, some in each transaction."""
    at = AT.format(all=everything)
    for start in range(first, last + 1, at_once):
        end = min(start + at_once - 1, last)
        sql = RECORDS.format(**names, at=at, one=ONE_REQUEST, cost=COST, first=start, last=end)
        query(connection, sql)


def rate_at(stage: Stage, sizes: tuple[int, ...]) -> list[float]:
    """Grow the ledger to each of these sizes in turn; records per second there, in the product's batches.

    One after the other, so on a machine that has other work the ratio says little. Only the unique index
    is random: of five million records it is a few hundred megabytes.
    """
    connection = stage.engine.connect()
    names = _names(connection, stage)
    rates = []
    stored = 0
    for size in sizes:
        probed = PROBES * PROBE_ROWS
        _insert(connection, names, stored + 1, size - 2 * probed, sizes[-1])
        # The first half lets the server work off what the fill has left to be written.
        _insert(connection, names, size - 2 * probed + 1, size - probed, sizes[-1], PROBE_ROWS)
        started = time.perf_counter()
        _insert(connection, names, size - probed + 1, size, sizes[-1], PROBE_ROWS)
        rates.append(probed / (time.perf_counter() - started))
        stored = size
    connection.close()
    return rates
