"""events.templatetags.events: times and bars of the admin's pages."""

from datetime import UTC, datetime, timedelta

import pytest

from events.templatetags.events import bars, time_ago, time_since

NOW = datetime(2024, 7, 15, 12, tzinfo=UTC)


class FrozenDatetime(datetime):
    """A datetime whose now() is NOW; Django's naturaltime asks it."""

    @classmethod
    def now(cls, _: object = None) -> datetime:  # type: ignore[override]
        return NOW


@pytest.fixture(autouse=True)
def frozen_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be NOW."""
    monkeypatch.setattr("django.contrib.humanize.templatetags.humanize.datetime", FrozenDatetime)


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(0), "now"),
        (timedelta(seconds=30), "30 seconds ago"),
        (timedelta(minutes=1), "a minute ago"),
        (timedelta(hours=2, minutes=30), "2 hours ago"),
        (timedelta(days=1, hours=5), "1 day ago"),
        (timedelta(days=3), "3 days ago"),
        (timedelta(days=17), "2 weeks ago"),
        (timedelta(days=400), "1 year ago"),
        (timedelta(days=-3, hours=-2), "3 days from now"),
        (timedelta(hours=-2), "2 hours from now"),
    ],
)
def test_a_time_is_shown_in_its_largest_unit(age: timedelta, text: str) -> None:
    assert time_since(NOW - age) == text


def test_a_moment_has_its_datetime_in_time_zone_on_hover(berlin: None) -> None:
    assert time_ago(NOW - timedelta(days=3, hours=2)) == (
        '<time datetime="2024-07-12T12:00:00+02:00" title="2024-07-12 12:00:00 CEST">'
        "3 days ago</time>"
    )


def test_no_moment_is_the_empty_text() -> None:
    assert time_ago(None) == ""


def widths(*numbers: int) -> list[str]:
    """Return the widths of the bars of numbers."""
    html = bars([("key", number) for number in numbers])
    return [part.partition('"')[0] for part in html.split('class="chart-bar" width="')[1:]]


def test_bars_are_relative_to_the_largest() -> None:
    assert widths(200, 100, 1, 0) == ["100.0", "50.0", "0.5", "0.0"]


def test_no_rows_are_an_empty_table() -> None:
    assert bars([]) == '<table class="bars"><tbody></tbody></table>'


def test_a_number_has_commas() -> None:
    assert '<td class="number">1,234,567</td>' in bars([("key", 1234567)])


def test_a_name_is_escaped() -> None:
    assert '<th scope="row"><bdi>&lt;b&gt;</bdi></th>' in bars([("<b>", 1)])


def test_a_name_can_be_a_link() -> None:
    html = bars([("a b&c/ä", 1)], "?event_key=")
    assert '<a href="?event_key=a%20b%26c/%C3%A4"><bdi>a b&amp;c/ä</bdi></a>' in html


def test_further_members_of_a_row_are_ignored() -> None:
    assert bars([("key", 5, "more")]) == bars([("key", 5)])
