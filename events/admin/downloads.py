"""Send files that are complete before their first byte.

The server ends a streamed response that breaks off as if it were complete. A file that exists
before it is sent is whole or an error, and its length reveals a failure of the network.
"""

from collections.abc import Callable
from tempfile import TemporaryFile

from django.http import FileResponse

from events.exports import Write


class Download(FileResponse):
    """A file as an attachment."""

    block_size = 64 * 1024


def download(name: str, content_type: str, write_into: Callable[[Write], None]) -> Download:
    """Return what `write_into(write)` writes, in a temporary file that the response closes."""
    file = TemporaryFile()  # noqa: SIM115  # the response closes it
    try:
        write_into(lambda text: file.write(text.encode()))
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return Download(file, as_attachment=True, filename=name, content_type=content_type)
