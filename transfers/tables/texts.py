"""Read text files of rows, CSV and NDJSON, in any encoding."""

import codecs
import csv
import re
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from typing_extensions import override

from transfers.tables.rows import (
    MAX_COLUMNS,
    MAX_ROW_CHARACTERS,
    FileForm,
    Row,
    RowError,
    Table,
    UnreadableFile,
    column_names,
    plain_text,
    row_of_cells,
)

# Excel's first line, which names the delimiter.
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
# The rows of NDJSON whose keys are the columns.
ROWS_OF_COLUMNS = 1000
# Marks bytes that the encoding does not have. No encoding decodes to half a character.
INVALID = "\udc80"
MARK_INVALID = "tallybook-mark-invalid"
TOO_LONG = RowError("max", f"The row has more than {MAX_ROW_CHARACTERS:,} characters.")
UNCLOSED = RowError(
    "quotes",
    "A cell has a quote that is not closed, or that is not doubled inside of quotes.",
)
CELL_TOO_LONG = RowError("max", f"A cell has more than {csv.field_size_limit():,} characters.")

# The line with which a row of a CSV begins, and its cells.
Record = tuple[int, list[str] | RowError]


def _mark_invalid(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return INVALID, error.end
    raise error


codecs.register_error(MARK_INVALID, _mark_invalid)


class RowTooLong(Exception):
    """A row has too many characters."""


class Lines:
    """The lines of a text file, for a reader of rows that have one or several of them."""

    def __init__(self, path: Path, encoding: str) -> None:
        try:
            self._text = path.open(encoding=encoding, errors=MARK_INVALID, newline="")
        except LookupError:
            raise UnreadableFile(f'There is no encoding "{encoding}" of text.') from None
        self._encoding = encoding
        # Lines that were read and belong to the next rows.
        self._waiting: deque[str] = deque()
        self._row: list[str] = []
        self._size = 0
        self._number = 0
        self._is_invalid = False

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()

    def begin_row(self) -> int:
        """Return the number of the line that comes next, with which a row begins."""
        self._row.clear()
        self._size, self._is_invalid = 0, False
        return self._number + 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        """Read a line of the row.

        Raises:
            RowTooLong: the row has too many characters.
        """
        line = self._waiting.popleft() if self._waiting else self._read()
        if not line:
            raise StopIteration
        self._number += 1
        self._row.append(line)
        self._size += len(line)
        if self._size > MAX_ROW_CHARACTERS:
            raise RowTooLong
        if not line.isascii() and INVALID in line:
            self._is_invalid = True
        return line

    def _read(self) -> str:
        try:
            line = self._text.readline(MAX_ROW_CHARACTERS + 1)
            end = line
            while len(end) > MAX_ROW_CHARACTERS and not end.endswith(("\n", "\r")):
                end = self._text.readline(MAX_ROW_CHARACTERS + 1)
        except UnicodeError:
            raise UnreadableFile(f'"{self._encoding}" is no encoding of files.') from None
        return line if self._number or self._waiting else line.removeprefix("\ufeff")

    def give_back(self) -> None:
        """Read the lines of this row but for the first one again, as other rows."""
        self._waiting.extendleft(reversed(self._row[1:]))
        self._number -= len(self._row[1:])

    def error(self) -> RowError | None:
        """Return the error of a row whose bytes are not text in this encoding."""
        message = f"The row has bytes that are not {self._encoding}."
        return RowError("encoding", message) if self._is_invalid else None


class CSVTable(Table):
    """A CSV, whose cells may have line ends in quotes. Empty rows are ignored."""

    def __init__(self, path: Path, form: FileForm) -> None:
        self._path, self._form = path, form
        if len(form.delimiter) != 1 or form.delimiter in '"\r\n ':
            raise UnreadableFile("The delimiter has to be one character, such as a comma.")
        for number, record in self._records():
            if isinstance(record, RowError):
                raise UnreadableFile(f"The row of line {number} cannot be read: {record.message}")
            self.columns = column_names(record, form.has_header)
            return
        raise UnreadableFile("The file has no row.")

    @override
    def rows(self, after: int = 0) -> Iterator[Row]:
        for ordinal, (number, record) in self._numbered_records():
            if ordinal <= after:
                continue
            if isinstance(record, RowError):
                yield Row(ordinal, number, {}, record)
            else:
                # One look at the whole row, because most rows have no cell for spreadsheets.
                text = "\n".join(record)
                if "'" in text or "=" in text:
                    record = [plain_text(cell) for cell in record]
                yield row_of_cells(ordinal, number, record, self.columns, len(text))

    @override
    def ordinals(self) -> Iterator[int]:
        # What a row without a value consists of.
        emptiness = f'"{self._form.delimiter} \r\n'
        lines = 0
        with self._path.open(encoding=self._form.encoding, errors="replace", newline="") as text:
            for number, line in enumerate(iter(partial(text.readline, MAX_ROW_CHARACTERS), "")):
                if number == 0:
                    line = line.removeprefix("\ufeff")
                    line = "" if SEPARATOR_LINE.fullmatch(line) else line
                is_empty = not line.strip(emptiness)
                quotes = line.count('"')
                if quotes % 2 or (quotes and is_empty) or len(line) == MAX_ROW_CHARACTERS:
                    # The row may have several lines, or cells of quotes.
                    break
                if not is_empty:
                    lines += 1
                    if lines > self._form.has_header:
                        yield lines - self._form.has_header
            else:
                return
        # It takes five times as long.
        for ordinal, _ in self._numbered_records():
            yield ordinal

    def _numbered_records(self) -> Iterator[tuple[int, Record]]:
        """Read the records below the header, with their ordinals."""
        records = self._records()
        if self._form.has_header:
            next(records)
        return enumerate(records, start=1)

    def _records(self) -> Iterator[Record]:
        """Read the cells of each row, with the number of its first line."""
        delimiter = self._form.delimiter
        with Lines(self._path, self._form.encoding) as lines:
            reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
            while True:
                first = lines.begin_row()
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except RowTooLong:
                    lines.give_back()
                    yield first, TOO_LONG
                except csv.Error as error:
                    lines.give_back()
                    yield first, CELL_TOO_LONG if "larger than" in str(error) else UNCLOSED
                else:
                    is_separator = first == 1 and SEPARATOR_LINE.fullmatch(delimiter.join(cells))
                    if any(cells) and not is_separator:
                        yield first, lines.error() or cells


class NDJSONTable(Table):
    """A file with a JSON object in each line. Columns are the keys of the first 1,000 rows."""

    def __init__(self, path: Path, form: FileForm) -> None:
        self._path, self._form = path, form
        self.columns = []
        names: dict[str, None] = {}
        for row in self.rows():
            if row.ordinal > ROWS_OF_COLUMNS:
                break
            names |= dict.fromkeys(row.values)
            if len(names) > MAX_COLUMNS:
                raise UnreadableFile(f"The rows have more than {MAX_COLUMNS:,} different keys.")
        if not names:
            raise UnreadableFile("The first 1,000 rows have no JSON object.")
        self.columns = [*names]

    @override
    def rows(self, after: int = 0) -> Iterator[Row]:
        ordinal = 0
        with Lines(self._path, self._form.encoding) as lines:
            while True:
                number = lines.begin_row()
                try:
                    line = next(lines)
                except StopIteration:
                    return
                except RowTooLong:
                    line = ""
                if line.isspace():
                    continue
                ordinal += 1
                if ordinal > after:
                    read = (lines.error() or _read_object(line)) if line else TOO_LONG
                    if isinstance(read, RowError):
                        yield Row(ordinal, number, {}, read)
                    else:
                        yield Row(ordinal, number, read, None, len(line))


def _read_object(line: str) -> dict[str, Any] | RowError:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return RowError("json", f"The line is not JSON: {error.msg}.")
    if not isinstance(value, dict):
        return RowError("object", "The line is JSON, but no object.")
    return value
