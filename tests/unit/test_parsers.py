"""config.api.parsers: PHP's brackets, query strings and bodies as plain dicts."""

from io import BytesIO
from typing import Any

import orjson
import pytest
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.test import APIRequestFactory

from config.api.errors import BadRequest, InvalidJSON, JSONAsForm
from config.api.json_text import HALF_CHARACTER, NO_NUMBER
from config.api.parsers import (
    FormOrJSONParser,
    FormParser,
    JSONParser,
    MultiPartParser,
    NDJSONParser,
    expand_brackets,
    parse_query,
    require_utf8,
)

MULTIPART = "multipart/form-data; boundary=b"


def multipart(*parts: tuple[str, bytes], end: bytes = b"--b--\r\n") -> bytes:
    """Return a multipart body of parameters of Content-Disposition and contents."""
    lines = [
        b'--b\r\nContent-Disposition: form-data; name="%s\r\n\r\n%s\r\n' % (head.encode(), content)
        for head, content in parts
    ]
    return b"".join([*lines, end])


def parse_multipart(body: bytes, media_type: str = MULTIPART) -> dict[str, Any]:
    """Return the fields of a multipart body."""
    request = APIRequestFactory().post("/", body, content_type=media_type)
    return MultiPartParser().parse(BytesIO(body), media_type, {"request": request})


@pytest.mark.parametrize(
    ("pairs", "fields"),
    [
        ([], {}),
        ([("a", "1")], {"a": "1"}),
        ([("a", "1"), ("a", "2")], {"a": "2"}),
        ([("a[]", "1"), ("a[]", "2")], {"a": ["1", "2"]}),
        ([("a[0]", "1"), ("a[1]", "2")], {"a": ["1", "2"]}),
        ([("a[0]", "1"), ("a[0]", "2")], {"a": ["2"]}),
        ([("a[b]", "1"), ("a[c]", "2")], {"a": {"b": "1", "c": "2"}}),
        ([("a[b][]", "1"), ("a[b][]", "2")], {"a": {"b": ["1", "2"]}}),
        ([("a[][b]", "1"), ("a[][b]", "2")], {"a": [{"b": "1"}, {"b": "2"}]}),
        ([("a[0][b]", "1"), ("a[0][c]", "2")], {"a": [{"b": "1", "c": "2"}]}),
    ],
)
def test_brackets_nest_lists_and_objects_as_in_php(
    pairs: list[tuple[str, Any]], fields: dict[str, Any]
) -> None:
    assert expand_brackets(pairs) == fields


@pytest.mark.parametrize(
    ("pairs", "fields"),
    [
        ([("a[1]", "x")], {"a": {"1": "x"}}),
        ([("a[1]", "x"), ("a[0]", "y")], {"a": {"1": "x", "0": "y"}}),
        ([("a[00]", "x")], {"a": {"00": "x"}}),
    ],
)
def test_numbers_that_do_not_count_up_from_0_are_keys(
    pairs: list[tuple[str, Any]], fields: dict[str, Any]
) -> None:
    assert expand_brackets(pairs) == fields


@pytest.mark.parametrize(
    ("pairs", "fields"),
    [
        ([("a", "1"), ("a[b]", "2")], {"a": {"b": "2"}}),
        ([("a[b]", "1"), ("a", "2")], {"a": "2"}),
        ([("a[]", "1"), ("a", "2")], {"a": "2"}),
        ([("a[b]", "1"), ("a[b][c]", "2")], {"a": {"b": {"c": "2"}}}),
    ],
)
def test_the_last_of_equal_names_wins(pairs: list[tuple[str, Any]], fields: dict[str, Any]) -> None:
    assert expand_brackets(pairs) == fields


@pytest.mark.parametrize("name", ["a[", "a[b", "[a]", "[]", "a]"])
def test_a_name_without_whole_brackets_is_kept(name: str) -> None:
    assert expand_brackets([(name, "1")]) == {name: "1"}


