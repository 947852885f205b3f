"""A TCP forwarder to PostgreSQL's Unix socket that can freeze, as a connection pooler can."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self


class Forwarder:
    """Forward each connection to its port, except while `running` is cleared."""

    def __init__(self, socket_dir: Path) -> None:
        self.target = str(socket_dir / ".s.PGSQL.5432")
        self.running = threading.Event()
        self.running.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.sockets = [self.listener]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.running.set()
        for each in self.sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self.target)
                self.sockets += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.running.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
