"""``sightline up`` in an empty folder, from the package and not from a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.system import running
from tests.support.topic import TopicReader
from tests.support.wheel import unpacked_wheel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def test_the_package_alone_starts_the_demonstration_and_says_so(tmp_path: Path):
    site = unpacked_wheel(tmp_path / "wheel")
    empty = tmp_path / "empty"
    empty.mkdir()
    command = [sys.executable, "-m", "app.cli", "up"]
    with running(command, tmp_path / "state", empty, PYTHONPATH=str(site), RAY_AUTH_MODE="disabled") as system:
        system.wait_for_line("the demonstration of the package is started", 60)
        reader = TopicReader(system.broker(), "events.detections")
        records = reader.read(lambda read: {record.key for record in read} == {"street-east", "street-west"}, 180)
        reader.close()
        assert {record.value["model"] for record in records} == {"street.pt"}
        assert system.interrupt() == 0
    assert list(empty.iterdir()) == []
