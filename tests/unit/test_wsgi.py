"""config.server.wsgi: which bodies reach Django, and with what status the others are rejected."""

import gzip
import importlib
import json
import tracemalloc
from collections.abc import Callable, Iterator
from io import BytesIO
from types import ModuleType
from typing import Any

import pytest
from django.conf import settings as django_settings
from pytest_django import Settings

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
TRACK = "/subscribers/track-event"
BATCH = "/subscribers/track-events"
MIB = 1024 * 1024

ReadBody = Callable[..., bytes | int]


@pytest.fixture(scope="module")
def wsgi() -> Iterator[ModuleType]:
    """The module, whose import limits the statements of this process: undone."""
    options = django_settings.DATABASES["default"]["OPTIONS"]
    before = dict(options)
    module = importlib.import_module("config.server.wsgi")
    yield module
    options.clear()
    options.update(before)


@pytest.fixture
def read_body(wsgi: ModuleType) -> ReadBody:
    """Read the body of a POST request with these further parts of its environ."""

    def read(body: bytes, path: str = TRACK, content_type: str = JSON, **parts: str) -> bytes | int:
        environ = {"PATH_INFO": path, "CONTENT_TYPE": content_type, "wsgi.input": BytesIO(body)}
        length = {} if "HTTP_TRANSFER_ENCODING" in parts else {"CONTENT_LENGTH": str(len(body))}
        result: bytes | int = wsgi.read_body({**environ, **length, **parts})
        return result

    return read


@pytest.fixture
def small_limits(settings: Settings) -> None:
    """Limit bodies to 10 bytes, and large ones to 50."""
    settings.MAX_BODY_BYTES = 10
    settings.MAX_LARGE_BODY_BYTES = 50


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        ("/crm", ""),
        ("/crm/", "/"),
        ("/crm/admin/crm/tag/", "/admin/crm/tag/"),
        ("/admin/crm/tag/", "/admin/crm/tag/"),
        ("/crmx/admin/", "/crmx/admin/"),
        ("/crm/crm/", "/crm/"),
        ("/", "/"),
    ],
)
def test_the_prefix_is_removed_once_where_a_path_has_it(
    wsgi: ModuleType, settings: Settings, path: str, rest: str
) -> None:
    settings.FORCE_SCRIPT_NAME = "/crm"
    assert wsgi.without_prefix(path) == rest


@pytest.mark.parametrize("path", ["", "/", "/crm/"])
def test_without_a_prefix_paths_stay(wsgi: ModuleType, path: str) -> None:
    assert wsgi.without_prefix(path) == path


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
def test_batches_may_have_larger_bodies(wsgi: ModuleType, path: str, limit: int) -> None:
    assert wsgi.body_limit(path) == limit


def test_a_body_of_its_content_length_is_read(read_body: ReadBody) -> None:
    assert read_body(b'{"a": 1}') == b'{"a": 1}'


def test_no_more_than_the_content_length_is_read(read_body: ReadBody) -> None:
    assert read_body(b"{}GET /", CONTENT_LENGTH="2") == b"{}"


@pytest.mark.parametrize("length", ["", "0"])
def test_a_request_without_a_length_has_no_body(read_body: ReadBody, length: str) -> None:
    assert read_body(b"ignored", CONTENT_LENGTH=length) == b""


def test_a_request_with_an_empty_environ_has_no_body(wsgi: ModuleType) -> None:
    assert wsgi.read_body({}) == b""


@pytest.mark.parametrize("length", ["-1", "+2", "2.0", "two", "0x2", " 2", "\u0662", "2,2"])
def test_a_length_that_is_no_number_is_rejected(read_body: ReadBody, length: str) -> None:
    assert read_body(b"{}", CONTENT_LENGTH=length) == 400


def test_a_body_that_broke_off_is_rejected(read_body: ReadBody) -> None:
    assert read_body(b"{}", CONTENT_LENGTH="3") == 400


def test_a_body_at_the_limit_is_accepted(small_limits: None, read_body: ReadBody) -> None:
    assert read_body(b"x" * 10) == b"x" * 10


