"""Fixtures of the camera tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.cameras.sending.client import DetectClient
from app.settings.service_address import ServiceAddress
from tests.support.cameras import ManualClock, Service


@pytest.fixture
def manual() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    await service.start()
    yield service
    await service.kill()


@pytest.fixture
async def client(service: Service) -> AsyncIterator[DetectClient]:
    client = DetectClient(ServiceAddress(host="127.0.0.1", port=service.port))
    yield client
    await client.close()
