"""The ``sightline`` command, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.cli.main import main
from tests.support.paths import ROOT

SIGHTLINE = Path(sys.executable).parent / "sightline"
_OURS = ("SIGHTLINE_", "DETECTOR_", "KAFKA_", "INFERENCE_", "RAY_")


@dataclass(frozen=True)
class Done:
    """What became of a call: its exit status, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


def shell(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a shell that has none of our variables but these."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(_OURS)}, **environment}


def call(*arguments: str, stdin: str = "", **environment: str) -> Done:
    """Call the command in this process, from the repository's root.

    It has the process to itself: no other thread may read the environment meanwhile, as those of ``idle`` tests may.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        _process(stdin, shell(environment)),
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        status: object = 0
        try:
            main(arguments)
        except SystemExit as ended:
            status = ended.code or 0
    assert isinstance(status, int), status
    return Done(status, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _process(stdin: str, environment: Mapping[str, str]) -> Iterator[None]:
    """Return this process another input and environment for a while."""
    before = (sys.stdin, dict(os.environ))
    sys.stdin = io.StringIO(stdin)
    _set(environment)
    try:
        yield
    finally:
        sys.stdin = before[0]
        _set(before[1])


def _set(environment: Mapping[str, str]) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, as a shell would."""
    return subprocess.run(
        [str(SIGHTLINE), *arguments],
        cwd=ROOT,
        env=shell(environment),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