def test_a_body_over_the_limit_is_rejected(small_limits: None, read_body: ReadBody) -> None:
    assert read_body(b"x" * 11) == 413


def test_a_length_over_the_limit_is_rejected_before_the_body_is_read(read_body: ReadBody) -> None:
    assert read_body(b"", CONTENT_LENGTH="999999999999999") == 413


def test_a_batch_at_its_own_limit_is_accepted(small_limits: None, read_body: ReadBody) -> None:
    assert read_body(b"x" * 50, path=f"{BATCH}/") == b"x" * 50


def test_a_batch_over_its_own_limit_is_rejected(small_limits: None, read_body: ReadBody) -> None:
    assert read_body(b"x" * 51, path=f"{BATCH}/") == 413


@pytest.mark.parametrize("coding", ["chunked", "Chunked"])
@pytest.mark.parametrize("content_type", [JSON, "Application/JSON; charset=utf-8"])
def test_chunked_json_is_read(read_body: ReadBody, coding: str, content_type: str) -> None:
    body = read_body(b"{}", content_type=content_type, HTTP_TRANSFER_ENCODING=coding)
    assert body == b"{}"


def test_chunked_json_over_the_limit_is_rejected(small_limits: None, read_body: ReadBody) -> None:
    assert read_body(b"x" * 11, HTTP_TRANSFER_ENCODING="chunked") == 413


def test_an_empty_chunked_body_is_rejected(read_body: ReadBody) -> None:
    assert read_body(b"", HTTP_TRANSFER_ENCODING="chunked") == 400


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "identity", "chunked, chunked"])
def test_other_transfer_codings_are_rejected(read_body: ReadBody, coding: str) -> None:
    assert read_body(b"{}", HTTP_TRANSFER_ENCODING=coding) == 400


@pytest.mark.parametrize("content_type", [FORM, "application/x-ndjson", "multipart/form-data", ""])
def test_other_chunked_bodies_need_a_length(read_body: ReadBody, content_type: str) -> None:
    status = read_body(b"a=1", content_type=content_type, HTTP_TRANSFER_ENCODING="chunked")
    assert status == 411


@pytest.mark.parametrize("path", [BATCH, f"{BATCH}/", f"/wp-json/fluent-crm/v2{BATCH}"])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP"])
def test_a_gzipped_batch_is_unpacked(read_body: ReadBody, path: str, encoding: str) -> None:
    assert read_body(gzip.compress(b"{}"), path=path, HTTP_CONTENT_ENCODING=encoding) == b"{}"


def test_a_chunked_gzipped_batch_of_lines_is_unpacked(read_body: ReadBody) -> None:
    body = read_body(
        gzip.compress(b"{}\n{}\n"),
        path=BATCH,
        content_type="application/x-ndjson",
        HTTP_CONTENT_ENCODING="gzip",
        HTTP_TRANSFER_ENCODING="chunked",
    )
    assert body == b"{}\n{}\n"


def test_gzip_is_rejected_elsewhere(read_body: ReadBody) -> None:
    assert read_body(gzip.compress(b"{}"), HTTP_CONTENT_ENCODING="gzip") == 415


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", ""])
def test_other_content_encodings_are_rejected(read_body: ReadBody, encoding: str) -> None:
    assert read_body(b"{}", path=BATCH, HTTP_CONTENT_ENCODING=encoding) == 415


def test_the_content_encoding_identity_is_accepted(read_body: ReadBody) -> None:
    assert read_body(b"{}", HTTP_CONTENT_ENCODING="Identity") == b"{}"


BROKEN_CHECKSUM = gzip.compress(b"{}")[:-8] + b"\0" * 8


@pytest.mark.parametrize(
    "body",
    [b"{}", gzip.compress(b"{}")[:-1], BROKEN_CHECKSUM],
    ids=["not gzip", "cut off", "checksum"],
)
def test_broken_gzip_is_rejected(read_body: ReadBody, body: bytes) -> None:
    assert read_body(body, path=BATCH, HTTP_CONTENT_ENCODING="gzip") == 400


