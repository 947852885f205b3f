"""The processes of a served Tallybook: who started whom, and who is alive."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from config.server.processes import APPLICATION_NAME, HEAVY_NAME, JOBS_NAME, WORKER_NAME
from tests.system.server import Server, wait_until


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children; one that has ended has none."""
    with suppress(OSError):
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def descendants(pid: int) -> list[int]:
    """Return the process ids of a process's children, of their children, and so on."""
    return [each for child in children(pid) for each in (child, *descendants(child))]


def command_line(pid: int) -> str:
    """Return the command line of a process, or "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def postmaster(server: Server) -> int:
    """Return the process id of PostgreSQL's main process."""
    return int((server.data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def web_server(server: Server) -> int:
    """Return the process id of the web server.

    Raises:
        IndexError: there is none at the moment.
    """
    assert server.process
    children_of_serve = children(server.process.pid)
    found = [pid for pid in children_of_serve if "config.server.webserver" in command_line(pid)]
    return found[0]


def wait_for_workers(server: Server) -> list[int]:
    """Return the process ids of the workers of granian as soon as there are any."""
    return _wait_for(server, WORKER_NAME)


def wait_for_applications(server: Server) -> list[int]:
    """Return the process ids of the application processes as soon as each kind has some."""
    return _wait_for(server, APPLICATION_NAME) + _wait_for(server, HEAVY_NAME)


def wait_for_jobs(server: Server) -> int:
    """Return the process id of the process that runs jobs as soon as there is one."""
    process = server.process
    assert process
    wait_until(lambda: named(process.pid, JOBS_NAME), 30)
    return named(process.pid, JOBS_NAME)[0]


def _wait_for(server: Server, name: str) -> list[int]:
    found: list[int] = []

    def find() -> bool:
        with suppress(OSError, IndexError):
            found[:] = named(web_server(server), name)
        return bool(found)

    wait_until(find, 30)
    return found


def named(pid: int, name: str) -> list[int]:
    """Return the descendants of a process that have a name, without those that have just ended."""
    found = []
    for each in descendants(pid):
        with suppress(OSError):
            if Path(f"/proc/{each}/comm").read_text().rstrip("\n") == name:
                found.append(each)
    return found


def processor_seconds(pids: Iterable[int]) -> float:
    """Return the processor time that processes have used until now."""
    ticks = 0
    for pid in pids:
        # Its name may have spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
