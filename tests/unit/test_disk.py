"""config.server.disk: what a backup leaves to PostgreSQL on its disk."""

import shutil
from pathlib import Path

import pytest
from pytest_django import Settings

from config.server.disk import check_room, reserve
from config.server.programs import StoreError

MIB, GIB = 1 << 20, 1 << 30
DISK = 32 * GIB


@pytest.fixture
def folder(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the disk of an embedded PostgreSQL, of which 2060 MiB are free."""
    (tmp_path / "postgres").mkdir()
    settings.DATA_DIR, settings.EMBEDDED_POSTGRES = tmp_path, True
    usage = shutil.disk_usage(tmp_path)._replace(total=DISK, free=2060 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    return tmp_path


@pytest.mark.parametrize(
    ("disk", "expected"),
    [(512 * MIB, 32 * MIB), (16 * GIB, GIB), (128 * GIB, 8 * GIB), (1024 * GIB, 8 * GIB)],
)
def test_the_reserve_is_a_sixteenth_of_the_disk_or_8_gib(disk: int, expected: int) -> None:
    assert reserve(disk) == expected


def test_a_file_that_fits_beside_the_reserve_is_written(folder: Path) -> None:
    check_room(folder, 12 * MIB)


def test_a_file_that_needs_the_reserve_is_rejected(folder: Path) -> None:
    sentence = (
        f"PostgreSQL needs 2,048 MiB free on its disk, and the backup about 13 MiB, but {folder} "
        "has 2,060 MiB left. Use a folder on another disk, or delete files."
    )
    with pytest.raises(StoreError) as raised:
        check_room(folder, 12 * MIB + 1)
    assert str(raised.value) == sentence


def test_a_disk_that_got_full_on_the_way_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(folder)._replace(free=2047 * MIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    sentence = f"^PostgreSQL needs 2,048 MiB free on its disk, but {folder} has 2,047 MiB left"
    with pytest.raises(StoreError, match=sentence):
        check_room(folder)


def test_the_disk_of_another_database_is_not_looked_at(folder: Path, settings: Settings) -> None:
    settings.EMBEDDED_POSTGRES = False
    check_room(folder, DISK)
