"""Write the reports of an import: rows that were not written, and what was written otherwise."""

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from config.api.errors import FieldErrors
from config.api.warnings import Warnings
from events.exports import escape_formula

# File -> the rows in it. The first can be mended and imported: its other columns are the file's.
REJECTED, REMARKS = "rejected.csv", "remarks.csv"
BYTE_ORDER_MARK = "\ufeff"
# What stands before the columns of the file.
OWN_COLUMNS = ("row number", "reason")


class Remark(NamedTuple):
    """A row that an import rejected, or wrote otherwise than the file says.

    `reason` has sentences. `values` are those of the row, by column.
    """

    number: int
    reason: str
    values: Mapping[str, Any]
    is_rejected: bool


def sentences(errors: FieldErrors, warnings: Warnings) -> str:
    """Return the messages of errors by field, and of warnings, as one text."""
    found = [message for rules in errors.values() for message in rules.values()]
    return " ".join([*found, *(warning["message"] for warning in warnings)])


class Reports:
    """The reports in the folder of a job's results, which a job goes on with after a kill."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        """Prepare to write rows with these columns of the file."""
        self._folder = folder
        self._columns = columns

    def write(self, remarks: Iterable[Remark], lengths: Mapping[str, int]) -> dict[str, int]:
        """Write remarks behind those of earlier steps. They are on the disk afterwards.

        Args:
            remarks: of a step.
            lengths: of each file after the earlier steps, in bytes. What is behind was written by
                a step that was not committed.

        Returns:
            The lengths after this step.
        """
        texts = {name: StringIO(newline="") for name in (REJECTED, REMARKS)}
        for remark in remarks:
            text = texts[REJECTED if remark.is_rejected else REMARKS]
            cells = [_cell(remark.values.get(column)) for column in self._columns]
            csv.writer(text).writerow([remark.number, escape_formula(remark.reason), *cells])
        after = dict(lengths)
        for name, text in texts.items():
            if body := text.getvalue():
                after[name] = self._append(name, body, lengths.get(name, 0))
        return after

    def _append(self, name: str, body: str, length: int) -> int:
        if not length:
            header = StringIO(newline="")
            csv.writer(header).writerow([*OWN_COLUMNS, *map(escape_formula, self._columns)])
            body = f"{BYTE_ORDER_MARK}{header.getvalue()}{body}"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            file.truncate(length)
            file.seek(length)
            file.write(body.encode())
            file.flush()
            os.fsync(file.fileno())
            return file.tell()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return escape_formula(value)
