"""``python -m tests.check``: its steps, one after the other, and its exit status."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.check import NOT_FOUND, STATIC, TESTS, Step, run, steps_of


def step(folder: Path, name: str, code: str) -> Step:
    return Step(name, (sys.executable, "-c", f"open({name!r}, 'w'); {code}"), folder)


@pytest.mark.parametrize(("code", "status"), [("exit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_first_step_that_fails_ends_the_run_with_its_status(tmp_path: Path, code: str, status: int):
    assert run([step(tmp_path, "a", ""), step(tmp_path, "b", code), step(tmp_path, "c", "")]) == status
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_steps_that_all_pass_are_status_0(tmp_path: Path):
    assert run([step(tmp_path, "a", ""), step(tmp_path, "b", "")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_a_program_that_is_not_installed_is_named_with_how_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run([Step("lint", ("no-such-linter",), tmp_path)]) == NOT_FOUND
    assert "no-such-linter is not installed: pip install" in capsys.readouterr().out


def test_every_kind_of_check_has_a_step():
    assert [one.command[0] for one in STATIC[:-1]] == ["ruff", "ruff", "buf", "mypy"]
    assert "app.rpc.generate" in STATIC[-1].command
    assert "pytest" in TESTS.command


def test_coverage_and_the_tests_that_are_named_go_to_pytest():
    assert steps_of([])[-1] == TESTS
    assert steps_of(["--static"])[-1] == STATIC[-1]
    assert steps_of(["--coverage", "tests/unit/core"])[-1].command[len(TESTS.command) :] == (
        "--cov", "--cov-report=term:skip-covered", "tests/unit/core",
    )  # fmt: skip
    assert [one.command[-3:] for one in steps_of(["--slow", "tests/unit/core"])[-2:]] == [
        ("-m", "pytest", "tests/unit/core"), ("-m", "slow", "tests/unit/core"),
    ]  # fmt: skip


def test_tests_are_not_named_where_none_is_run(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        steps_of(["--static", "tests/unit/core"])
    assert "--static runs no test" in capsys.readouterr().err
