"""Read files as tables: CSV, NDJSON and Excel's xlsx.

A row that cannot be read is a row with an error, so that it costs no other row. Memory is bounded,
whatever the file is. See docs/decisions/files-as-tables.md.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from transfers.tables.forms import inspect
from transfers.tables.rows import FileForm, Row, RowError, Table, UnreadableFile
from transfers.tables.texts import CSVTable, NDJSONTable
from transfers.tables.workbooks import WorkbookTable

__all__ = ["FileForm", "Row", "RowError", "Table", "UnreadableFile", "inspect", "open_table"]

TABLES: Mapping[str, Callable[[Path, FileForm], Table]] = {
    "csv": CSVTable,
    "ndjson": NDJSONTable,
    "xlsx": WorkbookTable,
}


def open_table(path: Path, form: FileForm) -> Table:
    """Open a file as the form says, and read the names of its columns.

    Raises:
        UnreadableFile: the file has no such form, or no row.
        OSError: the file cannot be opened.
    """
    return TABLES[form.format](path, form)
