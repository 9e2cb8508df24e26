"""EventStream: the cameras' frames and the system's status, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from fastapi import Response
from starlette.types import Receive, Scope, Send

from app.web.event_fields import EventModel
from app.web.event_hub import EventHub, TooManyViewers, Viewer
from app.web.figures import Model
from app.web.problems import problem
from app.web.schemas import StatusModel

STATUS_PERIOD_S = 2.0
"""How often a stream sends the status; it also detects a closed connection."""


class EventStream(Response):
    """Sends until the client disconnects, and then releases everything.

    ``event: detection`` is a frame (EventModel), ``event: status`` the system (StatusModel), ``event: missed`` the
    number of frames dropped because the client was too slow.
    """

    media_type = "text/event-stream"

    def __init__(self, hub: EventHub, status: Callable[[], Awaitable[StatusModel]], camera_id: str | None) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._status = status
        self._camera_id = camera_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client disconnects; where too many streams are open, answer with a problem document."""
        try:
            await self._send(receive, send)
        except TooManyViewers as refusal:
            await problem(503, str(refusal), headers={"retry-after": "5"})(scope, receive, send)

    async def _send(self, receive: Receive, send: Send) -> None:
        async with self._hub.watch() as viewer:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            sending = asyncio.ensure_future(self._send_events(viewer, send))
            disconnecting = asyncio.ensure_future(_disconnected(receive))
            try:
                await asyncio.wait({sending, disconnecting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sending.cancel()
                disconnecting.cancel()
                await asyncio.gather(sending, disconnecting, return_exceptions=True)

    async def _send_events(self, viewer: Viewer, send: Send) -> None:
        await _write(send, "retry: 1000\n\n")
        missed, next_status = 0, time.monotonic()
        while True:
            if time.monotonic() >= next_status:
                await _write(send, _event("status", await self._status()))
                next_status = time.monotonic() + STATUS_PERIOD_S
            for frame in await viewer.take(max(0.0, next_status - time.monotonic())):
                if self._camera_id in (None, frame.camera_id):
                    await _write(send, _event("detection", EventModel.of(frame)))
            if viewer.missed > missed:
                missed = viewer.missed
                await _write(send, f"event: missed\ndata: {missed}\n\n")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _write(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _event(name: str, model: Model) -> str:
    return f"event: {name}\ndata: {model.model_dump_json(by_alias=True)}\n\n"
