"""config.log_writer and config.json_log: lines without secrets, and no wait for their reader."""

import logging
import socket
from collections.abc import Iterator

import pytest

from config import json_log, log_writer
from config.json_log import request_id, shown_path
from config.log_writer import MAX_LINES, PIECE_BYTES, LogWriter, TextHandler


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The reading end of standard error. It keeps what is written at once together."""
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    monkeypatch.setattr(log_writer, "STDERR", writer.fileno())
    with reader, writer:
        yield reader


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/subscribers/track-event", "/wp-json/fluent-crm/v2/subscribers/12/tracking-events"),
        *("/api/3/contacts/9223372036854775807", "/wp-admin/authorize-application.php"),
        "/automations/1/runs/",
    ],
)
def test_words_and_numbers_of_a_path_are_logged(path: str) -> None:
    assert shown_path(path) == path


@pytest.mark.parametrize(
    "part",
    ["ada@example.com", "Bought shoes", "qdpJAGvxbafACX40THHfQ5bu", "a" * 41, 'x"\n{}', "größe"],
)
def test_other_parts_of_a_path_are_asterisks(part: str) -> None:
    assert shown_path(f"/subscribers/{part}/notes") == "/subscribers/*/notes"


@pytest.mark.parametrize("sent", ["a", "0af7651916cd43dd8448eb211c80319c", "1-67891233-abc/def+="])
def test_a_request_keeps_the_id_of_its_proxy(sent: str) -> None:
    assert request_id(sent) == sent


@pytest.mark.parametrize("sent", [None, "", "a b", 'x"}\n{"', "a" * 65, "größe"])
def test_a_request_gets_an_id_without_one_that_can_be_logged(sent: str | None) -> None:
    assert len(request_id(sent)) == 16


def test_two_requests_get_two_ids() -> None:
    assert request_id(None) != request_id(None)


def test_a_line_is_json_with_the_datetime_first() -> None:
    line = json_log.encode({"path": 'a"\n'})
    assert line.startswith(b'{"time":"20')
    assert line.endswith(b'Z","path":"a\\"\\n"}\n')


def test_lines_are_written_in_pieces_that_a_pipe_keeps_whole(pipe: socket.socket) -> None:
    log = LogWriter()
    for _ in range(10):
        log.add(b"x" * 999 + b"\n", at_once=False)
    log.close()
    received = b""
    while len(received) < 10_000:
        piece = pipe.recv(1 << 16)
        assert len(piece) <= PIECE_BYTES
        assert len(piece) % 1000 == 0
        received += piece


def test_lines_that_are_left_are_written_when_the_process_ends(pipe: socket.socket) -> None:
    log = LogWriter()
    log.add(b"last\n", at_once=False)
    log.close()
    assert pipe.recv(100) == b"last\n"


def test_a_reader_that_stands_still_costs_old_lines_and_no_request(pipe: socket.socket) -> None:
    log = LogWriter()
    for i in range(3 * MAX_LINES):
        log.add(b"%09d\n" % i)
    # The thread waits for the reader of the full pipe, which this one does not.
    assert len(log._lines) <= MAX_LINES
    assert log._lines[-1] == b"%09d\n" % (3 * MAX_LINES - 1)
    while log._lines:
        pipe.recv(1 << 16)
    log.close()


def test_a_line_that_cannot_be_written_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(log_writer, "STDERR", full.fileno())
        log = LogWriter()
        log.add(b"dropped\n")
        log.close()
    assert not log._lines


def test_a_record_is_a_line_with_its_traceback(
    pipe: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogWriter()
    monkeypatch.setattr(log_writer, "writer", log)
    error = (ValueError, ValueError("an \udcff error"), None)
    record = logging.LogRecord("n", logging.WARNING, "", 1, "It failed.", (), error)
    TextHandler().emit(record)
    log.close()
    assert pipe.recv(1 << 16) == b"It failed.\nValueError: an \\udcff error\n"
