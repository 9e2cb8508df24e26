"""An actor's lines have the fields of Serve's, without Serve."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from ray.serve._private.constants import SERVE_LOG_COMPONENT, SERVE_LOG_COMPONENT_ID, SERVE_LOGGER_NAME, SERVE_NAMESPACE
from ray.serve._private.logging_utils import ServeComponentFilter

from deployments.actor_logs import SERVE, actor_file
from deployments.actors import NAMESPACE


def test_the_names_are_serves_own():
    assert (SERVE, NAMESPACE) == (SERVE_LOGGER_NAME, SERVE_NAMESPACE)


def test_a_line_says_of_which_actor_it_is_and_keeps_what_is_added_to_it(tmp_path: Path):
    handler = actor_file(tmp_path, "camera", "gate-1", 1 << 20, 1)
    record = logging.LogRecord("ray.serve", logging.WARNING, __file__, 7, "%d frames", (3,), None)
    record.camera_id = "gate-1"
    handler.handle(record)
    handler.close()
    (line,) = (tmp_path / "serve" / "camera_gate-1.log").read_text().splitlines()
    written = json.loads(line)
    assert (written["levelname"], written["message"], written["camera_id"]) == ("WARNING", "3 frames", "gate-1")
    serves = logging.LogRecord("ray.serve", logging.WARNING, __file__, 7, "", (), None)
    ServeComponentFilter("camera", "gate-1").filter(serves)
    for field in (SERVE_LOG_COMPONENT, SERVE_LOG_COMPONENT_ID):
        assert written[field] == getattr(serves, field)


def test_a_full_file_is_rotated(tmp_path: Path):
    handler = actor_file(tmp_path, "camera", "gate-1", 400, 1)
    for number in range(8):
        handler.handle(logging.LogRecord("ray.serve", logging.INFO, __file__, number, "a line", (), None))
    handler.close()
    assert sorted(file.name for file in (tmp_path / "serve").iterdir()) == ["camera_gate-1.log", "camera_gate-1.log.1"]
