"""Prometheus beside the running system."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.watched_system import Watched


@pytest.fixture(scope="package")
def scraping(watched: Watched, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus as shipped."""
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), watched.targets) as found:
        yield found
