"""The queue of requests that wait for an application process.

A web worker makes a pair of sockets for each request, and sends one of them through the queue of
its class, which all application processes read. Each takes a request when one of its threads is
free. None of these sockets has a name, so that no other process can connect to them.
"""

import errno
import os
import socket
import struct

# A request is answered before, and the one that it may wait for.
ANSWER_SECONDS = 300.0
# How often an idle thread checks whether its process has been told to end.
LOOK_SECONDS = 1


class Queue:
    """The requests of a class. It is made before the processes that share it are forked."""

    def __init__(self) -> None:
        self.last, self.first = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # With a timeout of Python's, each request would wake all threads of all processes.
        timeout = struct.pack("@ll", LOOK_SECONDS, 0)
        self.first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)

    def put(self) -> socket.socket:
        """Add a request, and return the socket that sends it and gets its answer."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.last, [b"."], [theirs.fileno()])
        ours.settimeout(ANSWER_SECONDS)
        return ours

    def get(self) -> socket.socket | None:
        """Return the socket of the next request, or None if LOOK_SECONDS have brought none.

        It is lost if this process has no free file descriptor.
        """
        try:
            _, descriptors, _, _ = socket.recv_fds(self.first, 1, 1)
        except BlockingIOError:
            return None
        if not descriptors:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, *descriptors)
