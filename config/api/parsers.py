"""Request bodies and query strings as PHP programs send them, read into plain dicts.

`params(request)` is what views read: the query string's fields, and the body's over them.
"""

import re
from collections.abc import Iterable, Mapping
from io import BytesIO
from itertools import islice
from typing import IO, Any
from urllib.parse import parse_qsl

import orjson
from django.conf import settings
from django.core.exceptions import TooManyFieldsSent
from django.http import QueryDict
from rest_framework import parsers
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from rest_framework.request import Request

from config.api.errors import BadRequest, InvalidJSON
from config.api.validation import MAX_ITEMS

Params = dict[str, Any]
MAX_BRACKETS = 10
BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def request_params(request: Request) -> Params:
    """The fields of a request: query string and body in one dict; the body wins.

    Raises BadRequest for a body or query string that cannot be read, and
    UnsupportedMediaType (415).
    """
    body = request.data
    fields = dict(body) if isinstance(body, dict) else {}
    query = request.META.get("QUERY_STRING")
    return {**parse_query(query), **fields} if query else fields


def parse_query(query: str) -> Params:
    """The fields of a query string, `tags[]=1&tags[]=2` as a list. Raises BadRequest."""
    return expand_brackets(parse_urlencoded(query))


def parse_urlencoded(text: str) -> list[tuple[str, str]]:
    """The pairs of an urlencoded text. Raises BadRequest: not UTF-8, or too many."""
    try:
        return parse_qsl(
            text,
            keep_blank_values=True,
            errors="strict",
            max_num_fields=settings.DATA_UPLOAD_MAX_NUMBER_FIELDS,
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadRequest from error


def expand_brackets(pairs: Iterable[tuple[str, Any]]) -> Params:
    """Form fields as PHP nests them: `a[]=1` and `a[0]=1` are lists, `a[b]=1` is a dict.

    The last of equal names wins. Raises BadRequest beyond ten brackets deep.
    """
    fields: Params = {}
    for name, value in pairs:
        head, bracket, _ = name.partition("[")
        parts = BRACKETS.findall(name, len(head)) if bracket and head else []
        if len(parts) > MAX_BRACKETS:
            raise BadRequest
        *outer, last = [head, *parts] if parts else [name]
        place = fields
        for key in outer:
            key = key or str(len(place))
            inner = place.get(key)
            if not isinstance(inner, dict):
                inner = place[key] = {}
            place = inner
        place[last or str(len(place))] = value
    return {name: _lists(value) for name, value in fields.items()}


def _lists(value: Any) -> Any:
    """Dicts whose keys count 0, 1, 2 … are PHP's lists."""
    if not isinstance(value, dict):
        return value
    items = {key: _lists(inner) for key, inner in value.items()}
    if list(items) == [str(number) for number in range(len(items))]:
        return list(items.values())
    return items


class BodyParser(parsers.BaseParser):
    """A whole body in UTF-8, which `read` makes fields of."""

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Params:
        """The fields. Raises UnsupportedMediaType, and what `read` raises."""
        require_utf8(media_type)
        return self.read(stream.read())

    def read(self, body: bytes) -> Params:
        """The fields of a body."""
        raise NotImplementedError


class JSONParser(BodyParser):
    """`application/json`, in UTF-8. What is JSON but no object has no fields, as in FluentCRM."""

    media_type = "application/json"

    def read(self, body: bytes) -> Params:
        """The fields of a JSON object. Raises InvalidJSON."""
        if not body.strip():
            return {}
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise InvalidJSON(error.msg) from error
        return value if isinstance(value, dict) else {}


class NDJSONParser(BodyParser):
    """`application/x-ndjson`, in UTF-8: a JSON value on each line that is not blank."""

    media_type = "application/x-ndjson"

    def read(self, body: bytes) -> Params:
        """The lines as `events`; a broken one as the InvalidJSON it is answered with.

        No more are read than one too many.
        """
        lines = (line for line in BytesIO(body) if line.strip())
        return {"events": [_line(line) for line in islice(lines, MAX_ITEMS + 1)]}


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return InvalidJSON(error.msg)


class FormParser(BodyParser):
    """`application/x-www-form-urlencoded`, in UTF-8, with PHP's brackets."""

    media_type = "application/x-www-form-urlencoded"

    def read(self, body: bytes) -> Params:
        """The fields of a form. Raises BadRequest."""
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise BadRequest from error
        return expand_brackets(parse_urlencoded(text))


class MultiPartParser(parsers.MultiPartParser):
    """`multipart/form-data`; files are passed over."""

    def parse(  # type: ignore[override]  # one dict, as the other parsers give
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Params:
        """Read a form. Raises BadRequest and UnsupportedMediaType."""
        require_utf8(media_type)
        body = stream.read()
        try:
            body.decode()
            data = super().parse(BytesIO(body), media_type, parser_context).data
        except (UnicodeDecodeError, ParseError, TooManyFieldsSent) as error:
            raise BadRequest from error
        if not body.rstrip().endswith(b"--"):
            raise BadRequest  # without its last boundary it is not whole
        assert isinstance(data, QueryDict)
        return expand_brackets((name, value) for name, values in data.lists() for value in values)


def require_utf8(media_type: str | None) -> None:
    """Raises UnsupportedMediaType if a content type names another charset than UTF-8."""
    charset = re.search(r';\s*charset="?([^";\s]*)', media_type or "", re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(media_type or "")
