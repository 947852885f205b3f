"""Paginate lists in FluentCRM's page envelope."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol
from urllib.parse import unquote_plus

from django.db.models import Func, IntegerField, QuerySet, Sum
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import InvalidFields
from config.api.responses import Response, render_json
from config.api.viewsets import ApiViewSet
from config.database import MAX_PAGE_BYTES, Row, fetch_page

PER_PAGE = 15
MAX_PER_PAGE = 1000
# PHP's FILTER_VALIDATE_INT for numbers from 1: whitespace around, a plus, no leading zero.
POSITIVE_INTEGER = re.compile(r"\s*\+?([1-9][0-9]{0,18})\s*", re.ASCII)
MAX_INTEGER = 2**63 - 1

Schema = dict[str, Any]
INTEGER: Schema = {"type": "integer"}
NULLABLE_INTEGER: Schema = {"type": "integer", "nullable": True}
NULLABLE_STRING: Schema = {"type": "string", "nullable": True}


class PageTooLarge(InvalidFields):
    """422: the rows of a page have more than 8 MB together."""

    def __init__(self) -> None:
        message = "The rows of this page have more than 8 MB. Send a smaller per_page."
        super().__init__({"per_page": {"max": message}})


def fetch_whole_page(
    statement: str, parameters: Mapping[str, Any], *, size: str, order: str
) -> list[Row]:
    """Run one statement as `fetch_page` does.

    Raises:
        PageTooLarge: 422, its rows have more than 8 MB.
    """
    rows, _ = fetch_page(statement, parameters, size=size, order=order)
    if rows:
        check_whole(rows, -2)
    return rows


def check_whole(rows: Sequence[Row], found: int) -> None:
    """Check that no row of a page was left out because of its size.

    Args:
        rows: at least one.
        found: the position of the first of the two columns that it adds.

    Raises:
        PageTooLarge: 422, they have more than 8 MB.
    """
    if len(rows) < rows[0][found] or rows[-1][found + 1] > MAX_PAGE_BYTES:
        raise PageTooLarge


def check_rows(rows: Iterable[Any]) -> None:
    """Check that rows have 8 MB of JSON at most, where they repeat an object that all share.

    Raises:
        PageTooLarge: 422, they have more.
    """
    size = 0
    for row in rows:
        size += len(render_json(row))
        if size > MAX_PAGE_BYTES:
            raise PageTooLarge


def check_size(rows: QuerySet[Any], column: str) -> None:
    """Check that a column of long texts has 8 MB at most, before it is read.

    Raises:
        PageTooLarge: 422, it has more.
    """
    size = Func(column, function="octet_length", output_field=IntegerField())
    if (rows.aggregate(bytes=Sum(size))["bytes"] or 0) > MAX_PAGE_BYTES:
        raise PageTooLarge


class Countable(Protocol):
    """Rows that can be counted and sliced, such as a queryset."""

    def count(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: slice) -> Any:
        """Return the rows of a slice."""


class FluentPagination(BasePagination):
    """FluentCRM's page envelope below `key`: `{"events": {"total": …, "data": […]}}`.

    An invalid `page` means 1, an invalid `per_page` 15, and more than 1000 means 1000. Links keep
    the other parameters. See tests/conformance/track-event.json: "pages of 15 by default" and
    "links to the next and previous page keep per_page".
    """

    key: ClassVar[str]
    # The column of long texts that makes rows large, if the rows of a queryset have one.
    long_column: ClassVar[str] = ""
    request: Request
    total: int
    per_page: int
    page: int

    @override
    def paginate_queryset(
        self, queryset: Countable, request: Request, view: ApiViewSet
    ) -> Sequence[Any]:
        self.request = request
        self.per_page = page_size(view.query)
        self.page = _positive_integer(view.query.get("page"), 1)
        rows, self.total = self.get_rows(queryset, (self.page - 1) * self.per_page, self.per_page)
        return rows

    def get_rows(self, queryset: Any, start: int, per_page: int) -> tuple[Sequence[Any], int]:
        """Return the rows of a page and the total number of rows.

        Raises:
            PageTooLarge: 422, the rows have more than 8 MB.
        """
        total = queryset.count()
        if start >= total:
            return [], total
        page = queryset[start : min(start + per_page, total)]
        if self.long_column and per_page > PER_PAGE:
            check_size(page, self.long_column)
        return list(page), total

    @override
    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        return Response({self.key: self.get_envelope(data)})

    def get_envelope(self, data: Sequence[Any]) -> dict[str, Any]:
        """Return the page with its numbers and links around the serialized rows."""
        start = (self.page - 1) * self.per_page
        last_page = -(-self.total // self.per_page)
        return {
            "total": self.total,
            "per_page": self.per_page,
            "current_page": self.page,
            "last_page": last_page,
            "next_page_url": self._link(self.page + 1) if self.page < last_page else None,
            "prev_page_url": self._link(self.page - 1) if self.page > 1 else None,
            "from": start + 1 if data else None,
            "to": start + len(data) if data else None,
            "data": data,
        }

    def _link(self, page: int) -> str:
        query = self.request.META.get("QUERY_STRING", "")
        others = [pair for pair in query.split("&") if pair and not _names_page(pair)]
        return f"{self.request.path}?{'&'.join([*others, f'page={page}'])}"

    @override
    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        return object_schema({self.key: self.get_envelope_schema(schema)})

    def get_envelope_schema(self, schema: Schema) -> Schema:
        """Return the OpenAPI schema of the envelope around an array of rows."""
        return object_schema(
            {
                "total": INTEGER,
                "per_page": INTEGER,
                "current_page": INTEGER,
                "last_page": INTEGER,
                "next_page_url": NULLABLE_STRING,
                "prev_page_url": NULLABLE_STRING,
                "from": NULLABLE_INTEGER,
                "to": NULLABLE_INTEGER,
                "data": schema,
            }
        )

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        return [PAGE_PARAMETER, PER_PAGE_PARAMETER]


def object_schema(properties: Mapping[str, Schema]) -> Schema:
    """Return the OpenAPI schema of an object whose properties are all required."""
    return {"type": "object", "properties": dict(properties), "required": sorted(properties)}


def query_parameter(name: str, description: str, schema: Schema) -> Schema:
    """Return the OpenAPI description of an optional parameter of the query string."""
    return {
        "name": name,
        "in": "query",
        "description": description,
        "schema": schema,
    }


COUNT: Schema = {"type": "integer", "minimum": 0}
PAGE_PARAMETER = query_parameter("page", "Number of the page, from 1.", COUNT)
PER_PAGE_PARAMETER = query_parameter(
    "per_page", "Number of rows on a page: 15 by default, at most 1000.", COUNT
)


def page_size(query: Mapping[str, Any]) -> int:
    """Return `per_page` of a query string: 15 if it is invalid, and at most 1000."""
    return min(_positive_integer(query.get("per_page"), PER_PAGE), MAX_PER_PAGE)


def _positive_integer(text: Any, default: int) -> int:
    match = POSITIVE_INTEGER.fullmatch(text) if isinstance(text, str) else None
    number = int(match[1]) if match else 0
    return number if 1 <= number <= MAX_INTEGER else default


def _names_page(pair: str) -> bool:
    return unquote_plus(pair.partition("=")[0]) == "page"
