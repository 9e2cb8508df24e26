"""Users without a home directory: a user id without passwd entry and without HOME, HOME=/, a passwd entry in vain."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import shell
from tests.support.paths import ROOT
from tests.support.rows import Rows

NOBODY = 54321
"""A user id without passwd entry."""
PROGRAM = "import sys; from app.cli.main import main; main(sys.argv[1:])"
SETPRIV = shutil.which("setpriv")
ROOT_ONLY = pytest.mark.skipif(os.getuid() != 0 or SETPRIV is None, reason="only root may become another user")
HOMELESS = [
    pytest.param(str(NOBODY), None, marks=ROOT_ONLY, id="no HOME and no passwd entry"),
    pytest.param(str(NOBODY), "/", marks=ROOT_ONLY, id="another user with HOME=/"),
    pytest.param(str(NOBODY), "/nonexistent", marks=ROOT_ONLY, id="a home that is not there"),
    pytest.param("same", "/", id="HOME=/"),
]


def _become(user: str) -> list[str]:
    if user == "same" or SETPRIV is None:
        return []
    # The interpreter may lie in root's own home: this user may read everything, and write nothing of root's.
    read = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return [SETPRIV, "--reuid", user, "--regid", user, "--clear-groups", *read]


def run_as(
    user: str, home: str | None, folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder, as a user (``same``: this one) with this HOME."""
    variables = {**shell(environment), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    for name in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "YOLO_CONFIG_DIR"):
        variables.pop(name, None)
    if home is not None:
        variables["HOME"] = home
    return subprocess.run(
        [*_become(user), sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.mark.parametrize(("user", "home"), HOMELESS)
@pytest.mark.parametrize("command", ["up", "status"])
def test_without_a_home_one_line_says_what_to_set(user: str, home: str | None, command: str, rows: Rows):
    done = run_as(user, home, Path("/"), command)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "SIGHTLINE_STATE_DIR" in done.stderr
    assert "SIGHTLINE_SPOOL_DIR" in done.stderr
    rows.add(
        "environment",
        "no home: no `HOME` and no passwd entry, `HOME=/`, a home that is not there",
        "one line says what to set",
    )


@pytest.mark.slow
@pytest.mark.parametrize(("user", "home"), HOMELESS)
def test_with_both_folders_set_no_home_is_needed(user: str, home: str | None, tmp_path: Path, rows: Rows):
    done = run_as(
        user,
        home,
        Path("/"),
        "doctor",
        SIGHTLINE_STATE_DIR=str(tmp_path / "state"),
        SIGHTLINE_SPOOL_DIR=str(tmp_path / "spool"),
        SIGHTLINE_CAMERAS="sim=synthetic://street",
        KAFKA_ENABLED="false",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "model" in done.stdout
    assert "failed" not in done.stdout
    rows.add("environment", "no home, both folders set", "no home is looked up")


@pytest.mark.slow
@pytest.mark.parametrize(("user", "home"), HOMELESS)
def test_a_model_to_download_is_refused_in_one_line_where_there_is_no_home(user: str, home: str | None, tmp_path: Path):
    done = run_as(
        user,
        home,
        Path("/"),
        "up",
        SIGHTLINE_STATE_DIR=str(tmp_path / "state"),
        SIGHTLINE_SPOOL_DIR=str(tmp_path / "spool"),
        DETECTOR_MODEL="yolo26n.pt",
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "DETECTOR_MODEL" in done.stderr
