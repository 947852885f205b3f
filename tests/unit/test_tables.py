"""transfers.tables: files as tables, whose rows have values or an error."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from zipfile import ZipFile

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.unit.workbooks import row, write_workbook
from transfers.tables import FileForm, Row, UnreadableFile, inspect, open_table, workbooks
from transfers.tables.rows import MAX_ROW_CHARACTERS
from transfers.tables.texts import CSVTable

Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file, and return its path."""

    def write_file(content: str | bytes) -> Path:
        path = tmp_path / "file"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def rows_of(path: Path, after: int = 0, **changes: Any) -> list[Row]:
    """Read a file as it is guessed, but for some changes. The sizes of its rows are left out."""
    form = FileForm(**{**vars(inspect(path)), **changes})
    with open_table(path, form) as table:
        return [row._replace(size=0) for row in table.rows(after)]


def values_of(path: Path, **changes: Any) -> list[list[Any]]:
    """Read the values of a file without errors."""
    rows = rows_of(path, **changes)
    assert all(row.error is None for row in rows)
    return [[*row.values.values()] for row in rows]


def outcomes(path: Path, **changes: Any) -> list[tuple[int, str]]:
    """Read a file. Returns the number of each row, and the rule of its error or "ok"."""
    return [(row.number, row.error.rule if row.error else "ok") for row in rows_of(path, **changes)]


TEXT = "E-Mail;Ort\njörg@example.com;Köln\n"
ENCODED = [
    ("utf-8", TEXT.encode(), False),
    ("utf-8", b"\xef\xbb\xbf" + TEXT.encode(), False),
    ("utf-16", TEXT.encode("utf-16"), False),
    ("utf-16", b"\xfe\xff" + TEXT.encode("utf-16-be"), False),
    ("utf-16-le", TEXT.encode("utf-16-le"), False),
    ("utf-16-be", TEXT.encode("utf-16-be"), False),
    ("utf-32", TEXT.encode("utf-32"), False),
    ("cp1252", TEXT.encode("cp1252"), True),
]


@pytest.mark.parametrize(("encoding", "content", "is_guess"), ENCODED)
def test_an_encoding_is_proved_or_a_guess(
    write: Write, encoding: str, content: bytes, is_guess: bool
) -> None:
    path = write(content)
    form = inspect(path)
    assert (form.encoding, form.is_guess, form.delimiter) == (encoding, is_guess, ";")
    table = open_table(path, form)
    assert table.columns == ["E-Mail", "Ort"]
    assert [row.values["Ort"] for row in table.rows()] == ["Köln"]


@pytest.mark.parametrize("encoding", ["cp1251", "mac-roman", "shift_jis", "utf-16-le", "latin1"])
def test_an_admin_user_names_any_text_encoding(write: Write, encoding: str) -> None:
    text = {"cp1251": "Пётр", "shift_jis": "会員"}.get(encoding, "Zoë")
    path = write(f"email,name\na@example.com,{text}\n".encode(encoding))
    assert values_of(path, encoding=encoding) == [["a@example.com", text]]


@pytest.mark.parametrize("encoding", ["base64", "rot13", "klingon", "idna"])
def test_what_is_no_encoding_of_files_is_rejected(write: Write, encoding: str) -> None:
    path = write("email\na@example.com\n")
    with pytest.raises(UnreadableFile, match="encoding"):
        open_table(path, FileForm("csv", encoding))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_delimiter_is_that_of_equal_rows(write: Write, delimiter: str) -> None:
    path = write(f'a{delimiter}b\n"1,5;\t"{delimiter}2\n3{delimiter}4\n')
    assert values_of(path) == [["1,5;\t", "2"], ["3", "4"]]


@pytest.mark.parametrize("line", ["sep=;\r\n", '"sep=;"\n', "SEP=;\n", "\ufeffsep=;\n"])
def test_excels_line_about_the_delimiter_is_no_row(write: Write, line: str) -> None:
    path = write(f"{line}email;city\na@example.com;Bonn\n")
    assert rows_of(path) == [Row(1, 3, {"email": "a@example.com", "city": "Bonn"})]


