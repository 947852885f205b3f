"""Read JSON text, so that a value that is not JSON costs only the event or contact that has it."""

import json
import re
from collections.abc import Callable
from typing import Any

import orjson

from config.api.errors import InvalidJSON
from config.api.validation import MAX_ITEMS, php_list

# A content type, and its parameters. WordPress's is_json_content_type accepts
# application/vnd.api+json too (wp-includes/rest-api/class-wp-rest-request.php).
JSON_TYPE = re.compile(r"application/([\w!#$&^.+-]+\+)?json\s*(;|$)", re.IGNORECASE)
# The fields of requests whose items have an outcome each.
ITEM_LISTS = ("events", "contacts")
MAX_WHOLE_DIGITS = 22
HALF_CHARACTER = "half a character: bytes that are not UTF-8, or a lone \\u escape of a surrogate"
NO_NUMBER = "a number that JSON does not have: NaN, Infinity, or one beyond 1.8e308"


def read_body(body: bytes) -> Any:
    """Read a body. In its lists of events and contacts, an invalid item is an InvalidJSON.

    Raises:
        InvalidJSON: the syntax is broken, or a value outside these lists is not JSON.
    """
    return _read(body, _read_fields)


def read_items(text: str) -> Any:
    """Read the text of a list of contacts. An invalid item is an InvalidJSON.

    Raises:
        InvalidJSON: the syntax is broken, or a value that is no list is not JSON.
    """
    return _read(text.encode(), _read_items)


def _read(body: bytes, read: Callable[[Any], Any]) -> Any:
    """Read what is JSON with orjson, and other text whose syntax is that of JSON with Python.

    Python's parser accepts what orjson rejects: half an emoji (a lone surrogate), a byte that is
    not UTF-8 (as such a surrogate), NaN and 1e400.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        reason = error.msg
    try:
        body.decode()
    except UnicodeDecodeError as error:
        reason = f"byte {error.start + 1} is not UTF-8"
    try:
        value = json.loads(body.decode(errors="surrogateescape"), parse_int=_whole_number)
    except (ValueError, RecursionError) as error:
        raise InvalidJSON(reason) from error
    return read(value)


def _whole_number(digits: str) -> int | float:
    # Python reads at most 4,300 digits, and over 64 bits orjson reads a float as well.
    return int(digits) if len(digits) < MAX_WHOLE_DIGITS else float(digits)


def _read_fields(value: Any) -> Any:
    if not isinstance(value, dict):
        return _read_exactly(value)
    return {
        name: _read_items(field) if name in ITEM_LISTS else _read_exactly(field)
        for name, field in value.items()
    }


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
    except RecursionError as error:
        raise InvalidJSON("values nested too deep") from error
