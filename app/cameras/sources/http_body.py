"""Body: the bytes of one HTTP response, as they come."""

from __future__ import annotations

import http.client
import zlib

_CHUNK_BYTES = 65_536
_MOST_INFLATED_BYTES = 1 << 20
"""What is returned at once of a compressed body: a small one may hold very much."""
_GZIP = 16 + zlib.MAX_WBITS


class Body:
    """Reads a response's body; one that is compressed with gzip, though nobody asked for it, is unpacked.

    Errors are those of ``http.client``, and ``zlib.error``.
    """

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self._announced = response.length
        self._came = 0
        is_gzip = response.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip")
        self._inflater = zlib.decompressobj(_GZIP) if is_gzip else None

    def read(self) -> bytes:
        """Wait for more bytes; empty at the end."""
        while True:
            data = self._next()
            if not data or self._inflater is None:
                return data
            unpacked = self._inflater.decompress(data, _MOST_INFLATED_BYTES)
            if unpacked:
                return unpacked

    @property
    def is_over(self) -> bool:
        """Whether it is known to be read to its end."""
        return not self._waiting and (self._response.isclosed() or self._response.length == 0)

    @property
    def is_cut(self) -> bool:
        """Whether fewer bytes came than were announced."""
        return self._announced is not None and self._came < self._announced

    def close(self) -> None:
        """Close the connection; the rest of the answer is not read."""
        self._response.close()

    @property
    def _waiting(self) -> bytes:
        return self._inflater.unconsumed_tail if self._inflater is not None else b""

    def _next(self) -> bytes:
        if self._waiting:
            return self._waiting
        if self._response.isclosed():
            return b""
        data = self._response.read1(_CHUNK_BYTES)
        self._came += len(data)
        if self._response.length == 0:
            self._response.close()  # http.client would wait for one more read before the next request
        return data
