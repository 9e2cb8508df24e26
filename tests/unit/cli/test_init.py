"""``sightline init``: the files that it writes, and what it leaves alone."""

from __future__ import annotations

import contextlib
from pathlib import Path

import yaml

from app.cli.console import resolve_settings
from app.cli.init import FILES
from app.settings.settings import Settings
from tests.support.command import call
from tests.support.paths import ROOT


def settings_in(folder: Path) -> Settings:
    with contextlib.chdir(folder):
        return resolve_settings("serve_config.yaml")


def test_the_files_are_those_that_are_shipped_with_their_comments_and_are_read_in_their_folder(tmp_path: Path):
    done = call("init", str(tmp_path / "mine"))
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == sorted(FILES)
    for name, source in FILES.items():
        written, shipped = (tmp_path / "mine" / name).read_text(), (ROOT / source).read_text()
        assert len(written.splitlines()) == len(shipped.splitlines())
        assert "configs/sightline.yaml" not in written
        assert "configs/cameras.yaml" not in written
        assert "configs/rules.yaml" not in written
    mine, shipped_settings = settings_in(tmp_path / "mine"), settings_in(ROOT)
    assert mine.model_dump(exclude={"cameras"}) == shipped_settings.model_dump(exclude={"cameras"})
    assert [camera.id for camera in mine.cameras] == [camera.id for camera in shipped_settings.cameras]


def test_the_camera_of_the_written_file_is_the_camera_of_the_system(tmp_path: Path):
    assert call("init", str(tmp_path)).returncode == 0
    cameras = {"cameras": [{"id": "yard", "url": "synthetic://street?seed=3"}]}
    (tmp_path / "cameras.yaml").write_text(yaml.safe_dump(cameras))
    assert [camera.id for camera in settings_in(tmp_path).cameras] == ["yard"]


def test_nothing_is_written_where_one_of_the_files_exists(tmp_path: Path):
    (tmp_path / "cameras.yaml").write_text("mine")
    done = call("init", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(tmp_path / "cameras.yaml") in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["cameras.yaml"]
    assert (tmp_path / "cameras.yaml").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path):
    (tmp_path / "file").touch()
    done = call("init", str(tmp_path / "file" / "below"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr
