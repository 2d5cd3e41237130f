"""A port that speaks TLS in front of a Valkey that cannot, with the certificate that a test wants."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

import trustme


class TlsProxy:
    """Leads from a port on loopback to the unix socket `server`, and shows a certificate of `authority` for `name`."""

    def __init__(self, server: Path, *, authority: trustme.CA, name: str = "127.0.0.1") -> None:
        self._server = server
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(self._context)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self.place = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.clients = 0
        """Clients that accepted the certificate."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        for open_socket in self._sockets:
            with suppress(OSError):  # one that is closed already
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                raw, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[raw], daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        self._sockets.append(raw)
        with suppress(OSError):  # a client that does not trust us hangs up, which is an SSLError here
            client = self._context.wrap_socket(raw, server_side=True)
            self._sockets.append(client)
            server = socket.socket(socket.AF_UNIX)
            self._sockets.append(server)
            server.connect(str(self._server))
            self.clients += 1
            threading.Thread(target=_pump, args=[server, client], daemon=True).start()
            _pump(client, server)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # one side has hung up
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
