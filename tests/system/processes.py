"""The processes of a served Tallybook: who started whom, and who is alive."""

from pathlib import Path

from tests.system.server import Server, wait_until


def children(pid: int) -> list[int]:
    """Return the process ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


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


def web_servers(pid: int) -> list[int]:
    """Return the process ids of web servers that serve, the process `pid`, has started."""
    return [child for child in children(pid) if "config.server.webserver" in command_line(child)]


def web_server(server: Server) -> int:
    """Return the process id of the web server."""
    assert server.process
    return web_servers(server.process.pid)[0]


def wait_for_workers(server: Server) -> list[int]:
    """Return the process ids of the web server's workers as soon as there are any."""
    workers: list[int] = []

    def find() -> bool:
        try:
            workers[:] = children(web_server(server))
        except (OSError, IndexError):
            return False
        return bool(workers)

    wait_until(find, 30)
    return workers