def test_ten_brackets_are_accepted() -> None:
    value: Any = expand_brackets([("a" + "[b]" * 10, "1")])["a"]
    for _ in range(10):
        value = value["b"]
    assert value == "1"


def test_eleven_brackets_are_rejected() -> None:
    with pytest.raises(BadRequest):
        expand_brackets([("a" + "[b]" * 11, "1")])


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a=&b", {"a": "", "b": ""}),
        ("tags[]=1&tags[]=2", {"tags": ["1", "2"]}),
        ("tags%5B%5D=1&tags%5B%5D=2", {"tags": ["1", "2"]}),
        ("a=b+c%20d%2Be", {"a": "b c d+e"}),
        ("a=%C3%A4", {"a": "ä"}),
        ("a=1=2", {"a": "1=2"}),
        ("&&a=1&", {"a": "1"}),
        ("a=1;b=2", {"a": "1;b=2"}),
    ],
)
def test_a_query_string_is_decoded(query: str, fields: dict[str, Any]) -> None:
    assert parse_query(query) == fields


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ('a=[{"email":"ada+shop@example.com"}]', '[{"email":"ada+shop@example.com"}]'),
        ('a={"email":"+ada+b+c@example.com"}', '{"email":" ada+b+c@example.com"}'),
        ("a=%7B%22email%22:%22ada+shop@example.com%22%7D", '{"email":"ada+shop@example.com"}'),
        # Where @ is encoded, the plus of an e-mail is as well.
        ("a=%22ada+shop%40example.com%22", '"ada shop@example.com"'),
        ('a="ada%2Bshop%40example.com"', '"ada+shop@example.com"'),
        ('a="mail+to+<ada@example.com>+now"', '"mail to <ada@example.com> now"'),
        ('a="at+home"&b="x@example.com"', '"at home"'),
        ('a="ada@example.com+later"', '"ada@example.com later"'),
    ],
)
def test_a_plus_in_an_email_whose_at_is_not_encoded_is_a_plus(query: str, value: str) -> None:
    assert parse_query(query)["a"] == value


@pytest.mark.parametrize("name", ["custom_values", "custom_fields", "properties", "context"])
def test_a_field_that_is_an_object_keeps_its_numbers_as_keys(name: str) -> None:
    pairs = [(f"{name}[0]", "x"), (f"rows[0][{name}][0]", "y"), (f"{name}[1][]", "z")]
    assert expand_brackets(pairs) == {name: {"0": "x", "1": ["z"]}, "rows": [{name: {"0": "y"}}]}


@pytest.mark.parametrize("query", ["a=%FF", "%E4=1", "a=%C3"])
def test_a_query_string_that_is_not_utf8_is_rejected(query: str) -> None:
    with pytest.raises(BadRequest):
        parse_query(query)


def test_a_query_string_of_1000_parameters_is_accepted() -> None:
    assert len(parse_query("&".join(f"a{number}=1" for number in range(1000)))) == 1000


def test_a_query_string_of_more_than_1000_parameters_is_rejected() -> None:
    with pytest.raises(BadRequest):
        parse_query("&".join(f"a{number}=1" for number in range(1001)))


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b'{"a": [1, null]}', {"a": [1, None]}),
        (b' \n{"a": "\xc3\xa4"}', {"a": "ä"}),
        (b"", {}),
        (b" \n\t", {}),
        (b"{}", {}),
    ],
)
def test_a_json_body_is_an_object(body: bytes, fields: dict[str, Any]) -> None:
    assert JSONParser().parse(BytesIO(body), "application/json") == fields


@pytest.mark.parametrize("body", [b"[1]", b'"a"', b"5", b"null", b"true"])
def test_json_that_is_not_an_object_has_no_fields(body: bytes) -> None:
    assert JSONParser().parse(BytesIO(body), "application/json") == {}


