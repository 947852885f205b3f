"""Write workbooks (xlsx) cell by cell, also such as no spreadsheet writes."""

from collections.abc import Iterable
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
# The second format is a date, as in <c s="1">.
STYLES = (
    f'<styleSheet xmlns="{MAIN}"><cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs>'
    "</styleSheet>"
)


def write_workbook(path: Path, *sheets: str, strings: Iterable[str] = (), hidden: str = "") -> Path:
    """Write a workbook whose sheets S1, S2, … have these rows of XML. Returns its path."""
    numbers = range(1, len(sheets) + 1)
    listed = relations = ""
    for number in numbers:
        state = ' state="hidden"' if f"S{number}" == hidden else ""
        listed += f'<sheet name="S{number}" sheetId="{number}" r:id="r{number}"{state}/>'
        target = f'Target="worksheets/s{number}.xml"'
        relations += f'<Relationship Id="r{number}" Type="{OFFICE}/worksheet" {target}/>'
    others = "".join(
        f'<Relationship Id="{name}" Type="{OFFICE}/{name}" Target="{name}.xml"/>'
        for name in ("sharedStrings", "styles")
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r" '
        f'Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}">'
        f"<sheets>{listed}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">'
        f"{relations}{others}</Relationships>",
        "xl/styles.xml": STYLES,
    }
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
        with archive.open("xl/sharedStrings.xml", "w") as part:
            part.write(f'<sst xmlns="{MAIN}">'.encode())
            for text in strings:
                part.write(f"<si><t>{text}</t></si>".encode())
            part.write(b"</sst>")
        for number, rows in zip(numbers, sheets, strict=True):
            body = f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'
            archive.writestr(f"xl/worksheets/s{number}.xml", body)
    return path


def row(number: int, *cells: str) -> str:
    """Return a row of cells from column A on: a text, or the XML of a cell behind "<"."""
    inside = "".join(
        cell.replace("<c", f'<c r="{column}{number}"', 1)
        if cell.startswith("<")
        else f'<c r="{column}{number}" t="inlineStr"><is><t>{cell}</t></is></c>'
        for column, cell in zip("ABCDEFGHIJ", cells, strict=False)
    )
    return f'<row r="{number}">{inside}</row>'
