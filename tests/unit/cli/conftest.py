"""A running system for the commands that ask one: the real API on a port, with stand-ins behind it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from app.web import build_api
from tests.support.changing_system import GATE, Changing


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Changing]:
    """A system that runs on a free port; ``serve_config.yaml`` in ``tmp_path`` describes it."""
    made: list[Changing] = []

    async def serve() -> None:
        made.append(Changing(tmp_path / "state", GATE))
        await made[0].changes.open(0)
        await made[0].rules.open(0)
        await server.serve()

    server = uvicorn.Server(uvicorn.Config(build_api(lambda: made[0]), port=0, log_level="error"))
    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    file = tmp_path / "serve_config.yaml"
    file.write_text(f"http_options: {{port: {port}}}\napplications: [{{name: cameras}}]\n")
    yield made[0]
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def config(system: Changing, tmp_path: Path) -> str:
    """The path of the Serve configuration of a running system."""
    return str(tmp_path / "serve_config.yaml")
