"""config.api.pagination: the numbers, links and rows of FluentCRM's page envelope."""

from typing import Any

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from config.api.pagination import FluentPagination, object_schema, page_size
from config.api.responses import Response
from config.api.viewsets import ApiViewSet


class NumbersPagination(FluentPagination):
    """A page of numbers."""

    key = "numbers"


class Numbers:
    """The numbers from 1 to `total`, counted and sliced as a queryset is."""

    def __init__(self, total: int) -> None:
        self.total = total

    def count(self) -> int:
        return self.total

    def __getitem__(self, rows: slice) -> range:
        return range(1, self.total + 1)[rows]


class NumbersViewSet(ApiViewSet):
    """A list of numbers."""

    authentication_classes = ()
    permission_classes = ()
    pagination_class = NumbersPagination
    total = 0

    def list(self, _: Request) -> Response:
        return self.get_paginated_response(self.paginate_queryset(Numbers(self.total)))


def page_of(total: int, query: str = "") -> dict[str, Any]:
    """Return the page of `total` numbers that a query string asks for."""
    view = NumbersViewSet.as_view({"get": "list"}, total=total)
    response = view(APIRequestFactory().get(f"/numbers?{query}"))
    assert response.status_code == 200
    assert list(response.data) == ["numbers"]
    page: dict[str, Any] = response.data["numbers"]
    return page


def test_the_envelope_of_a_page_in_the_middle() -> None:
    assert page_of(7, "per_page=3&page=2") == {
        "total": 7,
        "per_page": 3,
        "current_page": 2,
        "last_page": 3,
        "next_page_url": "/numbers?per_page=3&page=3",
        "prev_page_url": "/numbers?per_page=3&page=1",
        "from": 4,
        "to": 6,
        "data": [4, 5, 6],
    }


def test_the_envelope_of_an_empty_list() -> None:
    assert page_of(0) == {
        "total": 0,
        "per_page": 15,
        "current_page": 1,
        "last_page": 0,
        "next_page_url": None,
        "prev_page_url": None,
        "from": None,
        "to": None,
        "data": [],
    }


def test_the_last_page_has_the_remaining_rows_and_no_next_link() -> None:
    page = page_of(7, "per_page=3&page=3")
    assert (page["from"], page["to"], page["data"]) == (7, 7, [7])
    assert page["next_page_url"] is None
    assert page["prev_page_url"] == "/numbers?per_page=3&page=2"


def test_a_page_beyond_the_last_is_empty_and_keeps_its_number() -> None:
    page = page_of(7, "per_page=3&page=9")
    assert (page["current_page"], page["from"], page["to"], page["data"]) == (9, None, None, [])
    assert page["next_page_url"] is None
    assert page["prev_page_url"] == "/numbers?per_page=3&page=8"


@pytest.mark.parametrize(
    ("total", "last_page"), [(1, 1), (14, 1), (15, 1), (16, 2), (30, 2), (31, 3)]
)
def test_the_last_page_is_rounded_up(total: int, last_page: int) -> None:
    assert page_of(total)["last_page"] == last_page


@pytest.mark.parametrize(
    ("word", "page"),
    [("2", 2), ("%2B2", 2), ("%202%20", 2), ("2%0A", 2), ("9223372036854775807", 2**63 - 1)],
)
def test_a_page_number_is_read_as_php_reads_it(word: str, page: int) -> None:
    assert page_of(40, f"page={word}")["current_page"] == page


@pytest.mark.parametrize(
    "word",
    [*("", "0", "-1", "02", "2.0", "1e1", "two", "2a", "0x2", "%D9%A2"), "9223372036854775808"],
)
def test_an_invalid_page_is_the_first(word: str) -> None:
    assert page_of(40, f"page={word}")["current_page"] == 1


def test_a_page_given_as_a_list_is_the_first() -> None:
    assert page_of(40, "page[]=2")["current_page"] == 1


@pytest.mark.parametrize(
    ("word", "per_page"),
    [("1", 1), ("1000", 1000), ("1001", 1000), ("9" * 19, 15), ("0", 15), ("-5", 15), ("all", 15)],
)
def test_per_page_is_at_most_1000_and_15_if_invalid(word: str, per_page: int) -> None:
    assert page_of(40, f"per_page={word}")["per_page"] == per_page


def test_the_page_size_is_15_by_default() -> None:
    assert page_size({}) == 15


@pytest.mark.parametrize(
    ("query", "link"),
    [
        ("", "/numbers?page=2"),
        ("page=1", "/numbers?page=2"),
        ("search=a%20b&page=1&tags[]=1&tags[]=2", "/numbers?search=a%20b&tags[]=1&tags[]=2&page=2"),
        ("p%61ge=1&sort=id", "/numbers?sort=id&page=2"),
        ("page&pages=3", "/numbers?pages=3&page=2"),
        ("&&sort=id&", "/numbers?sort=id&page=2"),
    ],
)
def test_links_keep_the_other_parameters_as_sent(query: str, link: str) -> None:
    assert page_of(40, query)["next_page_url"] == link


def test_the_schema_of_a_page_requires_all_of_its_members() -> None:
    schema = NumbersPagination().get_paginated_response_schema({"type": "array"})
    page = schema["properties"]["numbers"]
    assert page["properties"]["data"] == {"type": "array"}
    assert set(page["required"]) == set(page_of(0))


def test_an_object_schema_requires_its_properties_in_alphabetical_order() -> None:
    assert object_schema({"b": {"type": "integer"}, "a": {"type": "string"}}) == {
        "type": "object",
        "properties": {"b": {"type": "integer"}, "a": {"type": "string"}},
        "required": ["a", "b"],
    }
