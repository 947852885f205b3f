"""Files that are made whole before the first byte goes out.

The server ends a streamed answer that breaks off as if it were complete. A file is whole or an
error, and its length tells whoever downloads it when the network fails.
"""

from collections.abc import Callable
from tempfile import TemporaryFile

from django.http import FileResponse

from events.exports import Write


class Download(FileResponse):
    """A file as an attachment."""

    block_size = 64 * 1024


def download(name: str, content_type: str, write_into: Callable[[Write], None]) -> Download:
    """What `write_into(write)` writes, as a file that is kept on disk while it is sent."""
    file = TemporaryFile()  # noqa: SIM115  # the answer closes it
    try:
        write_into(lambda text: file.write(text.encode()))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Download(file, as_attachment=True, filename=name, content_type=content_type)
