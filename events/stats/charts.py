"""Bars of events per day, drawn by the server as SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils import timezone
from django.utils.timezone import get_default_timezone

# The drawing's own units: it is stretched to the width of the page.
BAR, GAP, HEIGHT = 8, 2, 100


@dataclass(frozen=True)
class Bar:
    """A day: how many events, and where its bar stands."""

    day: date
    count: int
    x: int
    height: float

    @property
    def y(self) -> float:
        """The upper end."""
        return HEIGHT - self.height


@dataclass(frozen=True)
class Chart:
    """Bars, and the number at the upper end of the scale."""

    bars: Sequence[Bar]
    top: int
    width: int
    total: int

    @property
    def half(self) -> int:
        """The number in the middle of the scale; 0 where there is none."""
        return self.top // 2

    @property
    def busiest(self) -> Bar:
        """The first day with the most events."""
        return max(self.bars, key=lambda bar: bar.count)

    @property
    def middle(self) -> Bar:
        """The day in the middle, for a label."""
        return self.bars[len(self.bars) // 2]


def last_days(number: int) -> list[date]:
    """The last days of TIME_ZONE, today at the end."""
    today = timezone.localdate()
    return [today - timedelta(days=ago) for ago in reversed(range(number))]


def edges_of(days: Sequence[date]) -> list[datetime]:
    """When each day begins in TIME_ZONE, and when the last one ends: what width_bucket takes."""
    zone = get_default_timezone()
    after = days[-1] + timedelta(days=1)
    return [datetime(day.year, day.month, day.day, tzinfo=zone) for day in (*days, after)]


def bar_chart(days: Sequence[date], counts: Mapping[int, int]) -> Chart:
    """The chart of some days; `counts` has those of 1 (the first day) to len(days)."""
    numbers = [counts.get(place, 0) for place in range(1, len(days) + 1)]
    top = scale_end(max(numbers))
    bars = [
        Bar(day, count, place * (BAR + GAP) + GAP // 2, round(count / top * HEIGHT, 2))
        for place, (day, count) in enumerate(zip(days, numbers, strict=True))
    ]
    return Chart(bars, top, len(days) * (BAR + GAP), sum(numbers))


def scale_end(largest: int) -> int:
    """The next of 1, 2, 4, 6, 8, 10, 20, 40 …: from 2 on its half is a whole number, too."""
    power = 1
    while largest > power * 10:
        power *= 10
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= largest)