@pytest.mark.parametrize("body", [b"{", b"{'a': 1}", b'{"a": NaN}', b"\xff", b'{"a": 1} x', b"a=1"])
def test_a_body_that_is_not_json_is_rejected(body: bytes) -> None:
    with pytest.raises(InvalidJSON) as raised:
        JSONParser().parse(BytesIO(body), "application/json")
    assert raised.value.status_code == 400
    assert raised.value.detail["code"] == "rest_invalid_json"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (r'"\ud800"', HALF_CHARACTER),
        (r'{"\udc00": 1}', HALF_CHARACTER),
        ("NaN", NO_NUMBER),
        ("-Infinity", NO_NUMBER),
        ("[1e400]", NO_NUMBER),
        ("9" * 5000, NO_NUMBER),
    ],
)
def test_what_json_does_not_have_is_named(value: str, reason: str) -> None:
    with pytest.raises(InvalidJSON) as raised:
        JSONParser().parse(BytesIO(b'{"a": %s}' % value.encode()), "application/json")
    assert raised.value.reason == reason


@pytest.mark.parametrize("field", ["events", "contacts"])
@pytest.mark.parametrize("item", [r'{"a": "\ud83d"}', "1e400", '{"a": [NaN]}', "9" * 5000])
def test_an_item_that_is_no_json_does_not_reject_the_others(field: str, item: str) -> None:
    valid = '{"n": 12345678901234567890123, "m": 18446744073709551615, "f": 0.1}'
    body = f'{{"more": 1, "{field}": [{valid}, {item}, {valid}]}}'.encode()
    fields = JSONParser().parse(BytesIO(body), "application/json")
    assert fields[field][0] == fields[field][2] == orjson.loads(valid)
    assert isinstance(fields[field][1], InvalidJSON)
    assert fields["more"] == 1


@pytest.mark.parametrize("field", ["events", "contacts"])
def test_an_item_that_is_not_utf8_does_not_reject_the_others(field: str) -> None:
    body = b'{"%s": [{"a": "ab\xc3\xa9"}, {"a": "ab\xc3"}, {"a": "ab\xe9"}, {"a": 1}]}'
    items = JSONParser().parse(BytesIO(body % field.encode()), "application/json")[field]
    assert (items[0], items[3]) == ({"a": "abé"}, {"a": 1})
    assert [item.reason for item in items[1:3]] == [HALF_CHARACTER] * 2


def test_a_body_that_is_not_utf8_is_rejected_with_the_position_of_the_byte() -> None:
    with pytest.raises(InvalidJSON) as raised:
        JSONParser().parse(BytesIO(b'{"events": [{"a": "\xc3"},]}'), "application/json")
    assert raised.value.reason == "byte 20 is not UTF-8"


@pytest.mark.parametrize("levels", [980, 990, 1000, 5000])
def test_an_item_that_is_nested_too_deep_beside_half_a_character_is_no_json(levels: int) -> None:
    body = b'{"events": [NaN, %s]}' % (b"[" * levels + b"]" * levels)
    with pytest.raises(InvalidJSON):
        raise JSONParser().parse(BytesIO(body), "application/json")["events"][0]


def test_what_json_does_not_have_rejects_the_body_beside_the_items() -> None:
    with pytest.raises(InvalidJSON):
        JSONParser().parse(BytesIO(b'{"atomic": NaN, "events": [NaN]}'), "application/json")


def test_each_line_of_ndjson_is_an_event() -> None:
    body = b'{"a": 1}\n\n  \r\n{"a": 2}\r\n3'
    assert NDJSONParser().parse(BytesIO(body)) == {"events": [{"a": 1}, {"a": 2}, 3]}


def test_a_byte_order_mark_is_ignored_at_the_start_of_each_line_of_ndjson() -> None:
    body = b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf{"a": 2}\n\xef\xbb\xbf\n'
    assert NDJSONParser().parse(BytesIO(body)) == {"events": [{"a": 1}, {"a": 2}]}


