"""Write all logs to standard error in a thread, so that nothing waits for their reader.

A reader that stands still, that has ended, or a disk that is full costs lines, and no request.
"""

import atexit
import logging
import os
import threading
from collections import deque
from contextlib import suppress

from typing_extensions import override

STDERR = 2
# A write of so many bytes to a pipe is not mixed with those of other processes (PIPE_BUF).
PIECE_BYTES = 4096
# While the reader stands still, older lines are dropped.
MAX_LINES = 10_000
PAUSE_SECONDS = 0.25
# A reader that stands still does not keep a process from ending.
CLOSE_SECONDS = 1.0


class LogWriter:
    """The lines of a process that are not written yet."""

    def __init__(self) -> None:
        self.begin_again()

    def begin_again(self) -> None:
        """Forget the lines and the thread of the parent, in a process that was forked."""
        self._lines: deque[bytes] = deque(maxlen=MAX_LINES)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._is_urgent = threading.Event()
        self._is_closed = False

    def add(self, line: bytes, *, at_once: bool = True) -> None:
        """Add a line, with its line end. It returns at once.

        Args:
            line: the line.
            at_once: whether it is written as soon as possible, and not within PAUSE_SECONDS.
        """
        self._lines.append(line)
        if self._thread is None:
            self._start()
        if at_once:
            self._is_urgent.set()

    def close(self) -> None:
        """Write what is left within CLOSE_SECONDS, because the process ends."""
        thread, self._is_closed = self._thread, True
        self._is_urgent.set()
        if thread:
            thread.join(CLOSE_SECONDS)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, daemon=True, name="logs")
                # At the end of the interpreter there are no new threads.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        while self._lines or not self._is_closed:
            self._is_urgent.wait(PAUSE_SECONDS)
            self._is_urgent.clear()
            self._write()

    def _write(self) -> None:
        piece = b""
        # Without a reader there is no log, and the next lines may find one.
        with suppress(OSError):
            while self._lines:
                line = self._lines.popleft()
                if piece and len(piece) + len(line) > PIECE_BYTES:
                    written, piece = piece, b""
                    os.write(STDERR, written)
                piece += line
            if piece:
                os.write(STDERR, piece)


writer = LogWriter()
atexit.register(writer.close)
os.register_at_fork(after_in_child=writer.begin_again)


class TextHandler(logging.Handler):
    """Gives the records of Python's loggers to the writer."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        writer.add(f"{text}\n".encode(errors="backslashreplace"))
