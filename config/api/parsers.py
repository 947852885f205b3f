"""Parse request bodies and query strings, as PHP programs send them, into plain dicts."""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping
from io import BytesIO
from itertools import islice
from typing import IO, Any
from urllib.parse import parse_qsl, unquote, unquote_plus

import orjson
from django.core.exceptions import TooManyFieldsSent
from django.http import QueryDict
from rest_framework import parsers
from rest_framework.exceptions import ParseError, UnsupportedMediaType
from typing_extensions import override

from config.api.errors import BadRequest, InvalidJSON, JSONAsForm
from config.api.validation import MAX_ITEMS, php_list

Params = dict[str, Any]
MAX_BRACKETS = 10
# Names and values in a form or a query string.
MAX_PAIRS = 1000
# The fields of requests whose items have an outcome each.
ITEM_LISTS = ("events", "contacts")
# The characters of a form that show whether it is JSON, also after some spaces in percent-encoding.
JSON_START = 30
MAX_WHOLE_DIGITS = 22
HALF_CHARACTER = "half a character: a \\u escape of a surrogate without the other one"
NO_NUMBER = "a number that JSON does not have: NaN, Infinity, or one beyond 1.8e308"
# A parameter that holds an e-mail, and its value, in an urlencoded text.
EMAIL_PARAMETER = re.compile(
    r"(?<![^&])((?:[^=&]*(?:\[|%5B))?(?:email|get_by_email|search)(?:\]|%5D)?=)([^&]+)",
    re.IGNORECASE,
)
BRACKETS = re.compile(r"\[([^\[\]]*)\]")


def parse_query(query: str) -> Params:
    """Parse a query string: `tags[]=1&tags[]=2` is `{"tags": ["1", "2"]}`.

    Raises:
        BadRequest: not UTF-8, too many parameters, or too many brackets.
    """
    return expand_brackets(parse_urlencoded(query))


def parse_urlencoded(text: str) -> list[tuple[str, str]]:
    """Return the pairs of an urlencoded text.

    A plus inside an e-mail is a plus, also where the program should have sent %2B, because an
    e-mail has no blank.

    Raises:
        BadRequest: not UTF-8, or more than 1,000 pairs.
    """
    try:
        return parse_qsl(
            EMAIL_PARAMETER.sub(_encode_plus, text),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MAX_PAIRS,
        )
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadRequest from error


def _encode_plus(parameter: re.Match[str]) -> str:
    name, value = parameter.groups()
    email = value.strip("+")
    is_email = unquote(email).count("@") == 1 and " " not in unquote(email)
    return name + (email.replace("+", "%2B") if is_email else value)


def expand_brackets(pairs: Iterable[tuple[str, Any]]) -> Params:
    """Nest form fields as PHP does: `a[]=1` and `a[0]=1` are lists, `a[b]=1` is a dict.

    The last of equal names wins.

    Raises:
        BadRequest: more than ten brackets deep.
    """
    fields: Params = {}
    for name, value in pairs:
        head, bracket, _ = name.partition("[")
        parts = BRACKETS.findall(name, len(head)) if bracket and head else []
        if len(parts) > MAX_BRACKETS:
            raise BadRequest
        *outer, last = [head, *parts] if parts else [name]
        level = fields
        for key in outer:
            key = key or str(len(level))
            inner = level.get(key)
            if not isinstance(inner, dict):
                inner = level[key] = {}
            level = inner
        level[last or str(len(level))] = value
    return {name: _lists(value) for name, value in fields.items()}


def _lists(value: Any) -> Any:
    """Convert dicts whose keys are 0, 1, 2 … to lists, which they are in PHP."""
    if not isinstance(value, dict):
        return value
    items = {key: _lists(inner) for key, inner in value.items()}
    if list(items) == [str(number) for number in range(len(items))]:
        return list(items.values())
    return items


class BodyParser(parsers.BaseParser):
    """A body in UTF-8, which is parsed as a whole."""

    @override
    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Params:
        require_utf8(media_type)
        # Excel, Notepad and PowerShell write a byte order mark at the start of a file.
        return self.parse_body(stream.read().removeprefix(BOM_UTF8))

    def parse_body(self, body: bytes) -> Params:
        """Return the fields of a body."""
        raise NotImplementedError