def test_broken_deflate_data_in_gzip_is_rejected(read_body: ReadBody) -> None:
    body = gzip.compress(b"")[:10] + b"\xff" * 20
    assert read_body(body, path=BATCH, HTTP_CONTENT_ENCODING="gzip") == 400


def test_gzip_that_unpacks_to_the_limit_is_accepted(
    small_limits: None, read_body: ReadBody
) -> None:
    body = gzip.compress(b"x" * 50)
    assert read_body(body, path=BATCH, HTTP_CONTENT_ENCODING="gzip") == b"x" * 50


def test_gzip_that_unpacks_to_more_than_the_limit_is_rejected(
    small_limits: None, read_body: ReadBody
) -> None:
    body = gzip.compress(b"x" * 51)
    assert len(body) < 50
    assert read_body(body, path=BATCH, HTTP_CONTENT_ENCODING="gzip") == 413


def test_a_gzip_bomb_is_not_unpacked(read_body: ReadBody) -> None:
    body = gzip.compress(b"\0" * (30 * MIB), compresslevel=1)
    tracemalloc.start()
    status = read_body(body, path=BATCH, HTTP_CONTENT_ENCODING="gzip")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert status == 413
    assert peak < 15 * MIB


def test_gzip_of_exactly_the_limit_is_unpacked(settings: Settings, read_body: ReadBody) -> None:
    body = gzip.compress(b"{}")
    settings.MAX_LARGE_BODY_BYTES = len(body)
    assert read_body(body, path=BATCH, HTTP_CONTENT_ENCODING="gzip") == b"{}"


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


class Response(list[bytes]):
    """A response of Django, whose close() would look at the database's connection."""

    streaming = False
    closed = False

    def close(self) -> None:
        self.closed = True


def test_the_application_gets_the_body_with_its_length(wsgi: ModuleType) -> None:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], start_response: Any) -> Response:
        seen.update(length=environ["CONTENT_LENGTH"], body=environ["wsgi.input"].read())
        return Response([b"ok"])

    environ = {
        "PATH_INFO": BATCH,
        "CONTENT_TYPE": JSON,
        "HTTP_CONTENT_ENCODING": "gzip",
        "CONTENT_LENGTH": str(len(gzip.compress(b"[1, 2, 3]"))),
        "wsgi.input": BytesIO(gzip.compress(b"[1, 2, 3]")),
    }
    assert list(wsgi.buffer_body(application)(environ, None)) == [b"ok"]
    assert seen == {"length": "9", "body": b"[1, 2, 3]"}


def test_a_rejected_body_does_not_reach_the_application(wsgi: ModuleType) -> None:
    started: list[Any] = []

    def application(*_: Any) -> Any:
        raise AssertionError("called")

    environ = {"CONTENT_LENGTH": "x", "wsgi.input": BytesIO()}
    response = wsgi.buffer_body(application)(environ, lambda *args: started.extend(args))
    body = b"".join(response)
    assert json.loads(body) == {
        "code": "rest_bad_request",
        "message": "The request could not be understood.",
        "data": {"status": 400},
    }
    assert started == [
        "400 Bad Request",
        [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
    ]


@pytest.mark.parametrize(
    ("status", "line", "code"),
    [
        (400, "400 Bad Request", "rest_bad_request"),
        (411, "411 Length Required", "rest_length_required"),
        (413, "413 Content Too Large", "rest_body_too_large"),
        (415, "415 Unsupported Media Type", "rest_unsupported_media_type"),
    ],
)
def test_each_rejection_has_its_status_line_and_code(
    wsgi: ModuleType, status: int, line: str, code: str
) -> None:
    lines: list[str] = []
    (body,) = wsgi.send_error(status, lambda line, _: lines.append(line))
    assert lines == [line]
    assert json.loads(body)["code"] == code


def test_a_response_is_sent_in_one_piece_and_closed(wsgi: ModuleType) -> None:
    response = Response([b"a", b"b"])
    assert wsgi.buffered(response) == [b"ab"]
    assert response.closed


def test_a_streaming_response_is_not_collected(wsgi: ModuleType) -> None:
    response = Response([b"a", b"b"])
    response.streaming = True
    assert wsgi.buffered(response) is response
