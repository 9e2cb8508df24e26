"""DelayingProxy: a TCP proxy that adds a fixed delay each way, as distance does, and may be cut; it limits no rate."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType


class DelayingProxy:
    """Forwards connections to one server, every byte ``delay_s`` later; runs in a thread of its own."""

    def __init__(self, delay_s: float, host: str = "127.0.0.1") -> None:
        """Listen on a free port; connections are refused until :attr:`target` is set.

        Args:
            delay_s: each way, seconds; a round trip takes twice as long.
            host: where it listens, and where the server is.
        """
        self.delay_s = delay_s
        self.target = 0
        """The server's port."""
        self._is_cut = False
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._connections: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="delaying-proxy", daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._accept, host, 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(10)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def address(self) -> str:
        """``host:port`` for clients."""
        return f"{self._host}:{self.port}"

    def cut(self) -> None:
        """End all connections, and each new one at once."""
        self._is_cut = True
        asyncio.run_coroutine_threadsafe(self._end_connections(), self._loop).result(10)

    def mend(self) -> None:
        """Forward again."""
        self._is_cut = False

    def close(self) -> None:
        """End all connections, and its thread."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def __enter__(self) -> DelayingProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def _end(self) -> None:
        self._server.close()
        await self._end_connections()

    async def _end_connections(self) -> None:
        for connection in tuple(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        ends = [writer]
        try:
            if self._is_cut:
                return
            server_reader, server_writer = await asyncio.open_connection(self._host, self.target)
            ends.append(server_writer)
            await asyncio.gather(self._forward(reader, server_writer), self._forward(server_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            for end in ends:
                end.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sending = asyncio.create_task(self._send(due, writer))
        try:
            while data := await reader.read(65_536):
                due.put_nowait((self._loop.time() + self.delay_s, data))
            due.put_nowait((self._loop.time() + self.delay_s, b""))
            await sending
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sending

    async def _send(self, due: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            at, data = await due.get()
            await asyncio.sleep(max(0.0, at - self._loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()
