"""Write the access log of a worker in a thread of its own, so that no request waits for its reader.

docs/how-to/operate.md describes the fields.
"""

import os
import re
import threading
from collections import deque
from contextlib import suppress

from config.json_log import STDERR

# A write of so many bytes to a pipe is not mixed with those of other processes (PIPE_BUF).
PIECE_BYTES = 4096
# While the reader of the log stands still, older lines are dropped.
MAX_LINES = 10_000
PAUSE_SECONDS = 0.25
# What a path is logged with. Other parts may be e-mails, or secrets in a URL that is none of ours.
WORD = re.compile(r"[A-Za-z_.-]{0,40}|[0-9]{1,19}|[A-Za-z0-9]{1,3}")


def shown_path(path: str) -> str:
    """Return a path of which each part that is neither a word nor a number is an asterisk."""
    return "/".join(part if WORD.fullmatch(part) else "*" for part in path.split("/"))


class AccessLog:
    """The lines of a worker that are not written yet."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=MAX_LINES)
        self._is_stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="access log")

    def start(self) -> None:
        """Start the thread that writes."""
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Write what is left, because the worker ends.

        Args:
            seconds: that it may take.
        """
        self._is_stopped.set()
        self._thread.join(seconds)

    def add(self, line: bytes) -> None:
        """Add a line. It returns at once."""
        self._lines.append(line)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._is_stopped.wait(PAUSE_SECONDS)
            # Without a reader there is no log, and the next lines may find one.
            with suppress(OSError):
                self.write()

    def write(self) -> None:
        """Write all lines.

        Raises:
            OSError: they cannot be written.
        """
        piece = b""
        while self._lines:
            line = self._lines.popleft()
            if piece and len(piece) + len(line) > PIECE_BYTES:
                os.write(STDERR, piece)
                piece = b""
            piece += line
        if piece:
            os.write(STDERR, piece)
