"""Write files that are whole or do not exist."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a draft beside `path`, which replaces `path` when the block ends without an error.

    Only its owner may read the file. It is on the disk before it gets its name, so that a crash
    leaves no half file under the name.

    Raises:
        OSError: the file cannot be written. The draft is removed, and `path` is as it was.
    """
    # Its mode is 0600.
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    # The name as well.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
