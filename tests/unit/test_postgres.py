"""The embedded PostgreSQL's folders: where its socket is, and which data it rejects."""

import os
import re
import stat
from pathlib import Path

import pytest

from config.server.postgres import (
    MAX_SOCKET_DIR_LENGTH,
    EmbeddedPostgres,
    PostgresError,
    machine_settings,
    socket_dir,
)

MB, GB = 1 << 20, 1 << 30
OPERATE = Path(__file__).parents[2] / "docs/how-to/operate.md"


def test_the_documentation_has_the_settings_of_each_machine() -> None:
    table = re.search(r"\| memory, disk \|.*?\n\n", OPERATE.read_text(), re.DOTALL)
    assert table
    header, _, *rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in table[0].strip().splitlines()
    ]
    for machine, *cells in rows:
        memory, disk = (
            int(number) * {"MB": MB, "GB": GB}[unit]
            for number, unit in re.findall(r"(\d+) (MB|GB)", machine)
        )
        chosen = machine_settings(memory, disk)
        assert dict(zip(header[1:], cells, strict=True)) == chosen


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


@pytest.mark.parametrize(
    ("name", "mode"),
    [(".", 0o700), ("postgres", 0o700), ("lock", 0o600), ("postgres.log", 0o600)],
)
def test_a_folder_that_existed_is_closed_to_other_users(
    tmp_path: Path, name: str, mode: int
) -> None:
    tmp_path.chmod(0o755)
    for file in ("lock", "postgres.log"):
        (tmp_path / file).touch()
        (tmp_path / file).chmod(0o644)
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres").chmod(0o2770)
    postgres = EmbeddedPostgres(tmp_path)
    postgres.lock("a test")
    postgres.stop()
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedPostgres:
    """A server's log that may have 100 bytes."""
    monkeypatch.setattr("config.server.postgres.MAX_LOG_BYTES", 100)
    return EmbeddedPostgres(tmp_path)


def test_a_long_log_begins_again_and_the_old_one_is_kept(logged: EmbeddedPostgres) -> None:
    logged.log.write_bytes(b"x" * 101)
    with logged.log.open("ab") as writer:
        logged.bound_log()
        writer.write(b"next")
    old = logged.data_dir / "postgres.log.1"
    assert (logged.log.read_bytes(), old.read_bytes()) == (b"next", b"x" * 101)
    assert stat.S_IMODE(old.stat().st_mode) == 0o600


def test_a_short_log_stays(logged: EmbeddedPostgres) -> None:
    logged.log.write_bytes(b"x" * 100)
    logged.bound_log()
    assert logged.log.stat().st_size == 100


def test_a_log_that_cannot_be_copied_is_emptied(logged: EmbeddedPostgres) -> None:
    logged.log.write_bytes(b"x" * 101)
    (logged.data_dir / "postgres.log.1").symlink_to("/dev/full")
    logged.bound_log()
    assert logged.log.stat().st_size == 0
