"""Look after the connections of a worker: the options of its socket, and clients that do not read.

granian has no settings for them.
"""

import os
import socket
import struct
import threading
from collections.abc import Iterator

# A client that acknowledges nothing of what is sent for this long is dropped by the kernel.
UNSENT_SECONDS = 15
OPTIONS = {
    socket.TCP_USER_TIMEOUT: UNSENT_SECONDS * 1000,
    socket.TCP_KEEPIDLE: 60,
    socket.TCP_KEEPINTVL: 15,
    socket.TCP_KEEPCNT: 3,
}
# A client that reads less of a large response is dropped here.
BYTES_PER_SECOND = 16 * 1024
LOOK_SECONDS = 5.0
# struct tcp_info of Linux 4.6 and later: tcpi_unacked at 24, tcpi_bytes_acked at 120,
# tcpi_notsent_bytes at 144.
TCP_INFO = struct.Struct("=24xI92xQ16xI")


class Connections:
    """The connections that have been sent large responses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The client's address and port -> bytes that it had acknowledged at the last look.
        self._watched: dict[str, int | None] = {}
        self._next_look = 0.0

    def listen(self, port: int) -> None:
        """Set options that accepted connections inherit from the listening socket."""
        for connection in _sockets(port):
            if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in OPTIONS.items():
                    connection.setsockopt(socket.IPPROTO_TCP, option, value)
        self._port = port

    def watch(self, client: str) -> None:
        """Watch how fast a client reads.

        Args:
            client: its address and port, as in RSGI's scope.
        """
        with self._lock:
            self._watched.setdefault(client, None)

    def drop_slow_readers(self, now: float) -> None:
        """Shut the watched connections whose clients read less than BYTES_PER_SECOND.

        Args:
            now: in seconds of time.monotonic(). It looks every LOOK_SECONDS.
        """
        if now < self._next_look or not self._watched:
            return
        self._next_look = now + LOOK_SECONDS
        with self._lock:
            before, self._watched = self._watched, {}
        for connection in _sockets(self._port):
            client = _client(connection)
            if client not in before:
                continue
            unacked, acked, unsent = TCP_INFO.unpack(
                connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
            )
            earlier = before[client]
            if not (unacked or unsent):
                continue
            if earlier is not None and acked - earlier < LOOK_SECONDS * BYTES_PER_SECOND:
                connection.shutdown(socket.SHUT_RDWR)
                continue
            with self._lock:
                self._watched[client] = acked


def _sockets(port: int) -> Iterator[socket.socket]:
    """Yield the sockets of this process that have a local port, as duplicates, one at a time."""
    for name in os.listdir("/proc/self/fd"):
        try:
            duplicate = os.dup(int(name))
        except OSError:
            # It was closed meanwhile.
            continue
        try:
            connection = socket.socket(fileno=duplicate)
        except OSError:
            # It is no socket, and stays open without this.
            os.close(duplicate)
            continue
        with connection:
            if _local_port(connection) == port:
                yield connection


def _local_port(connection: socket.socket) -> int | None:
    """Return the port of this end, or None without one."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    port: int = connection.getsockname()[1]
    return port


def _client(connection: socket.socket) -> str | None:
    """Return the other end's address and port as RSGI's scope has them, or None without one."""
    try:
        host, port, *_ = connection.getpeername()
    except OSError:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