@example('a\n5" pipe\nb\n', True)
@example("sep=;\na\nb\n", True)
@example('"sep=,"\n"",\n', True)
@given(st.text(alphabet='ab,"\n\r \ufeff', max_size=30), st.booleans())
def test_rows_are_counted_as_they_are_read(text: str, has_header: bool) -> None:
    with NamedTemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        try:
            table = CSVTable(Path(file.name), FileForm("csv", has_header=has_header))
        except UnreadableFile:
            assume(False)
        counted, read = [0, *table.ordinals()][-1], len([*table.rows()])
    assert counted == read or (counted > read and '"' in text)


def test_cells_have_line_ends_in_quotes_and_rows_the_number_of_their_first_line(
    write: Write,
) -> None:
    path = write('email,note\r\na@x.example,"one\r\ntwo, ""three"""\r\n\r\n,\r\nb@x.example,x')
    assert [(row.ordinal, row.number) for row in rows_of(path)] == [(1, 2), (2, 6)]
    assert values_of(path)[0] == ["a@x.example", 'one\r\ntwo, "three"']


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("a,b,", ["a", "b"]),
        ("a,,b", ["a", "Column 2", "b"]),
        (" a ,b", ["a", "b"]),
        ("a,Tags,Tags", ["a", "Tags", "Tags (2)"]),
        ("\ufeffa,b\xa0", ["a", "b"]),
    ],
)
def test_columns_are_named_by_the_header(write: Write, header: str, columns: list[str]) -> None:
    path = write(f"{header}\n1,2,3\n")
    assert open_table(path, inspect(path)).columns == columns


def test_a_file_without_a_header_has_numbered_columns(write: Write) -> None:
    path = write("a@example.com,Ada\nb@example.com,Bob\n")
    table = open_table(path, inspect(path))
    assert table.columns == ["Column 1", "Column 2"]
    assert [row.number for row in table.rows()] == [1, 2]


# Line 3 is at fault. None of them ends the file.
BAD_ROWS = [
    (b"b@x.example", "cells"),
    (b"b@x.example,x,y", "cells"),
    (b'"b@x.example,x', "quotes"),
    (b'"b"@x.example,x', "quotes"),
    (b"b\xff@x.example,x", "encoding"),
    (b"b@x.example," + b"x" * (MAX_ROW_CHARACTERS + 1), "max"),
    (b"b@x.example," + b"x" * 200_000, "max"),
]


@pytest.mark.parametrize(("line", "rule"), BAD_ROWS)
def test_a_bad_row_costs_itself(write: Write, line: bytes, rule: str) -> None:
    path = write(b"email,name\na@x.example,Ada\n" + line + b"\nc@x.example,Cy\n")
    assert outcomes(path, encoding="utf-8") == [(2, "ok"), (3, rule), (4, "ok")]


def test_a_quote_that_is_never_closed_costs_its_line(write: Write) -> None:
    lines = "".join(f"u{number}@x.example,x\n" for number in range(3000))
    rows = outcomes(write(f'email,name\n"a@x.example,x\n{lines}'))
    assert rows[0] == (2, "quotes")
    assert rows[1:] == [(number + 3, "ok") for number in range(3000)]


def test_more_cells_are_read_where_they_are_empty(write: Write) -> None:
    assert values_of(write("a,b\n1,2,,\n")) == [["1", "2"]]


def test_a_nul_stays_a_character_of_its_cell(write: Write) -> None:
    assert values_of(write("a,b\n1,x\0y\n")) == [["1", "x\0y"]]


@pytest.mark.parametrize("after", [0, 1, 2, 3, 9])
def test_rows_are_read_from_an_ordinal_on(write: Write, after: int) -> None:
    path = write("a,b\n1,2\n\n3\n5,6\n")
    assert rows_of(path, after) == rows_of(path)[after:]


