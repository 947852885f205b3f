"""config.server.bodies: which bodies are read, and with what status the others are rejected."""

import gzip
import tracemalloc
from collections.abc import Callable

import pytest
from pytest_django import Settings

from config.server.bodies import (
    MAX_BUFFERED_BYTES,
    MAX_PIECES,
    BodyError,
    Buffer,
    Reading,
    Readings,
    body_limit,
    expected_body,
)
from tests.api.rsgi import HTTPProtocol

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
TRACK = "/subscribers/track-event"
BATCH = "/subscribers/track-events"
MIB = 1024 * 1024

ReadBody = Callable[..., bytes | int]


@pytest.fixture
def read_body() -> ReadBody:
    """Read the body of a POST request with these further headers."""

    def read(
        body: bytes, path: str = TRACK, content_type: str = JSON, **headers: str
    ) -> bytes | int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        length = {} if "transfer-encoding" in named else {"content-length": str(len(body))}
        return result_of({"content-type": content_type, **length, **named}, path, body)

    return read


def result_of(headers: dict[str, str], path: str, *pieces: bytes) -> bytes | int:
    """Return the body that a request has, or the status that rejects it."""
    results: list[bytes | int] = []
    try:
        expected = expected_body(path, headers)
    except BodyError as error:
        return error.status
    if expected is None:
        return b""
    Reading(expected, HTTPProtocol(*pieces), Readings(), results.append).start()
    [result] = results
    return result


@pytest.fixture
def small_limits(settings: Settings) -> None:
    """Limit bodies to 10 bytes, and large ones to 50."""
    settings.MAX_BODY_BYTES = 10
    settings.MAX_LARGE_BODY_BYTES = 50


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/subscribers/track-event", MIB),
        ("/subscribers", MIB),
        ("", MIB),
        ("/subscribers/track-events", 5 * MIB),
        ("/wp-json/fluent-crm/v2/subscribers/track-events", 5 * MIB),
        ("/subscribers/bulk-add-update", 5 * MIB),
        ("/track-events", MIB),
    ],
)
def test_batches_may_have_larger_bodies(path: str, limit: int) -> None:
    assert body_limit(path) == limit


def test_a_body_of_its_content_length_is_read(read_body: ReadBody) -> None:
    assert read_body(b'{"a": 1}') == b'{"a": 1}'


@pytest.mark.parametrize("length", ["", "0"])
def test_a_request_without_a_length_has_no_body(read_body: ReadBody, length: str) -> None:
    assert read_body(b"ignored", content_length=length) == b""


def test_a_request_without_headers_has_no_body() -> None:
    assert result_of({}, "") == b""


@pytest.mark.parametrize("length", ["-1", "+2", "2.0", "two", "0x2", " 2", "\u0662", "2,2"])
def test_a_length_that_is_no_number_is_rejected(read_body: ReadBody, length: str) -> None:
    assert read_body(b"{}", content_length=length) == 400


def test_a_body_that_broke_off_is_rejected(read_body: ReadBody) -> None:
    assert read_body(b"{}", content_length="3") == 400


def test_a_body_at_the_limit_is_accepted(small_limits: None, read_body: ReadBody) -> None:
    assert read_body(b"x" * 10) == b"x" * 10


def test_a_body_over_the_limit_is_rejected(small_limits: None, read_body: ReadBody) -> None:
    assert read_body(b"x" * 11) == 413


def test_a_length_over_the_limit_is_rejected_before_the_body_is_read(read_body: ReadBody) -> None:
    assert read_body(b"", content_length="999999999999999") == 413


def test_a_batch_at_its_own_limit_is_accepted(small_limits: None, read_body: ReadBody) -> None:
    assert read_body(b"x" * 50, path=BATCH) == b"x" * 50


def test_a_batch_over_its_own_limit_is_rejected(small_limits: None, read_body: ReadBody) -> None:
    assert read_body(b"x" * 51, path=BATCH) == 413


@pytest.mark.parametrize("coding", ["chunked", "Chunked"])
@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=utf-8"])
def test_chunked_json_is_read(read_body: ReadBody, coding: str, content_type: str) -> None:
    body = read_body(b"{}", content_type=content_type, transfer_encoding=coding)
    assert body == b"{}"


def test_chunked_json_over_the_limit_is_rejected(small_limits: None, read_body: ReadBody) -> None:
    assert read_body(b"x" * 11, transfer_encoding="chunked") == 413


def test_an_empty_chunked_body_is_rejected(read_body: ReadBody) -> None:
    assert read_body(b"", transfer_encoding="chunked") == 400


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "identity", "chunked, chunked"])
def test_other_transfer_codings_are_rejected(read_body: ReadBody, coding: str) -> None:
    assert read_body(b"{}", transfer_encoding=coding) == 400


@pytest.mark.parametrize("content_type", [FORM, "application/x-ndjson", "multipart/form-data", ""])
def test_other_chunked_bodies_need_a_length(read_body: ReadBody, content_type: str) -> None:
    status = read_body(b"a=1", content_type=content_type, transfer_encoding="chunked")
    assert status == 411


@pytest.mark.parametrize("path", [BATCH, f"/wp-json/fluent-crm/v2{BATCH}"])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP"])
def test_a_gzipped_batch_is_unpacked(read_body: ReadBody, path: str, encoding: str) -> None:
    assert read_body(gzip.compress(b"{}"), path=path, content_encoding=encoding) == b"{}"


def test_a_chunked_gzipped_batch_of_lines_is_unpacked(read_body: ReadBody) -> None:
    body = read_body(
        gzip.compress(b"{}\n{}\n"),
        path=BATCH,
        content_type="application/x-ndjson",
        content_encoding="gzip",
        transfer_encoding="chunked",
    )
    assert body == b"{}\n{}\n"


