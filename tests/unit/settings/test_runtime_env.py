"""What a cluster is reported of this shell's settings, and what its dashboard must not show."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

import yaml

from app.settings.loading import load_settings
from app.settings.runtime_env import with_environment
from tests.support.paths import ROOT

CANARY = "canary-7f3a"


def handed(environment: Mapping[str, str], folder: Path) -> list[dict[str, str]]:
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    reported = with_environment(config, environment, load_settings(environment).cameras, folder)
    return [application["runtime_env"]["env_vars"] for application in reported["applications"]]


def test_every_application_gets_the_shell_s_settings_and_nothing_else_of_the_shell(tmp_path: Path):
    secret = tmp_path / "token"
    secret.write_text("hush")
    shell = {"INFERENCE_FPS": "2", "SIGHTLINE_TOKEN_FILE": str(secret), "HOME": "/root", "KAFKA_TOPIC": ""}
    for variables in handed(shell, tmp_path):
        assert variables.pop("SIGHTLINE_CAMERAS") == str(tmp_path / "cameras.yaml")
        assert variables == {"INFERENCE_FPS": "2", "SIGHTLINE_TOKEN_FILE": str(secret), "grpc_proxy": ""}


def test_what_is_handed_on_resolves_to_the_very_same_settings(tmp_path: Path):
    shell = {
        "SIGHTLINE_CAMERAS": f"gate=rtsp://viewer:{CANARY}${{HOME}}@h/1,yard=/v/a.mp4?loop=false,sim=synthetic://street?seed=3",
        "KAFKA_SASL_USERNAME": "viewer",
        "KAFKA_SASL_PASSWORD": CANARY,
        "SIGHTLINE_TOKEN": CANARY,
        "INFERENCE_FPS": "2.5",
    }
    first, second = handed(shell, tmp_path)
    assert first == second
    assert load_settings(first) == load_settings(shell)


def test_no_secret_stands_in_what_the_cluster_shows(tmp_path: Path):
    shell = {
        "SIGHTLINE_CAMERAS": f"gate=rtsp://viewer:{CANARY}@h/1",
        "SIGHTLINE_TOKEN": CANARY,
        "KAFKA_SASL_PASSWORD": CANARY,
    }
    assert CANARY not in repr(handed(shell, tmp_path))
    holding = [path for path in tmp_path.iterdir() if CANARY in path.read_text()]
    assert len(holding) == 3
    assert {path.stat().st_mode & 0o777 for path in holding} == {0o600}


def test_variables_of_a_cameras_file_are_resolved_here_where_they_are_known(tmp_path: Path):
    cameras = tmp_path / "mine.yaml"
    cameras.write_text("cameras: [{id: gate, url: 'rtsp://viewer:${GATE_PASSWORD}@h/1', fps: 4, max_side: 640}]")
    shell = {"SIGHTLINE_CAMERAS": str(cameras), "GATE_PASSWORD": CANARY}
    folder = tmp_path / "private"
    folder.mkdir()
    variables = handed(shell, folder)[0]
    assert "GATE_PASSWORD" not in variables
    assert load_settings(variables).cameras == load_settings(shell).cameras


def test_files_named_relative_to_this_shell_are_found_from_anywhere(tmp_path: Path):
    assert handed({"DETECTOR_MODEL": "configs/models/street.pt"}, tmp_path)[0]["DETECTOR_MODEL"] == str(
        ROOT / "configs/models/street.pt"
    )
    assert handed({"DETECTOR_MODEL": "yolo26n.pt"}, tmp_path)[0]["DETECTOR_MODEL"] == "yolo26n.pt"


def test_a_recording_named_relative_to_this_shell_is_found_from_anywhere(tmp_path: Path):
    variables = handed({"SIGHTLINE_CAMERAS": "a=recordings/clip.mp4?loop=false"}, tmp_path)[0]
    (camera,) = load_settings(variables).cameras
    assert camera.url.path == str(Path("recordings/clip.mp4").absolute())
    assert not camera.url.loop


def test_the_settings_file_and_folders_named_relative_to_this_shell_are_the_same_from_anywhere(tmp_path: Path):
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    shell = {"SIGHTLINE_SPOOL_DIR": "not-there-yet/spool", "SIGHTLINE_STATE_DIR": "~/state"}
    reported = with_environment(config, shell, (), tmp_path)["applications"]
    assert {one["args"]["settings"] for one in reported} == {str(ROOT / "configs" / "sightline.yaml")}
    variables = reported[0]["runtime_env"]["env_vars"]
    assert variables["SIGHTLINE_SPOOL_DIR"] == str(Path("not-there-yet/spool").absolute())
    assert variables["SIGHTLINE_STATE_DIR"] == str(Path.home() / "state")


def test_a_rules_file_named_relative_to_this_shell_is_found_from_anywhere_and_the_shipped_one_is_not_named(
    tmp_path: Path,
):
    (tmp_path / "mine.yaml").write_text("rules: []")
    (tmp_path / "sightline.yaml").write_text("rules: mine.yaml")
    config = {"applications": [{"name": "cameras", "args": {"settings": "sightline.yaml"}}]}
    with contextlib.chdir(tmp_path):
        (by_file,) = with_environment(config, {}, (), tmp_path)["applications"]
        (by_shell,) = with_environment({"applications": [{}]}, {"SIGHTLINE_RULES": "mine.yaml"}, (), tmp_path)[
            "applications"
        ]
    for application in (by_file, by_shell):
        assert application["runtime_env"]["env_vars"]["SIGHTLINE_RULES"] == str(tmp_path / "mine.yaml")
    assert "SIGHTLINE_RULES" not in handed({}, tmp_path)[0]
