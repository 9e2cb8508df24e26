"""The rules that come with Sightline, on the streets that it simulates: a newcomer sees what incidents are."""

from __future__ import annotations

import pytest

from app.analysis.rules.anomaly import Anomaly
from app.analysis.rules.engine import apply_rules, make_camera_rules
from app.analysis.rules.example import START_MS
from app.analysis.rules.frame import Frame, SeenObject
from app.analysis.rules.state import RulesState
from app.settings.camera_lists import CameraListSource
from app.settings.cameras import CameraSettings
from app.settings.paths import CONFIGS
from app.settings.rule_lists import read_rules_file
from app.simulation.spec import StreetSpec
from app.simulation.sprites import LABELS
from app.simulation.street import Street

RULES = read_rules_file(CONFIGS / "rules.yaml")
STREETS = CameraListSource(file=CONFIGS / "cameras.yaml").read({}).entries
TWO_MINUTES = 120.0
FPS = 5
VISIBLE = 0.3
"""What is hidden more than this shares no box with the detector either."""


def frame_at(camera_id: str, street: Street, seconds: float) -> Frame:
    """Return the true boxes of a moment as a frame, tracked by who they are."""
    truth, size = street.truth(round(seconds * street.spec.fps)), street.spec
    objects = [
        SeenObject(LABELS[label], 1.0, (float(x1), float(y1), float(x2 - x1), float(y2 - y1)), int(identity))
        for (x1, y1, x2, y2), label, identity, visible in zip(
            truth.boxes, truth.class_ids, truth.identities, truth.visible, strict=True
        )
        if visible > VISIBLE
    ]
    return Frame(camera_id, START_MS + round(seconds * 1000), size.width, size.height, tuple(objects))


@pytest.mark.parametrize("camera", STREETS, ids=lambda camera: camera.id)
def test_each_demonstration_street_has_an_incident_of_every_rule_within_two_minutes(camera: CameraSettings):
    street, rules, state = (
        Street(StreetSpec.parse(camera.url.reveal())),
        make_camera_rules(RULES, camera.id),
        RulesState(),
    )
    missing = {rule.id for rule in rules.rules}
    assert missing == {"roadway", "near-pavement", "busy-roadway"}
    found: list[Anomaly] = []
    number = 0
    while missing and number / FPS < TWO_MINUTES:
        state, judgement = apply_rules(state, frame_at(camera.id, street, number / FPS), rules)
        found += [one for one in judgement.transitions if one.state in ("new", "instant")]
        missing -= {one.rule for one in found}
        number += 1
    assert not missing
    assert {one.severity for one in found} == {"info", "warning"}
