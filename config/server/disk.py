"""Leave the embedded PostgreSQL room on its disk, because it stops when the disk is full."""

import shutil
from pathlib import Path

from django.conf import settings

from config.server.postgres import MB, EmbeddedPostgres, max_wal_size
from config.server.programs import StoreError


def reserve(disk: int) -> int:
    """Return how much of its disk PostgreSQL has to have free to go on writing, in bytes.

    That is what it writes into its log (WAL) until a checkpoint makes room. Disks below 16 GiB get
    less, because 1 GiB would be a large part of them.

    Args:
        disk: the size of the disk, in bytes.
    """
    return min(disk // 16, max_wal_size(disk))


def check_room(folder: Path, needed: int = 0) -> None:
    """Verify that a file in the folder leaves the embedded PostgreSQL its reserve.

    Args:
        folder: of the file.
        needed: the size of what has to be written still, in bytes.

    Raises:
        StoreError: it does not.
        OSError: the folder cannot be read.
    """
    if not settings.EMBEDDED_POSTGRES:
        return
    if folder.stat().st_dev != EmbeddedPostgres(settings.DATA_DIR).cluster.stat().st_dev:
        return
    disk = shutil.disk_usage(folder)
    kept = reserve(disk.total)
    if disk.free < needed + kept:
        backup = f"and the backup about {-(-needed // MB):,} MiB, " if needed else ""
        raise StoreError(
            f"PostgreSQL needs {kept // MB:,} MiB free on its disk, {backup}"
            f"but {folder} has {disk.free // MB:,} MiB left. Use a folder on another disk, or "
            "delete files."
        )
