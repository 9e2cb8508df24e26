"""Check everything: ``python -m tests.check [--static | --slow] [--coverage] [TESTS]``.

The steps run one after the other. The first that fails ends the run with its exit status.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.paths import ROOT

NOT_FOUND = 127
"""Exit status where a program is not installed, as a shell has it."""
COVERAGE = ("--cov", "--cov-report=term:skip-covered")


@dataclass(frozen=True)
class Step:
    """One command, and the folder in which it runs."""

    name: str
    command: tuple[str, ...]
    folder: Path = ROOT


STATIC = (
    Step("format", ("ruff", "format", "--check", ".")),
    Step("lint", ("ruff", "check", ".")),
    Step("lint of the protocol", ("buf", "lint"), ROOT / "proto"),
    Step("types", ("mypy",)),
    Step("generated code", (sys.executable, "-m", "app.rpc.generate", "--check")),
)
TESTS = Step("tests", (sys.executable, "-m", "pytest"))
SLOW = Step("slow tests", (sys.executable, "-m", "pytest", "-m", "slow"))


def run(steps: Sequence[Step]) -> int:
    """Run steps until one fails; return its exit status, or 0."""
    # Programs of this virtual environment are found whether or not it is active.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {**os.environ, "PATH": path}
    for step in steps:
        print(f"\n=== {step.name}: {shlex.join(step.command)}", flush=True)
        try:
            status = subprocess.run(step.command, cwd=step.folder, env=environment, check=False).returncode
        except FileNotFoundError:
            print(f"{step.command[0]} is not installed: pip install -e '.[dev]' -c configs/constraints.txt")
            return NOT_FOUND
        if status:
            print(f"\n=== failed: {step.name} (exit status {status})", flush=True)
            return status if status > 0 else 128 - status  # as a shell has it
    print("\n=== all passed", flush=True)
    return 0


def steps_of(arguments: Sequence[str] | None) -> list[Step]:
    """Return the steps that the arguments name; ``None``: those of this process. A mistake in them ends it."""
    parser = argparse.ArgumentParser(prog="python -m tests.check", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--static", action="store_true", help="run no test: format, lint, types, generated code")
    which.add_argument("--slow", action="store_true", help="run the slow tests as well")
    parser.add_argument("--coverage", action="store_true", help="measure which lines the tests run, and print it")
    parser.add_argument("tests", nargs="*", metavar="TESTS", help="files and folders of tests; all by default")
    chosen = parser.parse_args(arguments)
    if chosen.static:
        if chosen.coverage or chosen.tests:
            parser.error("--static runs no test")
        return [*STATIC]
    options = (*(COVERAGE if chosen.coverage else ()), *chosen.tests)
    tests = replace(TESTS, command=(*TESTS.command, *options))
    return [*STATIC, tests, *((replace(SLOW, command=(*SLOW.command, *chosen.tests)),) if chosen.slow else ())]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status of the checks that the arguments name."""
    return run(steps_of(arguments))


if __name__ == "__main__":
    sys.exit(main())
