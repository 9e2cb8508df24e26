"""Options, fixtures and hooks of all test tiers."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import jsonschema
import pytest
from hypothesis import settings

# Each worker, and each process that a test starts, would compile all modules again: 20 s of processor time a worker.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest.register_assert_rewrite("tests.support")

from tests.support.idle import pytest_pyfunc_call  # noqa: E402, F401  # a hook
from tests.support.model_files import checkpoints, models, other_tasks  # noqa: E402, F401  # fixtures
from tests.support.paths import ROOT  # noqa: E402
from tests.support.rows import Rows, RowsOfWorkers, rows_of  # noqa: E402
from tests.support.table import Table  # noqa: E402
from tests.support.workers import (  # noqa: E402, F401  # hooks
    pytest_collection_modifyitems,
    pytest_runtest_setup,
    pytest_xdist_auto_num_workers,
    pytest_xdist_make_scheduler,
)

# An example that takes long says that the machine is busy, and nothing else.
settings.register_profile("sightline", deadline=None)
settings.load_profile("sightline")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(RowsOfWorkers())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", help="write the table that the tests make (faults, soak, streams) to this file")
    parser.addoption(
        "--cycles",
        type=int,
        default=200,
        help="how many cameras test_runtime_cycles adds and removes; with less than 200, noise may break its bounds",
    )


@pytest.fixture(scope="session")
def table(request: pytest.FixtureRequest) -> Table:
    given = request.config.getoption("--table")
    return Table(Path(given) if given else None)


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> Rows:
    return rows_of(request.config)


@pytest.fixture(scope="session")
def event_schema() -> jsonschema.Draft202012Validator:
    """The published schema, formats checked."""
    schema = json.loads((ROOT / "proto" / "detection_event.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the tables below the results, and write them where ``--table`` says."""
    from tests.support.verdict import VERDICT, Verdict, table_of

    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    verdicts = [Verdict(**row) for report in reports for name, row in report.user_properties if name == VERDICT]
    given = config.getoption("--table")
    table = Table(Path(given) if given else None)
    if verdicts:
        terminalreporter.section("faults")
        table.write(table_of(verdicts))
    tried = rows_of(config)
    # A row of a test with parameters speaks for all of them: a run with failures makes no table.
    if tried and not terminalreporter.getreports("failed") and not terminalreporter.getreports("error"):
        terminalreporter.section("what was tried")
        table.write(tried.lines())
