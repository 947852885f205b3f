"""The queue of requests that wait for an application process.

A web worker makes a pair of sockets for each request, and sends one of them through the queue of
its class. With it goes the start of the request, which is all of most. All application processes
read the queue: each takes a request when one of its threads is free. None of these sockets has a
name, so that no other process can connect to them.
"""

import errno
import os
import socket
import struct

# A request is answered before, and the one that it may wait for.
ANSWER_SECONDS = 300.0
# The most of a request that goes through the queue.
START_BYTES = 16 * 1024
# How often an idle thread checks whether its process has been told to end.
LOOK_SECONDS = 1


class Queue:
    """The requests of a class. It is made before the processes that share it are forked."""

    def __init__(self) -> None:
        self.last, self.first = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # With a timeout of Python's, each request would wake all threads of all processes.
        timeout = struct.pack("@ll", LOOK_SECONDS, 0)
        self.first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)

    def put(self, start: bytes) -> socket.socket:
        """Add a request, and return the socket that sends the rest of it and gets its answer.

        Args:
            start: its first START_BYTES.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.last, [start], [theirs.fileno()])
        ours.settimeout(ANSWER_SECONDS)
        return ours

    def get(self) -> tuple[socket.socket, bytes] | None:
        """Return socket and start of the next request, or None if LOOK_SECONDS have brought none.

        It is lost if this process has no free file descriptor.
        """
        try:
            start, descriptors, _, _ = socket.recv_fds(self.first, START_BYTES, 1)
        except BlockingIOError:
            return None
        if not descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, *descriptors), start