@pytest.mark.parametrize("cell", ["=1+1", "+49 30 1", "-2+3", "@x", "x;=1"])
def test_a_formula_that_an_export_escaped_is_as_before(write: Write, cell: str) -> None:
    escaped = cell.replace("=", "'=", 1) if ";" in cell else f"'{cell}"
    assert values_of(write(f'a,b\n1,"{escaped}"\n')) == [["1", cell]]


@pytest.mark.parametrize("cell", ["'tis", "O'Neill", "''", "'"])
def test_another_apostrophe_stays(write: Write, cell: str) -> None:
    assert values_of(write(f"a,b\n1,{cell}\n")) == [["1", cell]]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="'"), max_size=20)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5), st.sampled_from([",", ";", "\t"]))
def test_what_csv_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("a", "b"), *rows])
    path = tmp_path_factory.mktemp("csv") / "file"
    path.write_text(buffer.getvalue(), newline="")
    table = open_table(path, FileForm("csv", delimiter=delimiter))
    read = [(row.values["a"], row.values["b"]) for row in table.rows()]
    assert read == [cells for cells in rows if any(cells)]


# NDJSON


def test_a_line_of_json_is_a_row_whose_values_stay(write: Write) -> None:
    lines: list[dict[str, Any]] = [
        {"email": "a@x.example", "tags": [{"title": "vip"}]},
        {"email": "b@x.example", "n": 1},
    ]
    path = write("\ufeff" + "\r\n\r\n".join(map(json.dumps, lines)))
    table = open_table(path, inspect(path))
    assert table.columns == ["email", "tags", "n"]
    assert rows_of(path) == [Row(1, 1, lines[0]), Row(2, 3, lines[1])]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"email":', "json"),
        (b"[1]", "object"),
        (rb'{"a":"\ud83d"}', "json"),
        (b'{"a":"\xff"}', "encoding"),
        (b'{"a":"' + b"x" * (MAX_ROW_CHARACTERS + 1) + b'"}', "max"),
    ],
)
def test_a_bad_line_of_json_costs_itself(write: Write, line: bytes, rule: str) -> None:
    path = write(b'{"a":1}\n' + line + b'\n{"a":2}\n')
    form = FileForm("ndjson")
    read = [(row.number, row.error and row.error.rule) for row in open_table(path, form).rows()]
    assert read == [(1, None), (2, rule), (3, None)]


def test_a_first_line_that_is_bad_json_costs_itself(write: Write) -> None:
    path = write(b'{"a":1e999}\n{"a":2}\n')
    assert [row.error and row.error.rule for row in rows_of(path)] == ["json", None]


# Workbooks


def test_a_workbook_has_typed_cells_and_excels_row_numbers(tmp_path: Path) -> None:
    sheet = row(2, "email", "born", "points", "ok") + row(
        4, "a@x.example", '<c s="1"><v>11668</v></c>', "<c><v>1.0</v></c>", '<c t="b"><v>1</v></c>'
    )
    path = write_workbook(tmp_path / "book", sheet)
    values = {"email": "a@x.example", "born": "1931-12-11", "points": 1, "ok": True}
    assert rows_of(path) == [Row(1, 4, values)]


def test_formulas_have_their_values_and_errors_none(tmp_path: Path) -> None:
    formula = '<c t="str"><f>A1&amp;"x"</f><v>calc</v></c>'
    cells = (formula, "<c><f>1+1</f></c>", '<c t="e"><v>#N/A</v></c>', "<c><v>1.5</v></c>")
    path = write_workbook(tmp_path / "book", row(1, *"abcd") + row(2, *cells))
    assert values_of(path) == [["calc", "", "", 1.5]]


def test_merged_cells_have_the_value_once(tmp_path: Path) -> None:
    sheet = row(1, "a", "b") + row(2, "x", "<c/>")
    path = write_workbook(
        tmp_path / "book",
        f"{sheet}</sheetData><mergeCells count='1'>"
        "<mergeCell ref='A2:B2'/></mergeCells><sheetData>",
    )
    assert values_of(path) == [["x", ""]]


