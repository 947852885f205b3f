"""Write the rows of a workbook's sheet to standard output, a JSON array in each line.

A process of its own, without Tallybook's code: `read_workbook.py rows PATH SHEET BYTES`, or
`sheets` in place of `rows` for the names of the sheets. If the workbook is at fault, it writes a
sentence to standard error and exits with 3.
"""

import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

MAX_CPU_SECONDS = 120
MAX_OUTPUT_BYTES = 4 * 1024**3
# Excel rounds numbers of more than 15 digits.
MAX_EXACT = 10**15


def main(what: str, path: str, sheet: str, memory: str) -> int:
    """Write the rows or the names. Returns the exit code."""
    limits = {
        resource.RLIMIT_AS: int(memory),
        resource.RLIMIT_CPU: MAX_CPU_SECONDS,
        resource.RLIMIT_FSIZE: MAX_OUTPUT_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    # Where the machine's memory is short, the kernel ends this process first.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    # Imported here, so that the limits hold.
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError
    from python_calamine import SheetTypeEnum as Type
    from python_calamine import SheetVisibleEnum as Visible

    try:
        with CalamineWorkbook.from_path(path) as workbook:
            sheets = [each for each in workbook.sheets_metadata if each.typ == Type.WorkSheet]
            sheets.sort(key=lambda each: each.visible != Visible.Visible)
            names = [each.name for each in sheets]
            if what == "sheets":
                sys.stdout.buffer.write(orjson.dumps(names))
            elif not names or (sheet and sheet not in names):
                return fail(f'The workbook has no sheet "{sheet}".')
            else:
                for line in lines(workbook.get_sheet_by_name(sheet or names[0]).iter_rows()):
                    sys.stdout.buffer.write(line)
    except PasswordError:
        return fail("A password protects the workbook. Save it without one.")
    except CalamineError:
        return fail("The workbook is damaged.")
    return 0


def lines(rows: Iterator[list[Any]]) -> Iterator[bytes]:
    """Yield the number and the cells of each row that is not empty, as a line of JSON."""
    for number, cells in enumerate(rows, start=1):
        if any(cell != "" for cell in cells):
            values = [number, [whole(cell) for cell in cells]]
            yield orjson.dumps(values, default=str, option=orjson.OPT_APPEND_NEWLINE)


def whole(cell: Any) -> Any:
    """Return a whole number, which Excel stores as 1.0, as 1."""
    if type(cell) is float and cell.is_integer() and abs(cell) < MAX_EXACT:
        return int(cell)
    return cell


def fail(message: str) -> int:
    """Write why the workbook is at fault. Returns the exit code."""
    sys.stderr.write(message)
    return 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
