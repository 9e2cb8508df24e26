"""Two workers (pytest-xdist) run the tests beside each other: a test file on one of them, all that needs Ray on one.

One Ray cluster at a time is what two cores carry, so the tiers with Ray are one group, and it begins first: it is the
longest. The other worker has the rest meanwhile. Tests that were named on the command line run in the process itself.
"""

from __future__ import annotations

import pytest

from tests.support.paths import ROOT

WORKERS = 2
RAY = ("cluster", "e2e", "endurance")
"""The tiers that need it."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of workers for ``-n auto``, which is in ``addopts``.

    A table (``--table``) is made by one process.
    """
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    return 0 if named or config.getoption("--table") else WORKERS


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put every test into a group, and the group with Ray first."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    items.sort(key=lambda item: not _needs_ray(item))


def _group(item: pytest.Item) -> str:
    if _needs_ray(item):
        return "ray"
    if "checkpoints" in getattr(item, "fixturenames", ()):
        return "models"  # making them takes longer than most tests with them
    return item.path.relative_to(ROOT).as_posix()


def _needs_ray(item: pytest.Item) -> bool:
    where = item.path.relative_to(ROOT).parts
    return where[0] == "tests" and where[1] in RAY
