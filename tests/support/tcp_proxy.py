"""TcpProxy: stands between a client and a server of a test, and cuts, holds or swallows what passes."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType

_CHUNK = 65_536


class TcpProxy:
    """Forwards connections to one server until reported otherwise.

    ``cut`` ends all connections and refuses new ones, as a dead host does; ``hold`` keeps them open and moves nothing,
    as a lost route does; ``swallow_answers`` lets requests through and drops what the server says. ``mend`` ends
    connections that were tampered with, and forwards again.
    """

    def __init__(self, host: str, port: int, listen_port: int = 0) -> None:
        """Listen on a port of 127.0.0.1 (0: any free one) for connections to ``host:port``."""
        self._server = (host, port)
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._moves = threading.Event()
        self._moves.set()
        self._answers = True
        self._closed = False
        self._port = listen_port
        self._listener: socket.socket | None = None
        self._listen()

    @property
    def port(self) -> int:
        """Where it listens; the same across cuts."""
        return self._port

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"127.0.0.1:{self._port}"

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self._stop_listening()
        self._end_all()

    def hold(self) -> None:
        """Keep connections, move no byte."""
        self._moves.clear()

    def swallow_answers(self) -> None:
        """Let requests through, and drop every answer from now on."""
        self._answers = False

    def mend(self) -> None:
        """Be a plain way again; connections that missed something are ended."""
        tampered = not (self._moves.is_set() and self._answers)
        if tampered:
            self._end_all()
        self._answers = True
        self._moves.set()
        if self._listener is None:
            self._listen()

    def close(self) -> None:
        """End it for good."""
        self._closed = True
        self._moves.set()
        self.cut()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self._port))
        listener.listen(64)
        self._port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            # A thread in accept() keeps the socket alive: shutdown wakes it, close alone would not.
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _end_all(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            _end(*pair)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._server, 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self._lock:
                if self._listener is not listener or self._closed:
                    _end(*pair)
                    return
                self._pairs.add(pair)
            threading.Thread(target=self._pump, args=(client, server, False, pair), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True, pair), daemon=True).start()

    def _pump(
        self, source: socket.socket, target: socket.socket, is_answer: bool, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                self._moves.wait()
                if not is_answer or self._answers:
                    target.sendall(data)
        _end(*pair)
        with self._lock:
            self._pairs.discard(pair)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