def test_an_invalid_line_of_ndjson_does_not_reject_the_others() -> None:
    first, second, third = NDJSONParser().parse(BytesIO(b'{"a": 1}\n{\n{"a": 3}'))["events"]
    assert (first, third) == ({"a": 1}, {"a": 3})
    assert isinstance(second, InvalidJSON)


def test_one_line_of_ndjson_too_many_is_parsed() -> None:
    assert len(NDJSONParser().parse(BytesIO(b"1\n" * 1500))["events"]) == 1001


def test_a_form_is_decoded_as_a_query_string() -> None:
    body = b"a=b+c&tags[]=1&tags[]=2&custom[x]=%C3%A4"
    fields = {"a": "b c", "tags": ["1", "2"], "custom": {"x": "ä"}}
    assert FormParser().parse(BytesIO(body)) == fields


@pytest.mark.parametrize("body", [b'{"a": 1}', b" [1]", b"%7B%22a%22%3A1%7D", b"+%20%5B1%5D="])
def test_json_that_is_sent_as_a_form_is_told(body: bytes) -> None:
    with pytest.raises(JSONAsForm):
        FormParser().parse(BytesIO(body))


@pytest.mark.parametrize("body", [b'{"a": ["1"]}', b' \n{"a": ["1"]}', b"a[]=1"])
def test_a_webhook_reads_a_form_or_json(body: bytes) -> None:
    assert FormOrJSONParser().parse(BytesIO(body)) == {"a": ["1"]}


@pytest.mark.parametrize("body", [b"a=\xff", b"a=%FF"])
def test_a_form_that_is_not_utf8_is_rejected(body: bytes) -> None:
    with pytest.raises(BadRequest):
        FormParser().parse(BytesIO(body))


def test_a_multipart_form_has_brackets_as_well() -> None:
    body = multipart(('a"', "ä b".encode()), ('tags[]"', b"1"), ('tags[]"', b"2"))
    assert parse_multipart(body) == {"a": "ä b", "tags": ["1", "2"]}


def test_a_file_of_a_multipart_form_is_ignored() -> None:
    body = multipart(('a"', b"1"), ('file"; filename="a.txt"', b"text"))
    assert parse_multipart(body) == {"a": "1"}


@pytest.mark.parametrize("end", [b"", b"--b", b"--b\r\n", b"\r\n"])
def test_a_multipart_form_without_its_last_boundary_is_rejected(end: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_multipart(multipart(('a"', b"1"), end=end))


def test_a_multipart_form_that_is_not_utf8_is_rejected() -> None:
    with pytest.raises(BadRequest):
        parse_multipart(multipart(('a"', b"\xff")))


def test_a_multipart_form_without_a_boundary_is_rejected() -> None:
    with pytest.raises(BadRequest):
        parse_multipart(multipart(('a"', b"1")), "multipart/form-data")


def test_a_multipart_form_of_more_than_1000_fields_is_rejected() -> None:
    with pytest.raises(BadRequest):
        parse_multipart(multipart(*[(f'a{number}"', b"1") for number in range(1001)]))


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF8",
        'application/json; charset="utf-8"',
        "application/json; Charset=Utf-8; a=b",
    ],
)
def test_utf8_is_accepted(media_type: str | None) -> None:
    require_utf8(media_type)


@pytest.mark.parametrize("parser", [JSONParser(), NDJSONParser(), FormParser(), MultiPartParser()])
@pytest.mark.parametrize("charset", ["latin-1", "UTF-16", '"utf-7"', "utf-8x"])
def test_another_charset_is_rejected_by_each_parser(
    parser: JSONParser | NDJSONParser | FormParser | MultiPartParser, charset: str
) -> None:
    with pytest.raises(UnsupportedMediaType):
        parser.parse(BytesIO(b"{}"), f"{parser.media_type}; charset={charset}", {})
