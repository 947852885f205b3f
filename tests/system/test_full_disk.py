"""A backup that fills a disk ends with a sentence, and the store goes on writing.

The disks are of the kind tmpfs, in a mount namespace of the processes that use them.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from typing_extensions import override

from config.server.postgres import USER, socket_dir
from tests.backups import files_in
from tests.system.server import ROOT, Client, Server

NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
# Mounts $2 MiB at $1, and runs the other arguments.
ON_SMALL_DISK = 'mkdir -p "$1" && mount -t tmpfs -o size="$2" tmpfs "$1" && shift 2 && exec "$@"'
MIB = 1 << 20
DISK_MIB, RESERVE_MIB = 512, 32
# 58 MB that make a backup of more than 30 MB, where an eighth of the store is expected.
INCOMPRESSIBLE = """
CREATE TABLE large AS
SELECT (SELECT string_agg(md5(row || '-' || part), '') FROM generate_series(1, 60) part)
FROM generate_series(1, 30000) row
"""
OLDER = "tallybook-2026-01-01.backup"
# Copies the folder $0 to $1, and runs the other arguments.
WITH_COPY = 'cp -a "$0/." "$1" && shift && exec "$@"'


def on_small_disk(folder: Path, size: str, *command: str) -> list[str]:
    """Return the command line that runs a command with a disk of its own at a folder."""
    return [*NAMESPACE, "sh", "-c", ON_SMALL_DISK, "sh", str(folder), size, *command]


@pytest.fixture(autouse=True)
def namespaces(tmp_path: Path) -> None:
    """Skip the test where the system permits no disk of the test's own."""
    command = on_small_disk(tmp_path / "probe", "1m", "true")
    try:
        permitted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        permitted = False
    if not permitted:
        pytest.skip("the system permits no mount namespace")


class SmallServer(Server):
    """`manage.py serve` whose data folder is a disk of 512 MiB, with a copy of another one."""

    copied: Server

    @override
    def spawn(self) -> subprocess.Popen[bytes]:
        copy = ["sh", "-c", WITH_COPY, str(self.copied.data_dir), str(self.data_dir)]
        serve = [sys.executable, "manage.py", "serve"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                on_small_disk(self.data_dir, f"{DISK_MIB}m", *copy, *serve),
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    @property
    def seen_from_outside(self) -> Path:
        """The data folder."""
        assert self.process
        return Path(f"/proc/{self.process.pid}/root{self.data_dir}")

    def back_up(self) -> subprocess.CompletedProcess[str]:
        """Run the command that `serve` runs every hour, where it does."""
        assert self.process
        enter = ("nsenter", f"--target={self.process.pid}", "--user", "--mount")
        return subprocess.run(
            [*enter, "--preserve-credentials", sys.executable, ROOT / "manage.py", "daily_backup"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def connect(self) -> psycopg.Connection:
        """Connect to the embedded PostgreSQL."""
        folder = socket_dir(self.data_dir)
        if folder.is_relative_to(self.data_dir):
            folder = self.seen_from_outside / folder.relative_to(self.data_dir)
        # The path of a socket may have 107 bytes.
        with tempfile.TemporaryDirectory() as short:
            link = Path(short) / "socket"
            link.symlink_to(folder)
            return psycopg.connect(host=str(link), user=USER, dbname="tallybook", autocommit=True)


def free_mib(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize // MIB


@pytest.fixture
def small(first_server: Server, tmp_path: Path) -> Iterator[SmallServer]:
    """A server with a large store, an older backup, and room for a part of another one."""
    server = SmallServer(tmp_path, TALLYBOOK_BACKUPS="3", TALLYBOOK_WORKERS="1")
    server.copied, server.auth = first_server, first_server.auth
    server.start()
    try:
        folder = server.seen_from_outside
        (folder / "backups").mkdir(mode=0o700)
        (folder / "backups" / OLDER).touch()
        with server.connect() as connection:
            connection.execute(INCOMPRESSIBLE)
            connection.execute("CHECKPOINT")
        with (folder / "filler").open("wb") as filler:
            left = RESERVE_MIB + 25
            os.posix_fallocate(filler.fileno(), 0, (free_mib(folder) - left) * MIB)
        yield server
    finally:
        server.stop()


def test_a_backup_stops_before_the_disk_of_the_store_is_full(small: SmallServer) -> None:
    failed = small.back_up()
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    sentence = f"The daily backup failed: PostgreSQL needs {RESERVE_MIB} MiB free on its disk, but "
    assert line.startswith(f"CommandError: {sentence}")
    assert [path.name for path in files_in(small.seen_from_outside / "backups")] == [OLDER]
    assert free_mib(small.seen_from_outside) > RESERVE_MIB
    client = small.client()
    assert client.track(event_key="k", title="t", email="ada@example.com").status == 200
    client.close()


def test_another_disk_that_is_full_is_reported_and_gets_no_half_file(
    server: Server, http: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    variables = {"TALLYBOOK_BACKUPS": "3", "TALLYBOOK_BACKUP_DIR": str(folder)}
    listed = f'"{sys.executable}" manage.py daily_backup; ls -A -I .store "{folder}"'
    process = subprocess.run(
        on_small_disk(folder, "16k", "sh", "-c", listed),
        cwd=ROOT,
        env=server.environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout == ""
    (line,) = process.stderr.splitlines()
    assert line.endswith(".backup cannot be written: No space left on device.")
