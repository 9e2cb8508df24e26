"""Where a model is found: files first, then the cache, then a download that may fail."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from app.detection import Detector, DetectorOptions
from app.detection.models.files import check_pin, find_model
from app.errors import ModelUnavailable, SettingsError


def offline(name: str, target: Path) -> None:
    raise ConnectionError("no route\nto host")


def test_a_hub_name_is_downloaded_once_into_the_cache(tmp_path: Path) -> None:
    asked: list[str] = []

    def fetch(name: str, target: Path) -> None:
        asked.append(name)
        target.write_bytes(b"weights")

    cache = tmp_path / "cache"
    for model in ("yolo26n.pt", "yolo26n"):
        assert find_model(model, cache, fetch) == cache / "yolo26n.pt"
    assert asked == ["yolo26n.pt"]


def test_a_download_that_fails_is_one_line_with_its_mend(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable) as raised:
        find_model("yolo26n.pt", tmp_path, offline)
    assert str(raised.value) == (
        "the model 'yolo26n.pt' is not on this machine and could not be downloaded: "
        "no route to host; give a file in DETECTOR_MODEL"
    )


def test_a_name_that_ultralytics_does_not_offer_is_never_asked_for(tmp_path: Path) -> None:
    for model in ("my-model.pt", "folder/yolo26n.pt"):
        with pytest.raises(SettingsError, match=f"no file in {re.escape(str(Path.cwd()))} and no name"):
            find_model(model, tmp_path, offline)


def test_a_file_wins_over_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("yolo26n.pt").write_bytes(b"mine")
    assert find_model("yolo26n.pt", tmp_path / "cache", offline) == Path("yolo26n.pt")


@pytest.mark.parametrize("name", ["yolov5s.pt", "o'neil.pt"])
def test_a_name_that_ultralytics_would_change_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"mine")
    with pytest.raises(SettingsError, match="rename"):
        find_model(name, tmp_path, offline)


def test_a_file_with_another_sha256_than_the_pinned_one_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "m.pt"
    file.write_bytes(b"weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    check_pin(file, None)
    check_pin(file, sha256.upper())
    file.write_bytes(b"other weights")
    with pytest.raises(SettingsError, match=r"detector\.model_sha256") as raised:
        check_pin(file, sha256)
    assert "\n" not in str(raised.value)
    assert sha256 in str(raised.value)


def test_a_folder_cannot_be_pinned(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="folder"):
        check_pin(tmp_path, "0" * 64)


def test_a_detector_refuses_a_model_that_is_not_the_pinned_one_before_it_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "m.pt"
    file.write_bytes(b"not even a checkpoint")
    with pytest.raises(SettingsError, match="it is not loaded"):
        Detector(DetectorOptions(str(file), device="cpu", model_sha256="0" * 64))
