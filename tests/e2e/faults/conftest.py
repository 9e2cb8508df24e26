"""One network and one running system for all faults that it survives, and the table of what each did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.faults import Ground, Network, ground
from tests.support.verdict import Verdict, write_table

VERDICTS = pytest.StashKey[list[Verdict]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is a fault; those marked ``long`` as well are left out of the default command."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="package")
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory, network: Network) -> Iterator[Ground]:
    """The system by ``serve run``, for every fault that it is to survive."""
    with ground(tmp_path_factory.mktemp("faults"), network) as made:
        yield made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the table below the results, and write it where ``--table`` says."""
    verdicts = config.stash.get(VERDICTS, [])
    if verdicts:
        given = config.getoption("--table")
        terminalreporter.section("faults")
        terminalreporter.write(write_table(verdicts, Path(given) if given else None))


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[Verdict], Verdict]:
    """Take a verdict into the table, and give it back."""

    def take(verdict: Verdict) -> Verdict:
        pytestconfig.stash.setdefault(VERDICTS, []).append(verdict)
        return verdict

    return take
