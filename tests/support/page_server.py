"""A stand-in system that serves the page, for what a real one cannot be brought to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import cv2
import numpy as np
import uvicorn

from app.cameras import Picture
from app.core.ports import free_ports
from app.web import build_api
from tests.support.api_system import NOW, System
from tests.support.waiting import wait_for

PICTURE = cv2.imencode(".jpg", np.full((36, 64, 3), 90, np.uint8))[1].tobytes()
LINK = "document.getElementById('link').textContent"
LINKED = f"{LINK} === 'connected'"
"""True in a page that follows."""


class Seen(System):
    """The stand-in, with a picture that is one."""

    async def picture(self, camera_id: str) -> Picture | None:
        return Picture(camera_id, "7-1", NOW, True, PICTURE)


S = TypeVar("S", bound=System)


@contextmanager
def serving(make: Callable[[], S]) -> Iterator[tuple[str, Callable[[], S]]]:
    """Serve the page over a system; return its address, and the system."""
    (port,) = free_ports(1)
    made: list[S] = []

    def host() -> S:
        made[:] = made or [make()]  # on the server's own event loop
        return made[0]

    server = uvicorn.Server(uvicorn.Config(build_api(host), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, 30, "the server")
    try:
        yield f"http://127.0.0.1:{port}/", host
    finally:
        server.should_exit = server.force_exit = True  # it would wait for streams that are open
        thread.join(10)
