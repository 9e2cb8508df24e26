"""Frames never go through an HTTP proxy of the environment: a real server, and a proxy where nothing listens."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import pytest

from tests.support.cameras import Service
from tests.support.paths import ROOT
from tests.support.rows import Rows

PROGRAM = """
import asyncio, sys
from datetime import datetime, timezone
from app.cameras.sending.client import DetectClient
from app.cameras.frame import EncodedFrame
from app.settings.service_address import ServiceAddress

async def main():
    addresses = [ServiceAddress.parse(one) for one in sys.argv[1:]]
    client = DetectClient(addresses[0])
    client.route(addresses)
    frame = EncodedFrame(
        camera_id="gate", frame_id="7-3", epoch=7, sequence=4, captured_at=datetime.now(timezone.utc), captured=0.0,
        jpeg=b"\\xff\\xd8\\xff", source_width=64, source_height=48, encode_ms=1.0,
    )
    outcome = await client.detect(frame, 20.0)
    await client.close()
    print(outcome.fate.value, outcome.detail)

asyncio.run(main())
"""


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    await service.start()
    yield service
    await service.kill()


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
@pytest.mark.parametrize("hosts", [("127.0.0.1",), ("127.0.0.1", "127.0.0.2")], ids=["one", "several"])
async def test_a_frame_is_sent_past_the_proxy_of_the_environment(
    service: Service, variable: str, hosts: tuple[str, ...], rows: Rows
):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        *[f"{host}:{service.port}" for host in hosts],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), variable: "http://127.0.0.1:9"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert out.decode().split()[0] == "accepted", out.decode()
    assert len(service.requests) == 1
    rows.add(
        "environment",
        "`http_proxy`, `https_proxy`, `grpc_proxy` to nowhere; one Serve proxy, and two",
        "frames are accepted",
    )
