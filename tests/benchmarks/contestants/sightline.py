"""Sightline itself, of this tree or of another commit: each run by its own ``sightline bench``, as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = """
import importlib, sys
module, function, *sys.argv[1:] = sys.argv[1:]
getattr(importlib.import_module(module), function)()
"""


@dataclass(frozen=True)
class Load:
    """What is put on it."""

    cameras: int
    fps: float
    """Frames sampled per second, each camera."""
    seconds: float
    recording: Path
    model: Path | None
    """Its weights; ``None``: the detector that does nothing."""
    warm_up_s: float = 20.0
    """A second replica takes some seconds to come."""


def unpack(commit: str, repository: Path, folder: Path) -> Path:
    """Write a commit's tree into a folder of its own, and return that.

    Raises:
        subprocess.CalledProcessError: git knows no such commit.
    """
    tree, archive = folder / "tree", folder / "tree.tar"
    subprocess.run(["git", "archive", "-o", str(archive), commit], cwd=repository, check=True)
    with tarfile.open(archive) as packed:
        packed.extractall(tree, filter="data")
    archive.unlink()
    return tree


def bench(tree: Path, load: Load) -> Mapping[str, Any]:
    """Run ``sightline bench --json`` of a tree, and return its report."""
    entry = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["scripts"]["sightline"]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    if load.model is not None:
        environment["DETECTOR_MODEL"] = str(load.model)
    options = {
        "--cameras": load.cameras,
        "--fps": load.fps,
        "--seconds": load.seconds,
        "--warm-up": load.warm_up_s,
        "--detector": "no-op" if load.model is None else "model",
        "--recording": load.recording,
    }
    arguments = [str(each) for option in options.items() for each in option]
    command = [sys.executable, "-c", _PROGRAM, *entry.split(":"), "bench", "--json", *arguments]
    ended = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    report: Mapping[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    return report
