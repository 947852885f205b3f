"""What all formats of files share: their form, rows with errors, and names of columns."""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Self

from config.api.validation import INVISIBLE
from events.exports import unescape_formula

# Of one row, also of one without an end. Twice the largest values of a contact or an event fit.
MAX_ROW_CHARACTERS = 1024 * 1024
MAX_COLUMNS = 1000
EXCEL_TEXT = re.compile(r'="((?:[^"]|"")*)"')


class UnreadableFile(Exception):
    """A file cannot be read as a table. The message is a sentence for admin users."""


@dataclass(frozen=True)
class FileForm:
    """How a file is read.

    `encoding` is a name of one of Python's text encodings. If it `is_guess`, an admin user has to
    confirm it. `sheet` is the name of a sheet of a workbook, "" for the first one.
    """

    format: Literal["csv", "ndjson", "xlsx"]
    encoding: str = "utf-8"
    is_guess: bool = False
    delimiter: str = ","
    has_header: bool = True
    sheet: str = ""
    # The names of a workbook's sheets, to choose from.
    sheets: Sequence[str] = ()


class RowError(NamedTuple):
    """Why a row cannot be read: a rule, and a message for admin users."""

    rule: str
    message: str


class Row(NamedTuple):
    """A row of a table.

    `ordinal` counts the rows below the header from 1, without empty ones. `number` is the line in
    an editor, or the row in Excel. `values` are those by column, and empty if there is an `error`.
    `size` is about the number of characters in the file.
    """

    ordinal: int
    number: int
    values: dict[str, Any]
    error: RowError | None = None
    size: int = 0


class Table(ABC):
    """A file with rows, to be closed. `columns` are the names of its columns, each once."""

    columns: list[str]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027  # most tables have nothing to close
        """Close what the table holds open."""

    @abstractmethod
    def rows(self, after: int = 0) -> Iterator[Row]:
        """Read the rows whose ordinals are above `after`. One iterator reads at a time.

        Raises:
            UnreadableFile: the encoding cannot decode a file.
            OSError: the file cannot be read.
        """

    def ordinals(self) -> Iterator[int]:
        """Read the ordinals of all rows, to count them. Raises what `rows` raises.

        In rare files they count more rows than there are.
        """
        for row in self.rows():
            yield row.ordinal


def column_names(cells: Sequence[Any], has_header: bool) -> list[str]:
    """Return a name for each column: its cell of the header, or its position.

    A name that is there twice gets a number, such as "Tags (2)". Columns behind the last name are
    left out.

    Raises:
        UnreadableFile: there are more than 1,000, or none.
    """
    names = [str(cell).strip(INVISIBLE) if has_header else "" for cell in cells]
    while has_header and names and not names[-1]:
        names.pop()
    if len(names) > MAX_COLUMNS:
        raise UnreadableFile(f"The file has more than {MAX_COLUMNS:,} columns.")
    if not names:
        raise UnreadableFile("The first row has no names of columns.")
    used: Counter[str] = Counter()
    columns = []
    for position, name in enumerate(names, start=1):
        name = name or f"Column {position}"
        used[name] += 1
        columns.append(name if used[name] == 1 else f"{name} ({used[name]})")
    if len({*columns}) < len(columns):
        raise UnreadableFile("Two columns have the same name.")
    return columns


def row_of_cells(
    ordinal: int, number: int, cells: Sequence[Any], columns: Sequence[str], size: int
) -> Row:
    """Return a row of cells, of which those behind the last column have to be empty."""
    if len(cells) != len(columns) and (
        len(cells) < len(columns) or any(cell != "" for cell in cells[len(columns) :])
    ):
        message = f"The row has {len(cells)} cells, and the table has {len(columns)} columns."
        return Row(ordinal, number, {}, RowError("cells", message))
    return Row(ordinal, number, dict(zip(columns, cells, strict=False)), None, size)


def plain_text(cell: str) -> str:
    """Return a text as it was before a program wrote it for spreadsheets: 01067 of `="01067"`."""
    if match := EXCEL_TEXT.fullmatch(cell):
        return match[1].replace('""', '"')
    return unescape_formula(cell) if "'" in cell else cell
