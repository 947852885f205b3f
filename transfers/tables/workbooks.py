"""Read workbooks of Excel (xlsx) in a process with little memory, which writes their rows as JSON.

The library reads a sheet whole, and a small file may have a sheet of billions of cells, so that its
process has to be one that may die.
"""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import orjson
from typing_extensions import override

from config.server.machine import machine_memory
from transfers.tables.rows import (
    FileForm,
    Row,
    Table,
    UnreadableFile,
    column_names,
    plain_text,
    row_of_cells,
)

GB = 1024**3
# A million rows of ten columns fit.
MAX_MEMORY_BYTES = GB
MAX_SECONDS = 300
READER = Path(__file__).with_name("read_workbook.py")
# Its exit code if the workbook is at fault.
AT_FAULT = 3
TOO_LARGE = (
    "The workbook is damaged, or needs more memory or time than a file may use. "
    "Save its sheet as CSV in UTF-8."
)


class WorkbookTable(Table):
    """A sheet of a workbook, with the values of formulas. Empty rows are ignored.

    A cell with an error, such as #N/A, is empty. Of merged cells the first one has the value.
    """

    def __init__(self, path: Path, form: FileForm) -> None:
        with ExitStack() as stack:
            self._file = stack.enter_context(_read(path, "rows", form.sheet))
            first = self._file.readline()
            if not first:
                raise UnreadableFile("The sheet is empty.")
            self.columns = column_names(orjson.loads(first)[1], form.has_header)
            self._start = len(first) if form.has_header else 0
            stack.pop_all()

    @override
    def close(self) -> None:
        self._file.close()

    @override
    def rows(self, after: int = 0) -> Iterator[Row]:
        self._file.seek(self._start)
        for ordinal, line in enumerate(self._file, start=1):
            if ordinal > after:
                number, cells = orjson.loads(line)
                cells = [plain_text(cell) if type(cell) is str else cell for cell in cells]
                yield row_of_cells(ordinal, number, cells, self.columns, len(line))


def sheet_names(path: Path) -> Sequence[str]:
    """Return the names of the sheets of a workbook, the visible ones first.

    Raises:
        UnreadableFile: the workbook is damaged, protected or too large.
    """
    with _read(path, "sheets", "") as file:
        names: list[str] = orjson.loads(file.read())
    return tuple(names)


def _read(path: Path, what: str, sheet: str) -> IO[bytes]:
    """Return a file with the lines that the reader writes."""
    memory = min(MAX_MEMORY_BYTES, machine_memory() // 2)
    command = [sys.executable, "-I", str(READER), what, str(path.absolute()), sheet, str(memory)]
    with ExitStack() as stack:
        file = stack.enter_context(TemporaryFile())
        try:
            done = subprocess.run(
                command, stdout=file, stderr=subprocess.PIPE, timeout=MAX_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise UnreadableFile(TOO_LARGE) from None
        if done.returncode:
            is_at_fault = done.returncode == AT_FAULT
            raise UnreadableFile(done.stderr.decode() if is_at_fault else TOO_LARGE)
        file.seek(0)
        stack.pop_all()
    return file
