"""How a test stops a worker exactly before or after one script has run in Valkey."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from redis import Redis

from emailqueue.store.scripts import source

NEVER = b"\0in no request\0"


class ValkeyProxy:
    """
    A unix socket that leads to Valkey until a script comes that it holds back.

    After hold_request("settle") the next settling does not reach Valkey; after hold_reply("settle") it does,
    but its answer does not come back. What is held back is never let go: kill the client, then release().
    """

    def __init__(self, path: Path, *, server: Path, valkey: Redis) -> None:
        self.url = f"unix://{path}"
        self.held = threading.Event()
        """Set once something is held back."""
        self._server, self._valkey = server, valkey
        self._request = self._reply = NEVER
        self._pass = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(20)
        self._sockets = [self._listener]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        for open_socket in self._sockets:
            with suppress(OSError):  # one that is closed already
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()

    def hold_request(self, script: str, *, after: int = 0) -> None:
        """Hold back the first request that runs `script`, `after` so many others of it."""
        self._request, self._pass = self._digest(script), after

    def hold_reply(self, script: str) -> None:
        self._reply = self._digest(script)

    def release(self) -> None:
        """Hold nothing back any more."""
        self._request = self._reply = NEVER
        self.held.clear()

    def _digest(self, script: str) -> bytes:
        # Loaded now: else the reply that is held back would be the one that asks for the script's text.
        return str(self._valkey.script_load(source(script))).encode()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                self._sockets += [client, server]
                connection = _Connection(self, client, server)
                for pump in (connection.ask, connection.answer):
                    threading.Thread(target=pump, daemon=True).start()

    def holds_request(self, request: bytes) -> bool:
        if self._request not in request:
            return False
        self._pass -= 1
        return self._pass < 0

    def holds_reply_to(self, request: bytes) -> bool:
        return self._reply in request


class _Connection:
    def __init__(self, proxy: ValkeyProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._reply_is_held = False

    def ask(self) -> None:
        def forward(request: bytes) -> bool:
            if self._proxy.holds_request(request):
                self._proxy.held.set()
                return False
            # A large request comes in pieces, of which the first names the script.
            self._reply_is_held = self._reply_is_held or self._proxy.holds_reply_to(request)
            self._server.sendall(request)
            return True

        _pump(self._client, forward)

    def answer(self) -> None:
        def forward(reply: bytes) -> bool:
            if self._reply_is_held:
                self._proxy.held.set()
                return False
            self._client.sendall(reply)
            return True

        _pump(self._server, forward)


def _pump(source: socket.socket, forward: Callable[[bytes], bool]) -> None:
    with suppress(OSError):  # one side has hung up
        while (chunk := source.recv(1 << 20)) and forward(chunk):
            pass
