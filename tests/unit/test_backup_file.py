"""Reading the file of a backup: what is rejected before the database is asked."""

import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest

from config.server.backup import DUMP, MANIFEST, Manifest, open_dump, read_manifest
from config.server.programs import StoreError

MADE = Manifest(
    format=1,
    tallybook="0.1.0",
    migrations=["crm.0001_initial"],
    created_at="2026-11-25T17:50:47+00:00",
    database_bytes=10 << 20,
    tables={"public.crm_subscriber": 2},
    rules=[1, 1],
    sums={"counters": 2},
    faults={},
)
# ZIP's headers of two files, and its end.
ZIP_HEADER_BYTES = 2 * (30 + 46) + 22
SQL = b"SELECT 'a';" * 20


def write(folder: Path, manifest: Any) -> Path:
    """Write a ZIP file with a manifest and a dump."""
    path = folder / "b"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(DUMP, SQL)
        archive.writestr(MANIFEST, orjson.dumps(manifest))
    return path


def test_a_backup_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_manifest(write(tmp_path, asdict(MADE))) == MADE


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="b does not exist"):
        read_manifest(tmp_path / "b")


def test_each_flipped_byte_is_noticed_or_of_no_effect(tmp_path: Path) -> None:
    path = write(tmp_path, asdict(MADE))
    content = path.read_bytes()
    unnoticed = []
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        try:
            manifest = read_manifest(path)
        except StoreError:
            continue
        with open_dump(path) as dump:
            unnoticed.append((manifest, dump.read()))
    # All of them are dates and versions in the headers.
    assert len(unnoticed) < ZIP_HEADER_BYTES
    assert all(each == (MADE, SQL) for each in unnoticed)


@pytest.mark.parametrize("length", range(0, 400, 50))
def test_a_truncated_file_is_rejected(tmp_path: Path, length: int) -> None:
    path = write(tmp_path, asdict(MADE))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(StoreError, match="b is damaged, or is no backup of Tallybook"):
        read_manifest(path)


@pytest.mark.parametrize(
    "manifest", [[], {}, {"format": 1, "tallybook": "0.1.0"}, asdict(MADE) | {"more": 1}]
)
def test_another_zip_file_is_rejected(tmp_path: Path, manifest: Any) -> None:
    with pytest.raises(StoreError, match="is no backup of Tallybook"):
        read_manifest(write(tmp_path, manifest))


def test_a_newer_format_names_the_version_to_install(tmp_path: Path) -> None:
    manifest = {"format": 2, "tallybook": "7.0.0", "anything": "else"}
    match = r"has a format that this Tallybook \(0\.1\.0\) lacks\. Install 7\.0\.0, which"
    with pytest.raises(StoreError, match=match):
        read_manifest(write(tmp_path, manifest))


def test_an_unknown_migration_names_the_version_to_install(tmp_path: Path) -> None:
    manifest = asdict(MADE) | {"tallybook": "7.0.0", "migrations": ["crm.0999_future"]}
    match = r"has the migration crm\.0999_future, which this Tallybook \(0\.1\.0\) lacks\. Ins"
    with pytest.raises(StoreError, match=match):
        read_manifest(write(tmp_path, manifest))
