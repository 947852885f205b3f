"""Parse request bodies and query strings, as PHP programs send them, into plain dicts."""

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
from config.api.json_text import read_body
from config.api.validation import MAX_ITEMS

Params = dict[str, Any]
MAX_BRACKETS = 10
# Names and values in a form or a query string.
MAX_PAIRS = 1000
# The characters of a form that show whether it is JSON, also after some spaces in percent-encoding.
JSON_START = 30
# A parameter that holds an e-mail, and its value, in an urlencoded text.
EMAIL_PARAMETER = re.compile(
    r"(?<![^&])((?:[^=&]*(?:\[|%5B))?(?:email|get_by_email|search)(?:\]|%5D)?=)([^&]+)",
    re.IGNORECASE,
)
# An e-mail that is a whole text in JSON. Its @ is not encoded, so that its plus is not either.
# Pluses around it are spaces.
PLAIN_EMAIL = re.compile(
    r"""(?:(?<=")|(?<=%22))(\+*+)([^"%&=<>,;:@\s]+@[^"%&=<>,;:@\s+]+)(?=\+*(?:"|%22))"""
)
# The fields that are objects, also if their keys are 0, 1, 2 …
OBJECT_FIELDS = ("custom_values", "custom_fields", "properties", "context")
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
    e-mail has no blank. So it is in JSON text such as `contacts` and `advanced_filters`, where the
    program encoded nothing.

    Raises:
        BadRequest: not UTF-8, or more than 1,000 pairs.
    """
    try:
        return parse_qsl(
            PLAIN_EMAIL.sub(_encode_plain_plus, EMAIL_PARAMETER.sub(_encode_plus, text)),
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


def _encode_plain_plus(parameter: re.Match[str]) -> str:
    spaces, email = parameter.groups()
    return spaces + email.replace("+", "%2B")


def lower_names(params: Mapping[str, Any]) -> Params:
    """Return parameters by their names in lower case too. One whose name is sent so wins.

    Other tools capitalize names, and `{"Status": "Unsubscribed"}` or `?Atomic=1` must not be lost.
    """
    return {**{name.lower(): value for name, value in params.items()}, **params}


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
    return {name: _lists(value, name) for name, value in fields.items()}


def _lists(value: Any, name: str) -> Any:
    """Convert dicts whose keys are 0, 1, 2 … to lists, which they are in PHP."""
    if not isinstance(value, dict):
        return value
    items = {key: _lists(inner, key) for key, inner in value.items()}
    if name not in OBJECT_FIELDS and list(items) == [str(number) for number in range(len(items))]:
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
        value = read_body(body) if body.strip() else {}
        return value if isinstance(value, dict) else {}


class NDJSONParser(BodyParser):
    """`application/x-ndjson`: a JSON value on each line that is not blank.

    A line may start with a byte order mark, because files are concatenated.
    """

    media_type = "application/x-ndjson"

    @override
    def parse_body(self, body: bytes) -> Params:
        """Return the lines as `events`, an invalid one as the InvalidJSON of its outcome.

        At most one line too many is parsed.
        """
        lines = (line.removeprefix(BOM_UTF8).strip() for line in BytesIO(body))
        return {"events": [_line(line) for line in islice(filter(None, lines), MAX_ITEMS + 1)]}


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


class FormOrJSONParser(FormParser):
    """A form, or JSON that says it is one, as WordPress's wp_remote_post sends a text."""

    @override
    def parse_body(self, body: bytes) -> Params:
        if body.lstrip().startswith((b"{", b"[")):
            return JSONParser().parse_body(body)
        return super().parse_body(body)


class TextParser(FormOrJSONParser):
    """The same as `text/plain`, as a page's fetch with the mode no-cors sends it."""

    media_type = "text/plain"


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
