"""How many connections a worker accepts, and which clients it drops."""

import os
import resource
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from config.management.commands.serve import MAX_CONNECTIONS, OTHER_DESCRIPTORS, max_connections
from config.server.connections import LOOK_SECONDS, UNSENT_SECONDS, Connections


@pytest.mark.parametrize(
    ("limit", "connections"),
    [
        (256, 256 - OTHER_DESCRIPTORS),
        (10, 1),
        (1 << 20, MAX_CONNECTIONS),
        (resource.RLIM_INFINITY, MAX_CONNECTIONS),
    ],
)
def test_a_worker_accepts_as_many_connections_as_its_descriptors_allow(
    limit: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert max_connections() == connections


class Reader:
    """A connection to this process, which has been sent more than its client has read."""

    def __init__(self, port: int, listener: socket.socket) -> None:
        self.client = socket.create_connection(("127.0.0.1", port))
        self.served, _ = listener.accept()
        self.served.setblocking(False)
        self.address = "{}:{}".format(*self.served.getpeername())
        self.send()

    def send(self) -> None:
        """Send as much as the buffers hold."""
        with suppress(BlockingIOError):
            while True:
                self.served.send(bytes(65536))

    def read(self, count: int) -> None:
        """Read so many bytes at the client's end, while this end goes on sending."""
        while count > 0:
            count -= len(self.client.recv(min(count, 65536)))
            self.send()

    def is_dropped(self) -> bool:
        """Return whether nothing more can be sent."""
        try:
            self.served.send(b"x")
        except BrokenPipeError:
            return True
        except BlockingIOError:
            pass
        return False

    def close(self) -> None:
        self.client.close()
        self.served.close()


@pytest.fixture
def connections() -> Iterator[tuple[Connections, Reader]]:
    """The watch of a port, and a connection to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        watched = Connections()
        watched.listen(port)
        reader = Reader(port, listener)
        watched.watch(reader.address)
        yield watched, reader
        reader.close()


def test_a_client_that_does_not_read_is_dropped(connections: tuple[Connections, Reader]) -> None:
    watched, reader = connections
    watched.drop_slow_readers(0)
    assert not reader.is_dropped()
    watched.drop_slow_readers(LOOK_SECONDS)
    assert reader.is_dropped()


def test_a_client_that_reads_steadily_is_kept(connections: tuple[Connections, Reader]) -> None:
    watched, reader = connections
    watched.drop_slow_readers(0)
    for look in range(1, 4):
        reader.read(8 * 1024 * 1024)
        watched.drop_slow_readers(look * LOOK_SECONDS)
    assert not reader.is_dropped()


def test_a_client_that_has_all_of_a_response_is_watched_no_more(
    connections: tuple[Connections, Reader],
) -> None:
    watched, reader = connections
    reader.served.shutdown(socket.SHUT_WR)
    while reader.client.recv(1 << 20):
        pass
    watched.drop_slow_readers(0)
    assert watched._watched == {}


def test_a_look_at_the_connections_leaves_no_descriptor_open(
    connections: tuple[Connections, Reader], tmp_path: Path
) -> None:
    watched, _ = connections
    with (tmp_path / "file").open("w"):
        before = len(os.listdir("/proc/self/fd"))
        watched.drop_slow_readers(0)
        assert len(os.listdir("/proc/self/fd")) == before


def test_accepted_connections_have_the_options_of_their_socket(
    connections: tuple[Connections, Reader],
) -> None:
    _, reader = connections
    timeout = reader.served.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert timeout == UNSENT_SECONDS * 1000
    assert reader.served.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
