from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.detection import DetectorOptions
from app.errors import SettingsError
from app.settings.environment import named_by_the_environment
from app.settings.live import LiveDetector, check_user_configs, parse_live

OPTIONS = DetectorOptions(model="m.pt", confidence=0.3, iou=0.6, classes=("person",))


def config(**deployment: Any) -> dict[str, Any]:
    return {"applications": [{"name": "a", "deployments": [deployment]}, {"name": "b"}]}


def test_without_a_user_config_the_settings_hold():
    for given in (None, {}):
        assert OPTIONS.changed_by(parse_live(LiveDetector, given)) == OPTIONS


def test_what_is_given_wins_over_the_settings_and_nothing_else_changes():
    assert OPTIONS.changed_by(parse_live(LiveDetector, {"confidence": 0.0})) == replace(OPTIONS, confidence=0.0)
    assert OPTIONS.changed_by(parse_live(LiveDetector, {"model": "n.pt"})) == replace(OPTIONS, model="n.pt")
    assert OPTIONS.changed_by(parse_live(LiveDetector, {"classes": "car, truck"})).classes == ("car", "truck")
    assert OPTIONS.changed_by(parse_live(LiveDetector, {"classes": ["car"]})).classes == ("car",)


def test_an_empty_list_of_classes_keeps_all():
    assert OPTIONS.changed_by(parse_live(LiveDetector, {"classes": []})).classes == ()


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        ({"confidence": 1.7}, "user_config.confidence: 1.7: "),
        ({"iou": "high"}, "user_config.iou: 'high': "),
        ({"classes": 7}, "user_config.classes: 7: "),
        ({"device": "cpu"}, "user_config.device cannot be changed while it runs; allowed are model, model_sha"),
        ({"model": ""}, "user_config.model: '': "),
        ({"model_sha256": "0" * 64}, "user_config: model_sha256 needs the model that it pins"),
        ([0.5], "user_config is a list; allowed is a mapping of model, model_sha256, confidence, iou, classes"),
    ],
)  # fmt: skip
def test_a_wrong_one_is_one_line_that_names_the_key(given: object, reported: str):
    with pytest.raises(SettingsError) as refused:
        parse_live(LiveDetector, given)
    assert str(refused.value).startswith(reported)
    assert "\n" not in str(refused.value)


def test_the_environment_wins_and_what_stands_there_in_vain_is_reported():
    live = parse_live(LiveDetector, {"confidence": 0.9, "iou": 0.1})
    assert OPTIONS.changed_by(live, {"confidence"}) == replace(OPTIONS, iou=0.1)
    assert live.without_effect({"confidence", "classes"}) == ["confidence"]


def test_a_model_that_is_pinned_is_not_replaced_by_one_that_is_not():
    pinned = replace(OPTIONS, model_sha256="0" * 64)
    with pytest.raises(SettingsError, match=r"^user_config\.model: the settings pin their model"):
        pinned.changed_by(parse_live(LiveDetector, {"model": "n.pt"}))
    other = pinned.changed_by(parse_live(LiveDetector, {"model": "n.pt", "model_sha256": "1" * 64}))
    assert (other.model, other.model_sha256) == ("n.pt", "1" * 64)
    # Where the environment names the model, its pin stays with it.
    assert pinned.changed_by(parse_live(LiveDetector, {"model": "n.pt", "model_sha256": "1" * 64}), {"model"}) == pinned


def test_what_the_environment_has_set_is_known_by_its_setting():
    environment = {"DETECTOR_CONFIDENCE": "0.4", "DETECTOR_CLASSES": "", "KAFKA_TOPIC": "t", "PATH": "/bin"}
    assert named_by_the_environment("detector", environment) == {"confidence"}
    assert named_by_the_environment("kafka", environment) == {"topic"}


def test_a_serve_configuration_is_looked_at_before_anything_starts():
    check_user_configs(config(name="ObjectDetector", user_config={"confidence": 0.5}))
    check_user_configs(config(name="ObjectDetector"))
    check_user_configs(config(name="Another", user_config={"confidence": 2}))
    with pytest.raises(SettingsError, match=r"^ObjectDetector: user_config\.confidence: 2: "):
        check_user_configs(config(name="ObjectDetector", user_config={"confidence": 2}))
