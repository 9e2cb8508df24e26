"""``-n auto``, which is in ``addopts``: three workers (pytest-xdist), a test file on one of them, all with Ray on one.

One Ray cluster at a time is what two cores carry, so the tiers with Ray are one group, and it begins first, with the
models beside it: these are the longest. The third worker has the rest meanwhile, much of which waits for a peer, so
that two cores carry it too. Tests that were named on the command line run in the process itself.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

WORKERS = 3
TIERS_WITH_RAY = ("tests/cluster/", "tests/e2e/", "tests/endurance/")
DETECTION = ("tests/unit/detection/", "tests/io/models/")
"""Their models are made once a worker, which takes longer than most tests with them."""
E2E = ("tests/e2e/test_", "tests/e2e/seen/", "tests/e2e/faults/")
"""Those who break the system of ``tests/e2e`` come after those who look."""
ORDER = ("tests/cluster/", *E2E, *TIERS_WITH_RAY, *DETECTION)
"""What begins before all else, in this order: the longest groups, and in one of them its tests."""
NICENESS = 15
"""Of workers without Ray, as Ray gives its own workers by default: what measures a system's seconds comes first."""


def group_of(nodeid: str) -> str:
    """Return the name of the group whose tests run on one worker, in their order: by default a test's file."""
    if nodeid.startswith(TIERS_WITH_RAY):
        return "ray"
    return "detection" if nodeid.startswith(DETECTION) else nodeid.split("::", 1)[0]


class Groups(LoadScopeScheduling):
    """Gives a free worker the next group.

    pytest-xdist 3.8 has ``--dist loadgroup`` for this, which finds no group with pytest 9.2: it sets ``Item._nodeid``,
    and nothing reads that any more.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:
    """Return the scheduler for ``--dist loadscope``, which is in ``addopts``."""
    return Groups(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of workers for ``-n auto``; a table (``--table``) is made by one."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    return 0 if named or config.getoption("--table") else WORKERS


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest groups first, and the tests that share the system of ``tests/e2e`` in their order."""
    items.sort(key=lambda item: _order(item.nodeid))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Lower a worker's priority from its first test without Ray on; it runs none with Ray after it."""
    is_worker = hasattr(item.config, "workerinput")
    if is_worker and group_of(item.nodeid) != "ray" and os.nice(0) < NICENESS:
        os.nice(NICENESS - os.nice(0))


def _order(nodeid: str) -> int:
    return next((rank for rank, place in enumerate(ORDER) if nodeid.startswith(place)), len(ORDER))
