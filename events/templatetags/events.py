"""Template tags of the pages of events."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from urllib.parse import quote

from django import template
from django.contrib.humanize.templatetags.humanize import intcomma, naturaltime
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def time_ago(value: datetime | None) -> SafeString | str:
    """Return the time since a datetime, with the datetime on hover; None is empty."""
    if value is None:
        return ""
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.isoformat(),
        f"{local:%Y-%m-%d %H:%M:%S} {local.tzname()}",
        time_since(value),
    )


def time_since(value: datetime) -> str:
    """Return the time since a datetime in one unit: "3 days ago", or "3 days from now"."""
    text = naturaltime(value).replace("\xa0", " ")
    largest, comma, rest = text.partition(", ")
    return f"{largest} {'ago' if rest.endswith('ago') else 'from now'}" if comma else text


@register.simple_tag
def bars(rows: Iterable[Sequence[object]], link: str = "") -> SafeString:
    """Return a table of names and numbers, each with a bar relative to the largest.

    Args:
        rows: sequences that begin with a name and a number.
        link: if given, each name is a link to this URL with the name appended.
    """
    pairs = [(str(name), int(str(number))) for name, number, *_ in rows]
    largest = max((number for _, number in pairs), default=1)
    return format_html(
        '<table class="bars"><tbody>{}</tbody></table>',
        format_html_join(
            "",
            '<tr><th scope="row">{}</th><td class="bar"><svg viewBox="0 0 100 10" '
            'preserveAspectRatio="none" aria-hidden="true"><rect class="chart-bar" width="{}" '
            'height="10"/></svg></td><td class="number">{}</td></tr>',
            (
                (
                    format_html('<a href="{}{}"><bdi>{}</bdi></a>', link, quote(name), name)
                    if link
                    else format_html("<bdi>{}</bdi>", name),
                    round(number / largest * 100, 1),
                    intcomma(number),
                )
                for name, number in pairs
            ),
        ),
    )