def test_gzip_is_rejected_elsewhere(read_body: ReadBody) -> None:
    assert read_body(gzip.compress(b"{}"), content_encoding="gzip") == 415


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", ""])
def test_other_content_encodings_are_rejected(read_body: ReadBody, encoding: str) -> None:
    assert read_body(b"{}", path=BATCH, content_encoding=encoding) == 415


def test_the_content_encoding_identity_is_accepted(read_body: ReadBody) -> None:
    assert read_body(b"{}", content_encoding="Identity") == b"{}"


BROKEN_CHECKSUM = gzip.compress(b"{}")[:-8] + b"\0" * 8


@pytest.mark.parametrize(
    "body",
    [b"{}", gzip.compress(b"{}")[:-1], BROKEN_CHECKSUM],
    ids=["not gzip", "cut off", "checksum"],
)
def test_broken_gzip_is_rejected(read_body: ReadBody, body: bytes) -> None:
    assert read_body(body, path=BATCH, content_encoding="gzip") == 400


def test_broken_deflate_data_in_gzip_is_rejected(read_body: ReadBody) -> None:
    body = gzip.compress(b"")[:10] + b"\xff" * 20
    assert read_body(body, path=BATCH, content_encoding="gzip") == 400


def test_gzip_that_unpacks_to_the_limit_is_accepted(
    small_limits: None, read_body: ReadBody
) -> None:
    body = gzip.compress(b"x" * 50)
    assert read_body(body, path=BATCH, content_encoding="gzip") == b"x" * 50


def test_gzip_that_unpacks_to_more_than_the_limit_is_rejected(
    small_limits: None, read_body: ReadBody
) -> None:
    body = gzip.compress(b"x" * 51)
    assert len(body) < 50
    assert read_body(body, path=BATCH, content_encoding="gzip") == 413


def test_a_gzip_bomb_is_not_unpacked(read_body: ReadBody) -> None:
    body = gzip.compress(b"\0" * (30 * MIB), compresslevel=1)
    tracemalloc.start()
    status = read_body(body, path=BATCH, content_encoding="gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert status == 413
    assert peak < 15 * MIB


def test_gzip_of_exactly_the_limit_is_unpacked(settings: Settings, read_body: ReadBody) -> None:
    body = gzip.compress(b"{}")
    settings.MAX_LARGE_BODY_BYTES = len(body)
    assert read_body(body, path=BATCH, content_encoding="gzip") == b"{}"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        JSON,
        "text/plain",
        f"{JSON}; charset=utf-8",
        f"{JSON};CHARSET=UTF8",
        f'{JSON}; charset="utf-8"',
        "multipart/form-data; boundary=charset",
        "text/*",
    ],
)
def test_content_types_in_utf8_are_accepted(read_body: ReadBody, content_type: str) -> None:
    assert read_body(b"{}", content_type=content_type) == b"{}"


@pytest.mark.parametrize(
    "parameter",
    ["charset=latin-1", "charset=utf-7", "charset=base64", "charset*=nonsense''x", "Charset=''"],
)
@pytest.mark.parametrize("content_type", [JSON, FORM, "multipart/form-data; boundary=b"])
def test_content_types_in_another_charset_are_rejected(
    read_body: ReadBody, content_type: str, parameter: str
) -> None:
    assert read_body(b"{}", content_type=f"{content_type}; {parameter}") == 415


CHUNKED = {"content-type": JSON, "transfer-encoding": "chunked"}


def test_a_body_in_pieces_is_put_together() -> None:
    assert result_of(CHUNKED, TRACK, b'{"a"', b": 1}") == b'{"a": 1}'


def test_a_long_body_of_its_length_is_read_in_pieces() -> None:
    pieces = [b"x" * 60_000] * 2
    headers = {"content-type": JSON, "content-length": "120000"}
    assert result_of(headers, TRACK, *pieces) == b"".join(pieces)


def test_pieces_over_the_limit_are_rejected_before_the_last_is_read(small_limits: None) -> None:
    protocol = HTTPProtocol(*[b"x" * 8] * 4)
    results: list[bytes | int] = []
    expected = expected_body(TRACK, CHUNKED)
    assert expected
    Reading(expected, protocol, Readings(), results.append).start()
    assert results == [413]
    assert len(protocol.pieces) == 2


def test_a_body_in_tiny_pieces_is_rejected() -> None:
    assert result_of(CHUNKED, TRACK, *[b"x"] * (MAX_PIECES + 2)) == 400


def test_a_client_that_breaks_off_is_answered_with_400() -> None:
    results: list[bytes | int] = []
    expected = expected_body(TRACK, CHUNKED)
    assert expected
    Reading(expected, HTTPProtocol(b"{", OSError()), Readings(), results.append).start()
    assert results == [400]


def test_long_bodies_are_read_as_long_as_there_is_memory_for_them() -> None:
    buffer = Buffer()
    buffer.reserve(MAX_BUFFERED_BYTES)
    with pytest.raises(BodyError) as caught:
        buffer.reserve(1)
    assert caught.value.status == 503
    buffer.release(1)
    buffer.reserve(1)


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        ({"content-type": JSON, "content-length": "65536"}, 0),
        ({"content-type": JSON, "content-length": "65537"}, 65537),
        (CHUNKED, MIB),
    ],
    ids=["short", "long", "chunked"],
)
def test_a_long_body_needs_memory_of_its_length(headers: dict[str, str], size: int) -> None:
    expected = expected_body(TRACK, headers)
    assert expected
    assert expected.buffered_bytes == size
