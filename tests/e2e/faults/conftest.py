"""One network and one running system for all faults that it survives, and the table of what each did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest

from tests.support.faults import Ground, Network, ground
from tests.support.verdict import VERDICT, Verdict


@pytest.fixture(scope="package")
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Iterator[Ground]:
    """The system by ``serve run``, for every fault that it is to survive."""
    with ground(tmp_path_factory.mktemp("faults"), network) as made:
        yield made


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[Verdict], Verdict]:
    """Take a verdict into the table (``tests/support/verdict.py``), and return it."""

    def take(verdict: Verdict) -> Verdict:
        request.node.user_properties.append((VERDICT, asdict(verdict)))
        return verdict

    return take
