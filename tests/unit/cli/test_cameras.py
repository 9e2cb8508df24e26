"""``sightline cameras add|remove`` against the real API on a port, with stand-ins for cameras."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import call


def test_a_camera_is_added_changed_and_removed(config: str, tmp_path: Path):
    added = call("cameras", "add", "yard", "rtsp://viewer:pa55@yard.example/1", "--fps", "2", "--config", config)
    assert (added.returncode, added.stdout) == (0, "yard is added: rtsp://viewer:***@yard.example/1\n")
    again = call("cameras", "add", "yard", "clip.mp4?loop=false", "--config", config)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr == "sightline: there is a camera 'yard' already\n"
    how = ("--replace", "--resource", "edge=0.5", "--json", "--config", config)
    changed = json.loads(call("cameras", "add", "yard", "clip.mp4?loop=false", *how).stdout)
    assert changed["settings"]["resources"] == {"edge": 0.5}
    assert changed["url"].startswith("/")
    assert changed["url"].endswith("/clip.mp4?loop=false")
    removed = call("cameras", "remove", "yard", "--config", config)
    assert removed.returncode == 0
    assert removed.stdout.startswith("yard is removed")
    gone = call("cameras", "remove", "yard", "--config", config)
    assert (gone.returncode, gone.stderr) == (2, "sightline: there is no camera 'yard'\n")


def test_a_camera_is_added_with_every_option_that_it_may_have(config: str):
    options = ("--fps", "2", "--max-side", "640", "--jpeg-quality", "70", "--stall-s", "20", "--confidence", "0.4")
    options += ("--decode", "auto", "--model", "default", "--no-tracking")
    masks = ("--mask", "0,0 0.3,0 0.3,0.2", "--mask", "1,1 0.5,1 1,0.5", "--classes", "person, car")
    added = call("cameras", "add", "yard", "rtsp://yard.example/1", *options, *masks, "--json", "--config", config)
    assert json.loads(added.stdout)["settings"] == {
        "url": "rtsp://yard.example/1", "fps": 2.0, "max_side": 640, "jpeg_quality": 70, "stall_s": 20.0,
        "decode": "auto",
        "masks": [[[0.0, 0.0], [0.3, 0.0], [0.3, 0.2]], [[1.0, 1.0], [0.5, 1.0], [1.0, 0.5]]],
        "model": "default", "confidence": 0.4, "classes": ["person", "car"], "tracking": False, "resources": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "refusal"),
    [
        ("--mask", "0,0 1,0", "--mask: '0,0 1,0': allowed is x,y x,y x,y with at least three points"),
        ("--mask", "0,0 1,0 1,1.5", "masks.0.2.1"),
        ("--mask", "0,0 0.5,0.5 1,1", "its points lie on one line"),
        ("--confidence", "1.5", "confidence"),
        ("--stall-s", "0.1", "stall_s"),
        ("--model", "ppe", "model: input should be 'default'"),
        ("--decode", "vaapi", "decode: input should be 'auto', 'cpu', 'cuda', 'qsv' or 'drm'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_line(config: str, option: str, value: str, refusal: str):
    refused = call("cameras", "add", "yard", "rtsp://yard.example/1", option, value, "--config", config)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refusal in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["cam 12:30.mp4", "at@home.mp4", "./gate:1.mp4"])
def test_a_path_is_made_absolute_whatever_its_name(config: str, name: str):
    added = json.loads(call("cameras", "add", "yard", name, "--json", "--config", config).stdout)
    assert added["url"] == str(Path(name).absolute())


def test_a_home_that_is_not_there_is_one_line(config: str):
    refused = call("cameras", "add", "yard", "~nobody-of-this-name/clip.mp4", "--config", config)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "sightline: url: there is no home for ~nobody-of-this-name; allowed is a file's path\n"


def test_an_address_with_a_password_may_come_by_standard_input(config: str):
    added = call("cameras", "add", "yard", "-", "--config", config, stdin="rtsp://viewer:pa55@yard.example/1\n")
    assert added.stdout == "yard is added: rtsp://viewer:***@yard.example/1\n"


def test_what_the_system_refuses_as_wrong_is_one_line_without_a_secret(config: str):
    refused = call("cameras", "add", "yard", "rtsp://viewer:pa55/x@yard.example/1", "--config", config)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1
    assert "pa55" not in refused.stderr
    assert "%2F" in refused.stderr
