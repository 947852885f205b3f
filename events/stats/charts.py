"""Draw bar charts of events per day, as SVG that the server renders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.utils import timezone
from django.utils.timezone import get_default_timezone

# In units of the drawing, which is stretched to the width of the page.
BAR_WIDTH, GAP, HEIGHT = 8, 2, 100


@dataclass(frozen=True)
class Bar:
    """A date with its number of events, and the left edge and the height of its bar."""

    day: date
    count: int
    x: int
    height: float

    @property
    def y(self) -> float:
        """The upper edge."""
        return HEIGHT - self.height


@dataclass(frozen=True)
class Chart:
    """Bars, the number at the top of the scale, the width, and the sum of the bars."""

    bars: Sequence[Bar]
    top: int
    width: int
    total: int

    @property
    def half(self) -> int:
        """The number in the middle of the scale, 0 if there is no whole one."""
        return self.top // 2

    @property
    def busiest(self) -> Bar:
        """The first bar of the highest."""
        return max(self.bars, key=lambda bar: bar.count)

    @property
    def middle(self) -> Bar:
        """The bar in the middle, whose date is a label."""
        return self.bars[len(self.bars) // 2]


def last_days(number: int) -> list[date]:
    """Return the last dates in TIME_ZONE, with today at the end."""
    today = timezone.localdate()
    return [today - timedelta(days=ago) for ago in reversed(range(number))]


def day_edges(days: Sequence[date]) -> list[datetime]:
    """Return the start of each date in TIME_ZONE and the end of the last, for width_bucket."""
    zone = get_default_timezone()
    day_after = days[-1] + timedelta(days=1)
    return [datetime(day.year, day.month, day.day, tzinfo=zone) for day in (*days, day_after)]


def bar_chart(days: Sequence[date], counts: Mapping[int, int]) -> Chart:
    """Return the chart of some dates; `counts` is by the position of the date, from 1."""
    numbers = [counts.get(position, 0) for position in range(1, len(days) + 1)]
    top = scale_end(max(numbers))
    bars = [
        Bar(day, count, index * (BAR_WIDTH + GAP) + GAP // 2, round(count / top * HEIGHT, 2))
        for index, (day, count) in enumerate(zip(days, numbers, strict=True))
    ]
    return Chart(bars, top, len(days) * (BAR_WIDTH + GAP), sum(numbers))


def scale_end(largest: int) -> int:
    """Round up to 1, 2, 4, 6, 8, 10, 20, 40 …, whose halves are whole numbers from 2 on."""
    power = 1
    while largest > power * 10:
        power *= 10
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= largest)