class JSONParser(BodyParser):
    """`application/json`. JSON that is not an object has no fields, as in FluentCRM."""

    media_type = "application/json"

    @override
    def parse_body(self, body: bytes) -> Params:
        if not body.strip():
            return {}
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            value = _read_by_items(body, error)
        return value if isinstance(value, dict) else {}


def _read_by_items(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """Parse a body whose syntax is that of JSON, though single values are not JSON.

    Python's parser reads them: half an emoji (a lone surrogate), NaN and 1e400, which orjson
    rejects. An event or a contact with such a value becomes the InvalidJSON of its outcome.

    Raises:
        InvalidJSON: the syntax is broken, or such a value is in another field.
    """
    try:
        value = json.loads(body.decode(), parse_int=_whole_number)
    except (ValueError, RecursionError):
        raise InvalidJSON(error.msg) from error
    if not isinstance(value, dict):
        raise InvalidJSON(error.msg) from error
    return {
        name: _read_items(field) if name in ITEM_LISTS else _read_exactly(field)
        for name, field in value.items()
    }


def _whole_number(digits: str) -> int | float:
    # Python reads at most 4,300 digits, and over 64 bits orjson reads a float as well.
    return int(digits) if len(digits) < MAX_WHOLE_DIGITS else float(digits)


def _read_items(value: Any) -> Any:
    items = php_list(value)
    if not isinstance(items, list):
        return _read_exactly(value)
    # A longer list is refused as a whole later.
    return [_item_or_error(item) for item in items[: MAX_ITEMS + 1]]


def _item_or_error(item: Any) -> Any:
    try:
        return _read_exactly(item)
    except InvalidJSON as error:
        return error


def _read_exactly(value: Any) -> Any:
    """Return a value of Python's parser as orjson reads it.

    Raises:
        InvalidJSON: the value has something that JSON does not have.
    """
    try:
        return orjson.loads(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        raise InvalidJSON(HALF_CHARACTER) from error
    except ValueError as error:
        raise InvalidJSON(NO_NUMBER) from error


class NDJSONParser(BodyParser):
    """`application/x-ndjson`: a JSON value on each line that is not blank."""

    media_type = "application/x-ndjson"

    @override
    def parse_body(self, body: bytes) -> Params:
        """Return the lines as `events`, an invalid one as the InvalidJSON of its outcome.

        At most one line too many is parsed.
        """
        lines = (line for line in BytesIO(body) if line.strip())
        return {"events": [_line(line) for line in islice(lines, MAX_ITEMS + 1)]}


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return InvalidJSON(error.msg)


class FormParser(BodyParser):
    """`application/x-www-form-urlencoded` with PHP's brackets."""

    media_type = "application/x-www-form-urlencoded"

    @override
    def parse_body(self, body: bytes) -> Params:
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise BadRequest from error
        if unquote_plus(text[:JSON_START]).lstrip().startswith(("{", "[")):
            raise JSONAsForm
        return expand_brackets(parse_urlencoded(text))


class MultiPartParser(parsers.MultiPartParser):
    """`multipart/form-data`. Files are ignored."""

    @override
    def parse(  # type: ignore[override]  # one dict, as the other parsers give
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Params:
        require_utf8(media_type)
        body = stream.read()
        try:
            body.decode()
            data = super().parse(BytesIO(body), media_type, parser_context).data
        except (UnicodeDecodeError, ParseError, TooManyFieldsSent) as error:
            raise BadRequest from error
        if not body.rstrip().endswith(b"--"):
            raise BadRequest  # without its last boundary it is not complete
        assert isinstance(data, QueryDict)
        pairs = [(name, value) for name, values in data.lists() for value in values]
        if len(pairs) > MAX_PAIRS:
            raise BadRequest
        return expand_brackets(pairs)


def require_utf8(media_type: str | None) -> None:
    """Check the charset of a content type.

    Raises:
        UnsupportedMediaType: 415, another charset than UTF-8.
    """
    charset = re.search(r';\s*charset="?([^";\s]*)', media_type or "", re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8"):
        raise UnsupportedMediaType(media_type or "")
