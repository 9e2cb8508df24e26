"""A user's own recording, pictures, model, broker and ports, by settings alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import jsonschema
import pytest
import yaml
from confluent_kafka.admin import AdminClient, NewTopic

from app.core.ports import free_port
from app.detection.ultralytics_guard import import_ultralytics
from app.publisher.kafka.embedded_broker import EmbeddedBroker
from app.settings.paths import DEMO_MODEL
from app.simulation.spec import StreetSpec
from app.simulation.street import Street
from tests.support.paths import ROOT
from tests.support.system import BIN, running
from tests.support.topic import TopicReader
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
LABELS = {0: "walker", 1: "rider", 2: "auto", 3: "coach", 4: "lorry"}
TOPIC = "plant.detections"


@pytest.fixture
def foreign_model(tmp_path: Path) -> Path:
    """An ONNX export with labels of its own, as another training would have made it."""
    import_ultralytics()
    from ultralytics import YOLO

    weights = tmp_path / "foreign.pt"
    shutil.copy(DEMO_MODEL, weights)
    model = YOLO(str(weights))
    model.model.names = LABELS
    return Path(model.export(format="onnx", imgsz=320, verbose=False))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Four seconds of street as a video file."""
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (640, 360))
    street = Street(StreetSpec(seed=11, width=640, height=360))
    for index in range(100):
        writer.write(street.frame(index).image)
    writer.release()
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of JPEGs."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    street = Street(StreetSpec(seed=7, width=960, height=540))
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.jpg"), street.frame(number * 100).image)
    return folder


def configuration(folder: Path, grpc_port: int) -> Path:
    """Write a Serve configuration with other ports."""
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    config["grpc_options"]["port"] = grpc_port
    config["http_options"]["port"] = free_port()
    path = folder / "serve_config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_a_recording_a_folder_of_pictures_a_foreign_model_and_another_broker_by_settings_alone(
    tmp_path: Path,
    foreign_model: Path,
    recording: Path,
    pictures: Path,
    event_schema: jsonschema.Draft202012Validator,
):
    grpc_port = free_port()
    with EmbeddedBroker(port=free_port()) as broker:
        admin = AdminClient({"bootstrap.servers": broker.address})
        for made in admin.create_topics([NewTopic(TOPIC, num_partitions=2, replication_factor=1)]).values():
            made.result(20)
        settings = {
            "SIGHTLINE_CAMERAS": f"clip={recording},{pictures}",
            "INFERENCE_FPS": "4",
            "INFERENCE_SERVICE_URL": f"grpc://127.0.0.1:{grpc_port}",
            "KAFKA_BOOTSTRAP_SERVERS": broker.address,
            "KAFKA_TOPIC": TOPIC,
            "DETECTOR_MODEL": str(foreign_model),
            "DETECTOR_CONFIDENCE": "0.4",
            "DETECTOR_CLASSES": "auto,coach,lorry",
        }
        command = [str(BIN / "sightline"), "up", "--config", str(configuration(tmp_path, grpc_port))]
        with running(command, tmp_path / "state", **settings) as system:
            assert broker.address in system.wait_for_line("events to topic", 60)
            reader = TopicReader(broker.address, TOPIC)
            records = reader.read(lambda read: {"clip", "cam-2"} <= {one.key for one in read} and len(read) >= 30, 240)
            reader.close()
            line = system.wait_for_line("events/s", 60)
            assert "'sightline:" not in line  # Serve's own print would show a tuple
            followed = subprocess.run(
                [str(BIN / "sightline"), "events", "--from-beginning", "--count", "3", "--json", "--camera", "clip"],
                env={"KAFKA_BOOTSTRAP_SERVERS": broker.address, "KAFKA_TOPIC": TOPIC, "PATH": "/usr/bin:/bin"},
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            system.interrupt()
            wait_for(lambda: not system.survivors(), 30, "the end of every process")
    sizes = {one.key: one.value["frame"] for one in records}
    assert sizes == {"clip": {"width": 640, "height": 360}, "cam-2": {"width": 960, "height": 540}}
    seen = [thing for one in records for thing in one.value["detections"]]
    assert seen
    assert {thing["class"] for thing in seen} <= {"auto", "coach", "lorry"}
    assert all(thing["confidence"] >= 0.4 for thing in seen)
    assert {one.value["model"] for one in records} == {foreign_model.name}
    for one in records:
        event_schema.validate(one.value)
    assert [json.loads(line)["camera_id"] for line in followed.stdout.splitlines()] == ["clip"] * 3
