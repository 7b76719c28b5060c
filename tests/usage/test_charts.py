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
    chart = charts.bar_chart([Decimal("0"), Decimal("0.5"), Decimal("1")])
    assert [(bar.y, bar.height) for bar in chart.bars] == [("100", "0"), ("50.0", "50.0"), ("0.0", "100.0")]
    assert chart.ticks == (Decimal(1), Decimal("0.5"), Decimal(0))


def test_the_smallest_cost_can_still_be_seen() -> None:
    chart = charts.bar_chart([Decimal("0.0000000001"), Decimal("1000000")])
    assert chart.bars[0].height == "1"


def test_a_day_on_which_more_was_taken_back_than_used_has_no_bar() -> None:
    assert charts.bar_chart([Decimal("-3"), Decimal("1")]).bars[0].height == "0"


def test_a_month_without_cost_has_lines_and_no_bars() -> None:
    chart = charts.bar_chart([Decimal(0)] * 30)
    assert {bar.height for bar in chart.bars} == {"0"}
    assert chart.width == 300
