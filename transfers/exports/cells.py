"""Write tables as CSV for a reader: a program, or Excel in a country with this or that separator.

Excel reads the cells of a CSV as it reads what is typed. It computes formulas, and makes a number
of 01067 and +49 30 1234, a date of 1-2, and 4.91511E+12 of a long number.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from io import StringIO
from typing import Any, Literal

from django.utils import timezone

from config.downloads import Write
from events.exports import (
    CELL_SEPARATORS,
    escape_formula,
    format_cell,
    format_datetime,
    is_formula,
)

# What the cells of a column are. Those of a number are left as they are.
Kind = Literal["text", "number", "datetime", "json"]

# The number of rows that are written at once.
ROWS = 500
BYTE_ORDER_MARK = "\ufeff"
# Excel shows them as they are: no sign but the minus, no zero before other digits, 11 digits.
PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,10})(\.[0-9]{1,10})?")
# What Excel reads as a number, a fraction, a date or a time.
NUMBER_LIKE = re.compile(r"[\s+(-]*[0-9][0-9.,:/\s()%eE+-]*")
# The most characters of a text in a formula of Excel.
MAX_FORMULA_TEXT = 255
# separator, and whether Excel reads the file. It knows UTF-8 by the byte order mark.
READERS = {"programs": (",", False), "excel": (",", True), "excel-semicolon": (";", True)}


def excel_cell(text: str) -> str:
    """Return what Excel shows as this text: `="01067"` for 01067, where it would change it.

    A longer text, and one that Excel of another country reads as several cells, gets a ' wherever
    a formula could begin.
    """
    if not text or PLAIN_NUMBER.fullmatch(text):
        return text
    if len(text) > MAX_FORMULA_TEXT or CELL_SEPARATORS.search(text):
        return escape_formula(text)
    if not (is_formula(text) or NUMBER_LIKE.fullmatch(text)):
        return text
    escaped = text.replace('"', '""')
    return f'="{escaped}"'


def write_table(
    columns: Mapping[str, Kind],
    rows: Iterable[Sequence[Any]],
    reader: str,
    write: Write,
) -> None:
    """Write a CSV with a row of headings.

    Args:
        columns: the headings, and what their cells are.
        rows: the cells of each row, values of JSON. Datetimes are ISO 8601.
        reader: a key of READERS. Excel gets datetimes in TIME_ZONE as it shows them.
        write: is called with pieces of the file.
    """
    separator, is_excel = READERS[reader]
    zone = timezone.get_current_timezone()
    formats = [_format(kind, is_excel, zone) for kind in columns.values()]
    buffer = StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator)
    if is_excel:
        buffer.write(BYTE_ORDER_MARK)
    writer.writerow(columns)
    for number, row in enumerate(rows, start=1):
        writer.writerow(to_text(cell) for to_text, cell in zip(formats, row, strict=True))
        if number % ROWS == 0:
            write(buffer.getvalue())
            buffer.seek(0)
            buffer.truncate()
    write(buffer.getvalue())


def _format(kind: Kind, is_excel: bool, zone: tzinfo) -> Callable[[Any], str]:
    """Return what makes the text of a column's cells."""
    if kind == "json":
        escape = escape_formula if is_excel else str
        return lambda value: escape(json.dumps(value, ensure_ascii=False)) if value else ""
    if kind == "text" and is_excel:
        return lambda value: excel_cell(format_cell(value))
    if kind == "datetime" and is_excel:
        return lambda value: format_datetime(value, zone) if value else ""
    return format_cell
