"""config.api.renderers: JSON for each response, and the parser for each request."""

from typing import Any

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from config.api.parsers import FormParser, JSONParser
from config.api.renderers import JSONOnlyNegotiation, JSONRenderer

PARSERS = [JSONParser(), FormParser()]


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ({"a": [1, None, True]}, b'{"a":[1,null,true]}'),
        ({"a": "ä<b>"}, '{"a":"ä<b>"}'.encode()),
        ([], b"[]"),
        (None, b"null"),
        (18_446_744_073_709_551_615, b"18446744073709551615"),
    ],
)
def test_data_is_rendered_as_compact_json(data: Any, body: bytes) -> None:
    assert JSONRenderer().render(data) == body


def test_a_whole_number_beyond_64_bits_becomes_a_float() -> None:
    assert JSONRenderer().render({"a": 10**20, "b": "ä"}) == '{"a":1e+20,"b":"ä"}'.encode()


def select_parser(content_type: str) -> Any:
    """Return the parser of a request with this content type."""
    request = Request(APIRequestFactory().post("/", b"{}", content_type=content_type))
    return JSONOnlyNegotiation().select_parser(request, PARSERS)


@pytest.mark.parametrize(
    ("content_type", "parser"),
    [
        ("application/json", JSONParser),
        ("Application/JSON", JSONParser),
        ("application/json ; charset=utf-8", JSONParser),
        ("application/x-www-form-urlencoded", FormParser),
    ],
)
def test_the_content_type_selects_the_parser(content_type: str, parser: type) -> None:
    assert isinstance(select_parser(content_type), parser)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json+x", "application/xml", "x"]
)
def test_another_content_type_has_no_parser(content_type: str) -> None:
    assert select_parser(content_type) is None


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*", "nonsense"])
def test_the_response_is_json_whatever_the_request_accepts(accept: str) -> None:
    request = Request(APIRequestFactory().get("/", headers={"Accept": accept}))
    renderer = JSONRenderer()
    selected = JSONOnlyNegotiation().select_renderer(request, [renderer])
    assert selected == (renderer, "application/json")
