"""A broker of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.core.ports import free_port
from app.publisher.kafka.embedded_broker import EmbeddedBroker


@pytest.fixture(scope="package")
def broker() -> Iterator[str]:
    """The address of a broker that all tests of a package share."""
    with EmbeddedBroker(port=free_port()) as running:
        yield running.address
