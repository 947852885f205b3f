"""events.stats.charts: the scale, bars and days of bar charts."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.utils import timezone

from events.stats.charts import Bar, bar_chart, day_edges, last_days, scale_end

DAYS = [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]


@pytest.mark.parametrize(
    ("largest", "end"),
    [
        *((0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 6), (7, 8), (9, 10), (10, 10)),
        *((11, 20), (21, 40), (41, 60), (99, 100), (100, 100), (101, 200), (1001, 2000)),
    ],
)
def test_the_scale_ends_at_the_next_round_number(largest: int, end: int) -> None:
    assert scale_end(largest) == end


def test_each_bar_has_a_position_and_a_height_on_the_scale() -> None:
    assert bar_chart(DAYS, {1: 3, 3: 4}).bars == [
        Bar(date(2024, 2, 28), 3, 1, 75.0),
        Bar(date(2024, 2, 29), 0, 11, 0.0),
        Bar(date(2024, 3, 1), 4, 21, 100.0),
    ]


def test_a_bar_stands_on_the_lower_edge() -> None:
    assert bar_chart(DAYS, {1: 3, 3: 4}).bars[0].y == 25.0


def test_a_chart_has_its_scale_width_and_sum() -> None:
    chart = bar_chart(DAYS, {1: 3, 3: 4})
    assert (chart.top, chart.half, chart.width, chart.total) == (4, 2, 30, 7)


def test_a_chart_without_events_has_no_height() -> None:
    chart = bar_chart(DAYS, {})
    assert (chart.top, chart.half, chart.total) == (1, 0, 0)
    assert [bar.height for bar in chart.bars] == [0, 0, 0]


def test_counts_outside_the_days_are_ignored() -> None:
    assert bar_chart(DAYS, {0: 100, 2: 5, 4: 100}).total == 5


def test_the_busiest_day_is_the_first_of_the_highest() -> None:
    assert bar_chart(DAYS, {1: 1, 2: 4, 3: 4}).busiest.day == date(2024, 2, 29)


@pytest.mark.parametrize(
    ("number", "middle"), [(1, date(2024, 2, 28)), (2, date(2024, 2, 29)), (3, date(2024, 2, 29))]
)
def test_the_middle_of_a_chart(number: int, middle: date) -> None:
    assert bar_chart(DAYS[:number], {}).middle.day == middle


def test_the_last_days_end_with_today_in_time_zone(
    berlin: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timezone, "now", lambda: datetime(2024, 3, 1, 23, 30, tzinfo=UTC))
    assert last_days(3) == [date(2024, 2, 29), date(2024, 3, 1), date(2024, 3, 2)]


def test_the_edges_of_days_are_midnights_in_time_zone(berlin: None) -> None:
    edges = day_edges([date(2024, 3, 30), date(2024, 3, 31)])
    assert edges == [
        datetime(2024, 3, 29, 23, tzinfo=UTC),
        datetime(2024, 3, 30, 23, tzinfo=UTC),
        datetime(2024, 3, 31, 22, tzinfo=UTC),
    ]


def test_the_day_on_which_clocks_go_forward_has_23_hours(berlin: None) -> None:
    start, end = (edge.astimezone(UTC) for edge in day_edges([date(2024, 3, 31)]))
    assert end - start == timedelta(hours=23)
