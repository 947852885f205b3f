"""Send files that are complete before their first byte.

The server ends a streamed response that breaks off as if it were complete. A file that exists
before it is sent is whole or an error, and its length reveals a failure of the network.
"""

import errno
import os
from collections.abc import Callable
from tempfile import TemporaryFile
from time import monotonic

from django.http import FileResponse

from config import time_limit

# Writes a piece of text to the file.
Write = Callable[[str], object]
# Plain characters in JSON that some programs read as line ends.
LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})

# The browser that asked for it waits no longer, and nothing else would end it.
MAX_SECONDS = 120
TOO_LONG = f"The export takes longer than {MAX_SECONDS} seconds, so it was ended."


class Download(FileResponse):
    """A file as an attachment."""

    block_size = 64 * 1024


class ExportTooLong(Exception):
    """An export is not complete within MAX_SECONDS."""


def download(name: str, content_type: str, write_into: Callable[[Write], None]) -> Download:
    """Return what `write_into(write)` writes, in a temporary file that the response closes.

    Raises:
        ExportTooLong: it is not complete within MAX_SECONDS.
        OSError: the disk of temporary files is full.
    """
    try:
        file = TemporaryFile()  # noqa: SIM115  # the response closes it
    except FileNotFoundError:
        # What tempfile raises if it cannot write into any folder.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
    deadline = monotonic() + MAX_SECONDS
    time_limit.extend_read(MAX_SECONDS + 10)

    def write(text: str) -> None:
        if monotonic() > deadline:
            raise ExportTooLong
        file.write(text.encode())

    try:
        write_into(write)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Download(file, as_attachment=True, filename=name, content_type=content_type)
