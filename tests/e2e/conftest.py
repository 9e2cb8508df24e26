"""One running system for all tests that need none of their own: those in ``seen`` look at it, ``faults`` breaks it.

It is begun by the first test that needs it; ``tests/support/workers.py`` puts those that start a system themselves
before them, and those that break it last.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.faults import Ground, Network, ground
from tests.support.http_server import HttpServer
from tests.support.watched_system import SOURCE, STEADY, Watched


@pytest.fixture(scope="package")
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture(scope="package")
def source() -> Iterator[HttpServer]:
    """What the camera ``gate`` looks at."""
    with HttpServer(fps=10) as made:
        yield made


@pytest.fixture(scope="package")
def ray_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="slr", dir="/tmp"))  # Ray keeps sockets there: its path must be short
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
def system(
    tmp_path_factory: pytest.TempPathFactory, network: Network, source: HttpServer, ray_folder: Path
) -> Iterator[Ground]:
    """The system by ``serve run``, on ports of its own, with a budget that a busy machine can keep."""
    street = f"{STEADY}=synthetic://street?seed=7&width=640&height=360&objects=6"
    environment = {
        "RAY_TMPDIR": str(ray_folder),
        "SIGHTLINE_CAMERAS": f"{street},{SOURCE}={source.url('live')}",
        "SIGHTLINE_LATENCY_BUDGET_MS": "1000",
    }
    with ground(tmp_path_factory.mktemp("system"), network, wait=False, environment=environment) as made:
        # Nobody calls before it is there: Serve's proxy logs a call to an application that it does not know.
        made.system.wait_for_line("events/s", 240)
        made.wait_until_it_works()
        yield made


@pytest.fixture(scope="package")
def watched(system: Ground, source: HttpServer, ray_folder: Path) -> Watched:
    return Watched(system.system, system.config, system.api, ray_folder / "ray", source)
