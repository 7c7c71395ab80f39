"""A TCP proxy on loopback that cuts connections after so many bytes of the server's."""

import contextlib
import socket
import threading
from collections.abc import Callable, Sequence


class CuttingProxy:
    """Leads to a target. The n-th connection is cut at the n-th number of bytes, later ones are not.

    The server's bytes are handed on as they come, to the very byte at which the connection is cut.
    """

    def __init__(self, target: str, cuts: Sequence[int], on_cut: Callable[[], None]) -> None:
        """Listen.

        Args:
            target: host:port.
            cuts: bytes of the server's after which connections are cut.
            on_cut: called before a connection is closed.
        """
        host, _, port = target.rpartition(":")
        self._upstream = (host, int(port))
        self._cuts = list(cuts)
        self._on_cut = on_cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut = 0
        """Connections that were cut."""
        threading.Thread(target=self._accept_all, daemon=True).start()

    def close(self) -> None:
        # Closing alone does not wake up the thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept_all(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                limit = self._cuts.pop(0) if self._cuts else None
                threading.Thread(target=self._lead, args=(client, limit), daemon=True).start()

    def _lead(self, client: socket.socket, limit: int | None) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._upstream) as server:
            threading.Thread(target=_hand_on, args=(client, server), daemon=True).start()
            left = limit
            while left != 0 and (data := server.recv(65536 if left is None else min(left, 65536))):
                client.sendall(data)
                left = None if left is None else left - len(data)
            if left == 0:
                self._on_cut()
                self.cut += 1
            # Closing alone does nothing as long as the other thread reads.
            client.shutdown(socket.SHUT_RDWR)


def _hand_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):  # either end is gone
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
