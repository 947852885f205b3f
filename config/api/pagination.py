"""FluentCRM's page envelope."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import unquote_plus

from rest_framework.request import Request

from config.api.parsers import parse_query

PER_PAGE = 15
MAX_PER_PAGE = 1000
# PHP's FILTER_VALIDATE_INT for numbers from 1: blanks around, a plus, no leading zero.
WHOLE = re.compile(r"\s*\+?([1-9][0-9]{0,18})\s*", re.ASCII)
LARGEST = 2**63 - 1


def page_of(
    request: Request, total: int, rows: Callable[[int, int], Iterable[dict[str, Any]]]
) -> dict[str, Any]:
    """One page in FluentCRM's envelope.

    `rows(start, stop)` gives the rows from `start` up to, not including, `stop`; it is asked only
    for rows that exist. Nonsense in `page` means 1, in `per_page` 15; more than 1000 means 1000.
    """
    query = request.META.get("QUERY_STRING", "")
    start, per_page = requested_page(request)
    page = start // per_page + 1
    data = list(rows(start, min(start + per_page, total))) if start < total else []
    last_page = -(-total // per_page)
    path = request.path
    others = [pair for pair in query.split("&") if pair and not _names_page(pair)]

    def link(number: int) -> str:
        return f"{path}?{'&'.join([*others, f'page={number}'])}"

    return {
        "total": total,
        "per_page": per_page,
        "current_page": page,
        "last_page": last_page,
        "next_page_url": link(page + 1) if page < last_page else None,
        "prev_page_url": link(page - 1) if page > 1 else None,
        "from": start + 1 if data else None,
        "to": start + len(data) if data else None,
        "data": data,
    }


def requested_page(request: Request) -> tuple[int, int]:
    """Where the page that is asked for begins, and how many rows it has at most."""
    asked = parse_query(request.META.get("QUERY_STRING", ""))
    per_page = page_size(asked)
    return (_whole(asked.get("page"), 1) - 1) * per_page, per_page


def page_size(asked: Mapping[str, Any]) -> int:
    """`per_page` of a query string: 15 if it is nonsense, and at most 1000."""
    return min(_whole(asked.get("per_page"), PER_PAGE), MAX_PER_PAGE)


def _whole(text: Any, default: int) -> int:
    match = WHOLE.fullmatch(text) if isinstance(text, str) else None
    number = int(match[1]) if match else 0
    return number if 1 <= number <= LARGEST else default


def _names_page(pair: str) -> bool:
    return unquote_plus(pair.partition("=")[0]) == "page"
