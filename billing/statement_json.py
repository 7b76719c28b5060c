"""A statement as the API answers it: every figure a string, every count a number."""

from billing import period_charges
from billing.statement_tables import Costs, Row, Table
from billing.statements import Statement
from usage.fields import QUANTITY_PLACES, quantity_text, scale_up
from usage.quotas.refusals import amount_text
from usage.representation import instant_text


def as_json(statement: Statement) -> dict[str, object]:
    """The document of one statement."""
    return {
        "account": statement.account.public_id,
        "account_name": statement.account.name,
        "month": statement.code,
        "running": statement.running,
        "period": {"start": instant_text(statement.start), "end": instant_text(statement.end)},
        "first_day": statement.month.isoformat(),
        "last_day": statement.last_day.isoformat(),
        "time_zone": statement.account.time_zone,
        "currency": statement.account.currency,
        "plans": [
            {
                "code": held.plan.code,
                "name": held.plan.name,
                "start": instant_text(held.start),
                "end": None if held.end is None else instant_text(held.end),
            }
            for held in statement.plans
        ],
        "exchange_rates": [
            {
                "currency": used.currency,
                "rate": f"{used.rate.normalize():f}",
                "effective_from": used.effective_from.isoformat(),
                "first_day": used.first_day.isoformat(),
                "last_day": used.last_day.isoformat(),
                "converted": {"USD": f"{used.usd:f}"},
            }
            for used in statement.rates
        ],
        "days_without_rate": {
            currency: [day.isoformat() for day in days]
            for currency, days in statement.days_without_rate.items()
        },
        "totals": {
            **_figures(statement.total, with_units=True),
            "refused_attempts": statement.refused_attempts,
        },
        "charge": period_charges.text(statement.charge.total),
        "charge_lines": period_charges.lines_as_json(statement.charge.lines),
        "meters": [
            {
                "meter": status.meter.slug,
                "name": status.meter.name,
                "unit": status.meter.shown_as,
                "used": amount_text(status.used, status.meter),
            }
            for status in statement.meters
        ],
        **{table.section.key: _table(table) for table in statement.tables},
    }


def _table(table: Table) -> dict[str, object]:
    with_units = table.section.dimension in ("operation", "model")
    others = table.others
    return {
        "rows": [{**row.identity, **_figures(row, with_units)} for row in table.rows],
        "others": None if others is None else {"count": table.others_count, **_figures(others)},
    }


def _figures(row: Row, with_units: bool = False) -> dict[str, object]:
    quantities = {unit: quantity_text(scale_up(value, QUANTITY_PLACES)) for value, unit in row.quantities}
    return {
        "operations": row.operations,
        "errors": row.errors,
        "rate_limited": row.rate_limited,
        "unpriced": row.unpriced,
        **({"quantities": quantities} if with_units else {}),
        "cost": costs_as_json(row.costs),
    }


def costs_as_json(costs: Costs) -> dict[str, str | None]:
    return {currency: None if amount is None else f"{amount:f}" for currency, amount in costs.items()}
