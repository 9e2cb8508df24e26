"""What ``serve deploy`` may say of cameras without restarting their manager."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import SettingsError
from app.settings.camera_lists import CameraListSource
from app.settings.live import configured_budget_ms, configured_camera_list

USUAL = CameraListSource(file=Path("/etc/cameras.yaml"))


@pytest.mark.parametrize("nothing", [None, {}, {"cameras": None}])
def test_without_a_word_of_it_the_cameras_are_where_the_settings_say(nothing: object):
    assert configured_camera_list(nothing, USUAL, by_environment=False) == USUAL


def test_a_list_a_file_or_entries_may_be_given():
    assert configured_camera_list({"cameras": "a=rtsp://h/1"}, USUAL, by_environment=False).inline == "a=rtsp://h/1"
    assert configured_camera_list({"cameras": "/other.yaml"}, USUAL, by_environment=False).file == Path("/other.yaml")
    (camera,) = (
        configured_camera_list({"cameras": [{"id": "a", "url": "rtsp://${H}/1"}]}, USUAL, by_environment=False)
        .read({"H": "gate"})
        .entries
    )
    assert str(camera.url) == "rtsp://gate/1"


def test_the_environment_wins():
    assert configured_camera_list({"cameras": "a=rtsp://h/1"}, USUAL, by_environment=True) == USUAL


@pytest.mark.parametrize("wrong", [5, [], {"camera": "x"}, {"cameras": 5}, {"cameras": {}}])
def test_anything_else_is_a_mistake_in_one_line(wrong: object):
    with pytest.raises(SettingsError, match="user_config") as caught:
        configured_camera_list(wrong, USUAL, by_environment=False)
    assert "\n" not in str(caught.value)


def test_the_budget_is_what_is_given_else_what_the_settings_say():
    assert configured_budget_ms({"latency_budget_ms": 150}, 200, by_environment=False) == 150
    assert configured_budget_ms({"latency_budget_ms": 150}, 200, by_environment=True) == 200
    for nothing in (None, {}, {"latency_budget_ms": None}):
        assert configured_budget_ms(nothing, 200, by_environment=False) == 200


@pytest.mark.parametrize("wrong", [0, 600_001, "150", 1.5, True])
def test_a_budget_that_is_none_is_a_mistake_in_one_line(wrong: object):
    with pytest.raises(SettingsError, match=r"user_config\.latency_budget_ms: .*; allowed are"):
        configured_budget_ms({"latency_budget_ms": wrong}, 200, by_environment=False)
