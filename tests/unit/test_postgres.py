"""The embedded PostgreSQL's folders: where its socket is, and which data it rejects."""

import os
from pathlib import Path

import pytest

from config.server.postgres import (
    MAX_SOCKET_DIR_LENGTH,
    EmbeddedPostgres,
    PostgresError,
    socket_dir,
)


def test_a_short_socket_folder_is_in_the_data_folder() -> None:
    assert socket_dir(Path("/srv/var")) == Path("/srv/var/socket")


def test_a_long_socket_folder_is_replaced_by_a_short_one_of_its_own(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 200)
    assert len(os.fsencode(socket_dir(long))) <= MAX_SOCKET_DIR_LENGTH
    assert socket_dir(long) == socket_dir(long)
    assert socket_dir(long) != socket_dir(tmp_path / ("y" * 200))


def test_a_data_folder_of_another_major_version_is_rejected_with_both_versions(
    tmp_path: Path,
) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("15\n")
    with pytest.raises(PostgresError, match=r"made by PostgreSQL 15, and this is PostgreSQL 18"):
        EmbeddedPostgres(tmp_path).start()
