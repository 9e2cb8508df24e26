"""One Ray cluster for all tests here; it ends with the last of them."""

from __future__ import annotations

from tests.support.broker import broker  # noqa: F401  # fixtures
from tests.support.ray_cluster import (  # noqa: F401
    cluster,
    grpc_port,
    http_port,
    service,
    topic,
    write_settings,
)
from tests.support.runtime_cameras import cameras  # noqa: F401
