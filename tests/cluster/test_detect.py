"""``Detect`` as a client sees it: detections that are right, events that follow, and every code of the table."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import grpc
import jsonschema
import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from PIL import Image
from ray import serve

from app.core.ports import free_port
from app.detection import ImageOutcome
from app.detection.detections import Detections
from app.detection.messages import DetectorAnswer, DetectorJob, ModelInfo
from app.errors import InferenceFailed
from app.ingress.service import ServiceLimits
from app.rpc.codes import max_fps
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from app.settings.loading import load_settings
from app.simulation.spec import StreetSpec
from app.simulation.street import Street
from deployments.graph import InferenceArgs, build_inference, delivery_actors
from deployments.ingress import DetectionIngress
from tests.support.ray_cluster import Service
from tests.support.topic import TopicReader
from tests.support.waiting import wait_for

TOKEN = "a-long-enough-token"


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


def street(seed: int = 7, index: int = 50) -> bytes:
    return jpeg(Street(StreetSpec(seed=seed)).frame(index).image)


@pytest.fixture(scope="module")
def image() -> bytes:
    return street()


def request(image: bytes, camera_id: str = "cam-1", **fields: Any) -> pb.DetectRequest:
    return pb.DetectRequest(camera_id=camera_id, image=image, **fields)


def now() -> Timestamp:
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two (x1, y1, x2, y2) boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def test_a_frame_in_gives_an_event_out_that_says_the_same(
    service: Service, topic: TopicReader, event_schema: jsonschema.Draft202012Validator, image: bytes
):
    captured = now()
    answer = service.detect(
        request(image, "one-frame", frame_id="frame-1", captured_at=captured, encode_ms=1.5, epoch=1, sequence=1)
    )
    assert answer.detections
    assert answer.max_fps > 0, "how often the camera may send"
    (record,) = topic.read(lambda records: any(r.key == "one-frame" for r in records))[-1:]
    event = record.value
    event_schema.validate(event)
    assert (event["event_id"], event["camera_id"], event["frame_id"]) == (
        answer.event_id,
        "one-frame",
        "frame-1",
    )
    assert event["model"] == answer.model == "street.pt"
    assert event["frame"] == {"width": 1280, "height": 720}
    assert event["latency_ms"]["encode"] == pytest.approx(1.5)
    assert record.timestamp_ms == captured.ToMilliseconds()
    assert record.headers["ce_id"] == answer.event_id
    assert record.headers["ce_source"] == "/cameras/one-frame"
    for reported, published in zip(answer.detections, event["detections"], strict=True):
        assert published["class"] == reported.label
        assert published["confidence"] == pytest.approx(reported.confidence, abs=1e-3)
        box = reported.bbox
        assert published["bbox"] == pytest.approx([box.x, box.y, box.width, box.height], abs=0.02)


def test_what_is_seen_is_what_the_simulator_drew(service: Service):
    found = drawn = 0
    for seed in (7, 11):
        scene = Street(StreetSpec(seed=seed))
        for index in range(0, 1000, 50):
            frame = scene.frame(index)
            answer = service.detect(request(jpeg(frame.image), f"truth-{seed}"))
            boxes = [
                (d.class_id, (d.bbox.x, d.bbox.y, d.bbox.x + d.bbox.width, d.bbox.y + d.bbox.height))
                for d in answer.detections
            ]
            for truth in np.flatnonzero(frame.truth.visible >= 0.5):
                drawn += 1
                found += any(
                    class_id == frame.truth.class_ids[truth] and overlap(box, frame.truth.boxes[truth]) >= 0.5
                    for class_id, box in boxes
                )
    assert drawn > 100
    assert found / drawn >= 0.9


def test_each_request_gets_the_detections_that_it_wants(service: Service, image: bytes):
    def seen(**wanted: Any) -> list[tuple[str, float]]:
        answer = service.detect(request(image, "wanting", **wanted))
        return [(one.label, round(one.confidence, 3)) for one in answer.detections]

    every = seen(model="default")
    assert {"bus", "person"} <= {label for label, _ in every}
    assert seen(classes=["bus"]) == [one for one in every if one[0] == "bus"]
    bound = sorted(score for _, score in every)[len(every) // 2] - 0.0006
    assert seen(confidence=bound) == [one for one in every if one[1] > bound]
    assert len(seen(confidence=0.01)) > len(every)


@pytest.mark.parametrize(
    ("wanted", "reported"),
    [
        ({"model": "ppe"}, "model 'ppe' is not served; there is default"),
        (
            {"classes": ["car", "dog"]},
            "classes: 'dog' is no label of street.pt; allowed are person, bicycle, car, bus, truck",
        ),
        ({"confidence": 1.5}, "confidence 1.5 is not allowed: 0 to 1"),
        ({"confidence": -0.1}, "confidence -0.1 is not allowed: 0 to 1"),
    ],
)
def test_what_cannot_be_wanted_is_an_invalid_argument(
    service: Service, image: bytes, wanted: dict[str, Any], reported: str
):
    assert service.answer(request(image, **wanted)) == (grpc.StatusCode.INVALID_ARGUMENT, reported)


def test_boxes_are_in_pixels_of_the_source_frame(service: Service):
    picture = Street(StreetSpec(seed=7)).frame(50).image
    small = jpeg(cv2.resize(picture, (640, 360), interpolation=cv2.INTER_AREA))
    full = service.detect(request(jpeg(picture), "full"))
    shrunk = service.detect(request(small, "shrunk", source_width=1280, source_height=720))
    widest = max(d.bbox.x + d.bbox.width for d in full.detections)
    assert max(d.bbox.x + d.bbox.width for d in shrunk.detections) == pytest.approx(widest, rel=0.1)


def test_a_client_that_knows_only_the_proto_file_gets_detections_for_a_photo(service: Service, image: bytes):
    answer = service.detect(pb.DetectRequest(camera_id="stranger", image=image))
    assert len(answer.frame_id) == 32
    assert len(answer.event_id) == 36
    assert answer.detections
    assert answer.latency.total_ms > 0


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_png_and_webp_are_taken_too(service: Service, suffix: str):
    data = cv2.imencode(suffix, Street(StreetSpec(seed=7)).frame(50).image)[1].tobytes()
    assert service.detect(request(data)).detections


def test_boxes_are_upright_in_a_picture_that_its_exif_says_to_turn(service: Service):
    picture = Street(StreetSpec(seed=7)).frame(50).image
    turned = Image.fromarray(cv2.cvtColor(np.rot90(picture).copy(), cv2.COLOR_BGR2RGB))
    exif = turned.getexif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", quality=90, exif=exif)
    upright = service.detect(request(jpeg(picture), "upright"))
    answer = service.detect(request(buffer.getvalue(), "turned"))
    assert [d.label for d in answer.detections[:1]] == [d.label for d in upright.detections[:1]]
    assert answer.detections[0].bbox.x == pytest.approx(upright.detections[0].bbox.x, abs=20)


class TestTheTableOfCodes:
    """Row by row, in the contract's order."""

    def test_an_empty_image(self, service: Service):
        assert service.code(request(b"")) is grpc.StatusCode.INVALID_ARGUMENT

    def test_bytes_that_are_no_image(self, service: Service):
        code, details = service.answer(request(b"these bytes are no image"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "image" in details.lower()

    def test_a_truncated_image(self, service: Service, image: bytes):
        code, details = service.answer(request(image[: len(image) // 2]))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "cut off" in details

    def test_an_unsupported_format(self, service: Service):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "GIF")
        assert service.code(request(buffer.getvalue())) is grpc.StatusCode.INVALID_ARGUMENT

    @pytest.mark.parametrize("camera_id", ["", "no spaces", "-first", "x" * 65])
    def test_a_missing_or_malformed_camera_id(self, service: Service, image: bytes, camera_id: str):
        code, details = service.answer(request(image, camera_id))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "camera_id" in details

    def test_a_capture_time_over_a_minute_ahead(self, service: Service, image: bytes):
        ahead = Timestamp(seconds=int(time.time()) + 120)
        assert service.code(request(image, captured_at=ahead)) is grpc.StatusCode.INVALID_ARGUMENT

    def test_one_of_the_two_source_sizes(self, service: Service, image: bytes):
        assert service.code(request(image, source_width=1280)) is grpc.StatusCode.INVALID_ARGUMENT

    def test_a_source_of_another_shape(self, service: Service, image: bytes):
        wrong = request(image, source_width=1280, source_height=960)
        assert service.code(wrong) is grpc.StatusCode.INVALID_ARGUMENT

    def test_an_image_over_16_mib(self, service: Service, image: bytes):
        too_large = request(image + bytes(16 * 1024 * 1024))
        assert service.code(too_large) in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        )

    def test_an_image_that_declares_over_64_megapixels(self, service: Service):
        start = jpeg(np.zeros((16, 16, 3), np.uint8))
        frame_header = start.index(b"\xff\xc0")
        bomb = bytearray(start)
        bomb[frame_header + 5 : frame_header + 9] = (20000).to_bytes(2, "big") * 2
        code, details = service.answer(request(bytes(bomb)))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "20000 × 20000" in details

    def test_a_budget_that_runs_out_before_the_model_takes_it(self, service: Service, image: bytes):
        enough = threading.Event()

        def load(number: int) -> set[grpc.StatusCode]:
            codes = set()
            while not enough.is_set():
                codes.add(service.code(request(image, f"load-{number}")))
            return codes

        hurried: list[grpc.StatusCode] = []

        def runs_out() -> bool:
            hurried.append(service.code(request(image, "hurried", latency_budget_ms=1)))
            return hurried[-1] is grpc.StatusCode.DEADLINE_EXCEEDED

        with ThreadPoolExecutor(8) as pool:
            loads = [pool.submit(load, number) for number in range(8)]
            try:
                wait_for(runs_out, 60, "a budget that runs out")
            finally:
                enough.set()
        assert set(hurried) <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.OK}
        assert set().union(*(one.result() for one in loads)) <= {grpc.StatusCode.OK}

    def test_a_sequence_that_was_committed_already(self, service: Service, image: bytes):
        first = request(image, "ordered", epoch=5, sequence=10, frame_id="a", captured_at=now())
        assert service.code(first) is grpc.StatusCode.OK
        same = request(image, "ordered", epoch=5, sequence=10, frame_id="b", captured_at=now())
        assert service.code(same) is grpc.StatusCode.ABORTED

    def test_an_older_epoch(self, service: Service, image: bytes):
        young = request(image, "reborn", epoch=6, sequence=1, captured_at=now())
        assert service.code(young) is grpc.StatusCode.OK
        old = request(image, "reborn", epoch=5, sequence=99, captured_at=now())
        assert service.code(old) is grpc.StatusCode.FAILED_PRECONDITION

    def test_a_repeat_of_an_accepted_frame_is_the_same_event_once(
        self, service: Service, topic: TopicReader, image: bytes
    ):
        again = request(image, "repeats", epoch=1, sequence=1, frame_id="f", captured_at=now())
        ids = {service.detect(again).event_id for _ in range(3)}
        assert len(ids) == 1
        service.detect(request(image, "repeats", epoch=1, sequence=2, frame_id="last", captured_at=now()))
        records = topic.read(lambda read: any(r.value["frame_id"] == "last" for r in read))
        assert [r.value["frame_id"] for r in records if r.key == "repeats"] == ["f", "last"]

    def test_more_than_the_service_can_take(self, crowded: Service, held: Path, image: bytes):
        def ask(number: int) -> grpc.RpcError:
            with pytest.raises(grpc.RpcError) as refusal:
                crowded.detect(request(image, f"crowd-{number}"), application="crowded", token=TOKEN)
            return refusal.value

        with ThreadPoolExecutor(8) as pool:
            held.touch()
            try:
                asked = [pool.submit(ask, number) for number in range(8)]
                # One is at the detector, which holds it, and one waits for it: there is room for no third.
                wait_for(lambda: sum(answer.done() for answer in asked) >= 6, 30, "six refusals")
                refused = [answer.result() for answer in asked if answer.done()]
            finally:
                held.unlink()
        assert [one.code() for one in refused] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 6
        assert all("waiting" in one.details() for one in refused)
        assert all((max_fps(one.trailing_metadata()) or 0) > 0 for one in refused), "how often to send at most"
        codes = Counter(answer.result().code() for answer in asked)
        # The two that had room are detected, and fail for want of a spool.
        assert codes == {grpc.StatusCode.RESOURCE_EXHAUSTED: 6, grpc.StatusCode.UNAVAILABLE: 2}

    @pytest.mark.parametrize("token", [None, "wrong", TOKEN + "x"])
    def test_no_token_or_a_wrong_one(self, crowded: Service, image: bytes, token: str | None):
        code = crowded.code(request(image), application="crowded", token=token)
        assert code is grpc.StatusCode.UNAUTHENTICATED

    def test_an_event_that_cannot_be_made_durable(self, crowded: Service, image: bytes):
        code, details = crowded.answer(request(image), application="crowded", token=TOKEN)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "spool" in details

    def test_an_image_on_which_the_model_fails(self, crowded: Service):
        poison = jpeg(np.zeros((16, 16, 3), np.uint8))
        code, details = crowded.answer(request(poison), application="crowded", token=TOKEN)
        assert code is grpc.StatusCode.INTERNAL
        assert "\n" not in details
        assert "Traceback" not in details

    @pytest.mark.slow
    def test_with_kafka_off_a_frame_is_answered_and_counted_and_nothing_is_published(
        self, quiet: Service, image: bytes
    ):
        application = serve.get_app_handle("quiet")
        before = application.publisher_snapshot.remote().result(timeout_s=30)
        answer = quiet.detect(request(image), application="quiet")
        after = application.publisher_snapshot.remote().result(timeout_s=30)
        assert {one.label for one in answer.detections} <= {"car", "bus"}
        assert answer.detections
        assert (after.accepted - before.accepted, after.discarded - before.discarded, after.published) == (1, 1, 0)

    def test_no_application_in_the_metadata_names_what_is_missing(self, service: Service, crowded: Service, image):
        assert service.code(request(image), application="nowhere") is grpc.StatusCode.NOT_FOUND


@serve.deployment(name="ObjectDetector")
class FaultyDetector:
    """A detector that fails on the smallest pictures and sees nothing in the others; it waits while a file exists."""

    def __init__(self, held: str) -> None:
        self._held = Path(held)

    async def detect(self, jobs: Sequence[DetectorJob]) -> DetectorAnswer:
        while self._held.exists():  # another process removes it
            await asyncio.sleep(0.01)
        return DetectorAnswer(tuple(self._look(job) for job in jobs), ModelInfo("faulty.pt", {0: "thing"}, "cpu"))

    def _look(self, job: DetectorJob) -> ImageOutcome:
        if len(job.image) < 2000:
            return ImageOutcome(None, InferenceFailed("the model failed on this image"), 16, 16, 0.0, 0.0)
        return ImageOutcome(Detections.empty(), None, 1280, 720, 0.1, 0.1)


@pytest.fixture(scope="module")
def quiet(service: Service, write_settings: Callable[..., Path]) -> Iterator[Service]:
    """An application whose Kafka is turned off."""
    settings = write_settings(kafka={"enabled": False}, detector={"classes": "car,bus", "confidence": 0.3})
    serve.run(build_inference(InferenceArgs(settings=settings)), name="quiet", route_prefix="/quiet")
    service.wait_until_it_detects("quiet")
    yield service
    serve.delete("quiet")


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that a test creates to have the faulty detector wait."""
    return tmp_path_factory.mktemp("held") / "held"


@pytest.fixture(scope="module")
def crowded(service: Service, write_settings: Callable[..., Path], held: Path) -> Iterator[Service]:
    """A second application beside the first: a token, room for one frame, no place for a spool, a faulty model."""
    kafka = {"bootstrap_servers": [f"127.0.0.1:{free_port()}"]}
    file = write_settings(kafka=kafka, spool={"dir": "/dev/null/spool"}, token=TOKEN)
    settings = load_settings({}, file)
    application = DetectionIngress.options(
        ray_actor_options={"num_cpus": 0}, deployment_actors=delivery_actors(settings)
    ).bind(
        FaultyDetector.options(ray_actor_options={"num_cpus": 0}).bind(str(held)),
        ServiceLimits(max_batch_size=1, max_waiting=1, publish_batch_size=1, publish_calls=1),
        1,
        settings.token,
    )
    serve.run(application, name="crowded", route_prefix="/crowded")
    service.wait_until_it_detects("crowded", TOKEN)
    yield service
    serve.delete("crowded")
