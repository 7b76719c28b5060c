"""The geometry of a bar chart."""

from decimal import Decimal

import pytest

from usage import charts


@pytest.mark.parametrize(
    ("largest", "ceiling"),
    [
        ("0", "1"),
        ("1", "1"),
        ("1.01", "2"),
        ("2.3", "2.5"),
        ("4.61", "5"),
        ("7", "10"),
        ("0.00013", "0.0002"),
    ],
)
def test_the_highest_line_is_the_next_round_number(largest: str, ceiling: str) -> None:
    assert charts.ceiling(Decimal(largest)) == Decimal(ceiling)


def test_bars_stand_on_the_ground_and_reach_their_share_of_the_height() -> None:
    chart = charts.stacked_chart([[Decimal("0"), Decimal("0.5"), Decimal("1")]], 3)
    assert chart.paths == ["M444 100h72v100h-72zM764 0h72v200h-72z"]
    assert chart.slots == [("0", "320"), ("320", "320"), ("640", "320")]
    assert chart.ticks == (Decimal(1), Decimal("0.5"), Decimal(0))


def test_the_parts_of_a_bar_stand_on_each_other() -> None:
    chart = charts.stacked_chart([[Decimal("0.25")], [Decimal(0)], [Decimal("0.75")]], 1)
    assert chart.paths == ["M444 150h72v50h-72z", "", "M444 0h72v150h-72z"]


def test_the_smallest_cost_can_still_be_seen() -> None:
    least, most = Decimal("0.0000000001"), Decimal("1000000")
    chart = charts.stacked_chart([[least, Decimal(0)], [least * 2, most]], 2)
    assert chart.paths == ["", "M204 198h72v2h-72zM684 0h72v200h-72z"]


def test_a_day_on_which_more_was_taken_back_than_used_has_no_bar() -> None:
    assert charts.stacked_chart([[Decimal("-3"), Decimal("1")]], 2).paths == ["M684 0h72v200h-72z"]


def test_a_month_without_cost_has_lines_and_no_bars() -> None:
    chart = charts.stacked_chart([[Decimal(0)] * 30], 30)
    assert (chart.paths, len(chart.slots), chart.ticks[0]) == ([""], 30, Decimal(1))
