"""What stands in a mail server's place while it is away, and counts who calls."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class AbsentServer:
    """
    Hangs up on whoever connects to a port of 127.0.0.1.

        with AbsentServer(port).listen() as absent:
            ...
        assert len(absent.calls) <= 30
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.calls: list[float] = []
        """When a connection was made, as time.time() has it."""

    @contextmanager
    def listen(self) -> Iterator[AbsentServer]:
        """Take the port for the length of the block. Raises OSError while another has it."""
        ended = threading.Event()
        with socket.create_server(("127.0.0.1", self.port), backlog=100) as listener:
            listener.settimeout(0.05)
            thread = threading.Thread(target=self._serve, args=[listener, ended], daemon=True)
            thread.start()
            try:
                yield self
            finally:
                ended.set()
                thread.join()

    def _serve(self, listener: socket.socket, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                connection, _address = listener.accept()
            except TimeoutError:
                continue
            self.calls.append(time.time())
            connection.close()
