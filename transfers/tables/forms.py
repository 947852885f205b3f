"""Guess the form of a file from its first bytes."""

import codecs
import csv
from io import StringIO
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import orjson

from transfers.tables.rows import FileForm, UnreadableFile
from transfers.tables.texts import SEPARATOR_LINE
from transfers.tables.workbooks import sheet_names

SAMPLE_BYTES = 1024 * 1024
ROWS_OF_GUESS = 50
DELIMITERS = (",", ";", "\t")
# A byte order mark -> the encoding. That of UTF-32 begins with that of UTF-16.
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What Excel on Windows writes in western Europe and America.
FALLBACK_ENCODING = "cp1252"
SAVE_AS = "Save the table as CSV in UTF-8, or as xlsx."
OTHER_FORMATS = {
    b"\xd0\xcf\x11\xe0": f"an old Excel file (xls), or one that a password protects. {SAVE_AS}",
    b"\x1f\x8b": "packed by gzip. Unpack it first.",
    b"BZh": "packed by bzip2. Unpack it first.",
    b"\xfd7zXZ": "packed by xz. Unpack it first.",
    b"Rar!": "a RAR archive. Unpack it first.",
    b"7z\xbc\xaf": "a 7-Zip archive. Unpack it first.",
    b"%PDF": f"a PDF. {SAVE_AS}",
    b"{\\rtf": f"a text document (RTF). {SAVE_AS}",
    b"SQLite format 3": f"a database of SQLite. {SAVE_AS}",
    b"PAR1": f"a Parquet file. {SAVE_AS}",
    b"\x89PNG": "a picture.",
    b"\xff\xd8\xff": "a picture.",
}
# A part of the path of an archive's file -> what the archive is.
ARCHIVES = {
    "xl/workbook.bin": f"a binary Excel file (xlsb). {SAVE_AS}",
    "word/document.xml": f"a text document of Word (docx). {SAVE_AS}",
    "ppt/presentation.xml": f"a presentation of PowerPoint (pptx). {SAVE_AS}",
    "content.xml": f"a document of LibreOffice (ods or odt). {SAVE_AS}",
    "Index/Document.iwa": f"a document of Apple's Numbers or Pages. {SAVE_AS}",
    "Index.zip": f"a document of Apple's Numbers or Pages. {SAVE_AS}",
}
MARKUP = ("<!doctype", "<html", "<?xml", "<table")


def inspect(path: Path) -> FileForm:
    """Guess the form of a file.

    An encoding that the first MiB does not prove is a guess, which an admin user has to confirm.

    Raises:
        UnreadableFile: the file is of another format, or empty.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        sample = file.read(SAMPLE_BYTES)
    if sample.startswith(b"PK\x03\x04"):
        return _inspect_archive(path)
    for prefix, description in OTHER_FORMATS.items():
        if sample.startswith(prefix):
            raise UnreadableFile(f"The file is {description}")
    encoding, is_guess = _guess_encoding(sample)
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    text = decoder.decode(sample).removeprefix("\ufeff")
    start = text.lstrip()
    if not start:
        raise UnreadableFile("The file is empty.")
    if start[:9].lower().startswith(MARKUP):
        raise UnreadableFile(f"The file is a page of the web (HTML or XML). {SAVE_AS}")
    if start.startswith("{") and _is_object(start):
        return FileForm("ndjson", encoding, is_guess)
    if start.startswith(("[", "{")) and _is_json(start, is_whole=len(sample) < SAMPLE_BYTES):
        message = "The file is one JSON value. Write one object in each line (NDJSON)."
        raise UnreadableFile(message)
    if start.startswith('{"'):
        # The first line is invalid, which costs itself.
        return FileForm("ndjson", encoding, is_guess)
    delimiter, rows = _guess_delimiter(text)
    has_header = not any("@" in cell for cell in rows[0]) if rows else True
    return FileForm("csv", encoding, is_guess, delimiter, has_header)


def _inspect_archive(path: Path) -> FileForm:
    try:
        with ZipFile(path) as archive:
            names = {*archive.namelist()}
    except (BadZipFile, OSError, NotImplementedError, ValueError):
        raise UnreadableFile("The file is damaged: an archive that cannot be unpacked.") from None
    if "xl/workbook.xml" in names:
        return FileForm("xlsx", sheets=sheet_names(path))
    for name, description in ARCHIVES.items():
        if name in names:
            raise UnreadableFile(f"The file is {description}")
    raise UnreadableFile("The file is a ZIP archive. Unpack it, and import each file by itself.")


def _guess_encoding(sample: bytes) -> tuple[str, bool]:
    """Return the encoding, and whether it is a guess.

    Raises:
        UnreadableFile: the file is no text.
    """
    for mark, encoding in MARKS.items():
        if sample.startswith(mark):
            return encoding, False
    # ASCII characters have a NUL beside them in UTF-16.
    for encoding, nuls in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if nuls.count(0) > len(sample) // 5:
            return encoding, False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        if b"\0" in sample:
            raise UnreadableFile(f"The file is no text, and no workbook. {SAVE_AS}") from None
        return FALLBACK_ENCODING, True
    return "utf-8", False


def _is_object(text: str) -> bool:
    """Return whether the first line is a JSON object, as far as it is in the sample."""
    line, end, _ = text.partition("\n")
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return not end and len(line) > SAMPLE_BYTES // 8


def _is_json(text: str, is_whole: bool) -> bool:
    if not is_whole:
        return True
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _guess_delimiter(text: str) -> tuple[str, list[list[str]]]:
    """Return the delimiter that makes rows of equal and many cells, and the first rows."""
    lines = StringIO(text, newline="").readlines()
    if separator := SEPARATOR_LINE.fullmatch(lines[0]):
        return separator[1], _first_rows("".join(lines[1:]), separator[1])
    # The last line of the sample may not be whole.
    whole = "".join(lines[:-1] or lines)
    guesses = {each: _first_rows(whole, each) for each in DELIMITERS}

    def score(delimiter: str) -> float:
        widths = [len(row) for row in guesses[delimiter]]
        return (widths[0] - 1) * widths.count(widths[0]) / len(widths) if widths else 0

    best = max(DELIMITERS, key=score)
    return best, guesses[best]


def _first_rows(text: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        for row in csv.reader(StringIO(text, newline=""), delimiter=delimiter):
            if any(row):
                rows.append(row)
            if len(rows) == ROWS_OF_GUESS:
                break
    except csv.Error:
        # The table reports it, as an error of its row.
        pass
    return rows