def test_a_workbook_names_its_sheets_and_reads_the_chosen_one(tmp_path: Path) -> None:
    sheets = [row(1, "a") + row(2, f"in {number}") for number in (1, 2, 3)]
    path = write_workbook(tmp_path / "book", *sheets, hidden="S1")
    assert inspect(path).sheets == ("S2", "S3", "S1")
    assert (values_of(path), values_of(path, sheet="S3")) == ([["in 2"]], [["in 3"]])
    with pytest.raises(UnreadableFile, match='"S9"'):
        rows_of(path, sheet="S9")


@pytest.mark.parametrize(
    "sheet",
    [
        # Two cells of a sheet that would take 550 GB.
        row(1, "a") + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
        row(1, "a") + '<row r="4000000000"><c r="A4000000000"><v>1</v></c></row>',
        # A cell of 100 MB, in a file of 100 KB.
        row(1, "x" * 100_000_000),
    ],
    ids=["wide", "long", "cell"],
)
def test_a_workbook_that_would_eat_the_memory_is_rejected(
    tmp_path: Path, sheet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_workbook(tmp_path / "book", sheet)
    monkeypatch.setattr(workbooks, "MAX_MEMORY_BYTES", 256 * 1024**2)
    with pytest.raises(UnreadableFile, match="more memory"):
        rows_of(path)


@pytest.mark.parametrize("end", [100, -30])
def test_a_damaged_workbook_is_rejected(write: Write, tmp_path: Path, end: int) -> None:
    content = write_workbook(tmp_path / "book", row(1, "a")).read_bytes()
    with pytest.raises(UnreadableFile, match="damaged"):
        rows_of(write(content[:end]))


def test_an_empty_sheet_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="empty"):
        rows_of(write_workbook(tmp_path / "book", ""))


# Other files


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf \r\n", "empty"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Excel file"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"%PDF-1.7", "PDF"),
        (b"<!DOCTYPE html><title>Log in</title>", "page of the web"),
        (b'<?xml version="1.0"?><Workbook/>', "page of the web"),
        (b'[{"email":"a@x.example"}]', "one JSON value"),
        (b'{"contacts":\n[]}', "one JSON value"),
        (b"PK\x03\x04broken", "damaged"),
        (b"MZ\x90\x00\x03\xff\x00\x80", "no text"),
        (b"\n\n\n", "empty"),
    ],
)
def test_another_file_is_rejected_by_what_it_is(write: Write, content: bytes, words: str) -> None:
    with pytest.raises(UnreadableFile, match=words):
        inspect(write(content))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("word/document.xml", "Word"),
        ("content.xml", "LibreOffice"),
        ("Index/Document.iwa", "Numbers"),
        ("xl/workbook.bin", "xlsb"),
        ("contacts.csv", "ZIP archive"),
    ],
)
def test_another_archive_is_rejected_by_what_it_is(tmp_path: Path, part: str, words: str) -> None:
    path = tmp_path / "file"
    with ZipFile(path, "w") as archive:
        archive.writestr(part, "")
    with pytest.raises(UnreadableFile, match=words):
        inspect(path)


@pytest.mark.parametrize("delimiter", ["", ",,", '"', "\n", " "])
def test_what_is_no_delimiter_is_rejected(write: Write, delimiter: str) -> None:
    with pytest.raises(UnreadableFile, match="delimiter"):
        open_table(write("a,b\n"), FileForm("csv", delimiter=delimiter))


def test_lines_may_end_as_on_old_macs(write: Write) -> None:
    assert outcomes(write("a,b\r1,2\r3,4\r")) == [(2, "ok"), (3, "ok")]


def test_a_file_of_too_many_columns_is_rejected(write: Write) -> None:
    path = write(",".join(f"c{number}" for number in range(1001)) + "\n")
    with pytest.raises(UnreadableFile, match="1,000 columns"):
        open_table(path, inspect(path))
