"""The package outside of a checkout: it carries what the demonstration needs, and ``sightline init``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import shell
from tests.support.wheel import unpacked_wheel

ASKED = """
import json
from app.cli.console import CONFIG, resolve_settings
from app.settings.paths import DEMO_MODEL, IS_CHECKOUT
settings = resolve_settings(CONFIG)
cameras = [camera.id for camera in settings.cameras]
print(json.dumps([IS_CHECKOUT, DEMO_MODEL.is_file(), cameras, settings.detector.model]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked_wheel(tmp_path_factory.mktemp("wheel"))


def run(site: Path, folder: Path, *command: str) -> str:
    environment = shell({"PYTHONPATH": str(site), "XDG_STATE_HOME": str(folder)})
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_in_an_empty_folder_the_settings_are_the_demonstration_s_and_its_model_is_there(site: Path, tmp_path: Path):
    is_checkout, model_is_there, cameras, model = json.loads(run(site, tmp_path, "-c", ASKED))
    assert (is_checkout, model_is_there, cameras) == (False, True, ["street-east", "street-west"])
    assert Path(model).is_relative_to(site)


def test_init_writes_the_configuration_of_the_package(site: Path, tmp_path: Path):
    assert "sightline up" in run(site, tmp_path, "-m", "app.cli", "init")
    (tmp_path / "cameras.yaml").write_text('cameras: [{id: yard, url: "synthetic://street"}]')
    assert json.loads(run(site, tmp_path, "-c", ASKED))[2] == ["yard"]
