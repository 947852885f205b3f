"""Keep the file of an import in the folder of its job, and read it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from crm.jobs import JobError
from crm.models import Job
from transfers.tables import FileForm, Row, Table, UnreadableFile, inspect, open_table

# The file in the folder of the job.
UPLOAD = "upload"
# Of a file that a browser sends.
MAX_UPLOAD_BYTES = 100 * 1024 * 1024
SAMPLE_ROWS = 20
NOT_HERE = "The file is not here: it was deleted, or another machine has it. Upload it again."
# The first line of Tallybook's own exports.
OWN_HEADER = "tallybook"


class WrongOffset(Exception):
    """A piece of a file begins elsewhere than the last one ended, which was at `size`."""

    def __init__(self, size: int) -> None:
        self.size = size


class Sample(NamedTuple):
    """The columns of a file, its first rows, and the first line of an export of Tallybook."""

    columns: list[str]
    rows: list[Row]
    header: dict[str, Any] | None


def upload_path(job: Job) -> Path:
    """Return the path of a job's file."""
    return job.path / UPLOAD


def append_piece(job: Job, offset: int, piece: bytes) -> int:
    """Append a piece to the file of a draft. Returns its size then.

    The same piece may come twice, because the response to the first one may be lost. The second one
    changes nothing, because it may come after later pieces.

    Raises:
        WrongOffset: the file ends elsewhere.
        OSError: the disk is full.
    """
    job.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(upload_path(job), os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if offset > size:
            raise WrongOffset(size)
        if offset + len(piece) <= size:
            return size
        file.seek(offset)
        file.write(piece)
        return file.tell()


def copy_file(job: Job, path: Path) -> None:
    """Copy a file into the folder of a job, because the original may be moved meanwhile.

    Raises:
        OSError: it cannot be read, or the disk is full.
    """
    job.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copyfile(path, upload_path(job))
    upload_path(job).chmod(0o600)


def inspect_upload(job: Job) -> FileForm:
    """Guess the form of a job's file.

    Raises:
        JobError: it is not here, or only a part of it.
        UnreadableFile: it has another format.
    """
    path = upload_path(job)
    try:
        if path.stat().st_size < job.parameters.get("size", 0):
            raise JobError("The upload has not ended. Upload the file again.")
        return inspect(path)
    except FileNotFoundError:
        raise JobError(NOT_HERE) from None


@contextmanager
def open_upload(job: Job, form: FileForm) -> Iterator[Table]:
    """Open the file of a job, and close it when the block ends.

    Raises:
        JobError: it is not here, or cannot be read, also in the block.
    """
    try:
        table = open_table(upload_path(job), form)
    except FileNotFoundError:
        raise JobError(NOT_HERE) from None
    except UnreadableFile as error:
        raise JobError(str(error)) from None
    with table:
        try:
            yield table
        except UnreadableFile as error:
            raise JobError(str(error)) from None


def sample(table: Table) -> Sample:
    """Read the first rows of a table."""
    rows = list(islice(table.rows(), SAMPLE_ROWS + 1))
    header = rows[0].values if rows and is_own_header(rows[0]) else None
    return Sample(
        [name for name in table.columns if header is None or name not in header or name == "type"],
        [row for row in rows if row.values is not header][:SAMPLE_ROWS],
        header,
    )


def is_own_header(row: Row) -> bool:
    """Return whether a row is the first line of an export of Tallybook."""
    return row.values.get("type") == OWN_HEADER and "format" in row.values


def form_of(parameters: dict[str, Any]) -> FileForm:
    """Return the form of a file from the parameters of its job."""
    form = parameters["form"]
    return FileForm(**{**form, "sheets": tuple(form["sheets"])})
