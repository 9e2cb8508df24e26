"""A run of the simulator with ``anonymise: [person]``: no stored picture shows a person that the detector found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.core.event import DetectedObject
from app.core.wanted import AS_CONFIGURED
from app.detection import Detector, DetectorOptions
from app.evidence.keeper import KeeperOptions
from app.settings.settings import DetectorSettings
from tests.support.evidence import EvidenceSpool, persons_hidden, street_pictures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PICTURES = 1000


def test_of_a_thousand_stored_pictures_none_shows_a_person_that_the_detector_found(tmp_path: Path):
    detector = Detector(DetectorOptions.of(DetectorSettings(device="cpu")))
    spool = EvidenceSpool(tmp_path, KeeperOptions(anonymise=("person",)))
    persons = stored = 0
    for picture in street_pictures(PICTURES, width=640, height=360, objects=10):
        found = detector.detect([picture.image], [AS_CONFIGURED])[0]
        objects = tuple(
            DetectedObject(detector.labels[class_id], class_id, score, (x1, y1, x2 - x1, y2 - y1))
            for (x1, y1, x2, y2), score, class_id in zip(
                found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True
            )
        )
        judged = replace(picture, objects=objects)
        data = spool.folder.read(spool.row(spool.begin(judged)).key)
        assert data is not None
        persons += persons_hidden(judged, data)
        stored += 1
    spool.close()
    assert stored == PICTURES
    assert persons > PICTURES / 2
    print(f"{persons} persons in {stored} pictures")
