"""Cells of a CSV for Excel and for programs."""

import csv
import io
from typing import Any

import pytest

from transfers.exports.cells import READERS, Kind, excel_cell, write_table

COLUMNS: dict[str, Kind] = {"name": "text", "number": "number", "at": "datetime", "data": "json"}
ROW = ["01067", 12, "2026-01-01T10:00:00.5+00:00", {"a": "é"}]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("01067", '="01067"'),
        ("+49 30 1234", '="+49 30 1234"'),
        ("4915112345678", '="4915112345678"'),
        ("1-2", '="1-2"'),
        ("3/4", '="3/4"'),
        ("1E5", '="1E5"'),
        ("1.299,00", '="1.299,00"'),
        ('=HYPERLINK("x")', '="=HYPERLINK(""x"")"'),
        ("\uff1d1+1", '="\uff1d1+1"'),
        ("=1\n+1", "'=1\n'+1"),
        ("=" + "1" * 300, "'=" + "1" * 300),
        ("1;=1+1", "1;'=1+1"),
        ("=1;=2", "'=1;'=2"),
        ("a\t@b", "a\t'@b"),
        ("12.50", "12.50"),
        ("-5", "-5"),
        ("Ada", "Ada"),
        ("a-b", "a-b"),
        ("", ""),
    ],
)
def test_excel_shows_a_text_as_it_is(text: str, cell: str) -> None:
    assert excel_cell(text) == cell


def written(reader: str, rows: list[list[Any]]) -> str:
    """The CSV for a reader."""
    pieces: list[str] = []
    write_table(COLUMNS, rows, reader, pieces.append)
    return "".join(pieces)


def test_programs_get_texts_as_they_are() -> None:
    text = written("programs", [ROW])
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "number", "at", "data"],
        ["01067", "12", "2026-01-01T10:00:00.5+00:00", '{"a": "é"}'],
    ]


@pytest.mark.parametrize(("reader", "separator"), [("excel", ","), ("excel-semicolon", ";")])
def test_excel_gets_its_separator_and_datetimes(reader: str, separator: str) -> None:
    text = written(reader, [ROW])
    assert text[0] == "\ufeff"
    [_, row] = csv.reader(io.StringIO(text[1:]), delimiter=separator)
    assert row[:3] == ['="01067"', "12", "2026-01-01 10:00:00"]


@pytest.mark.parametrize("reader", READERS)
def test_no_row_of_a_long_table_is_lost(reader: str) -> None:
    text = written(reader, [[str(number), number, None, {}] for number in range(1_201)])
    assert len(text.splitlines()) == 1_202


def test_excel_of_another_country_computes_nothing_of_an_object() -> None:
    [_, row] = csv.reader(io.StringIO(written("excel", [["", 1, None, {"a": ";=1;"}]])[1:]))
    assert row[3] == """{"a": ";'=1;"}"""
