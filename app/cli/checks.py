"""Checks of ``sightline doctor``: model, Kafka, evidence, cameras and ports, before a start."""

from __future__ import annotations

import asyncio
import enum
import json
import math
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta

from app.cameras.frame import Frame
from app.cameras.masks import MaskPainter
from app.cameras.sources import DecoderChoice, open_source
from app.cli.up import second_shell
from app.detection import Detector, DetectorOptions
from app.errors import SightlineError, SourceUnavailable, StoreRefused
from app.evidence.film import encoder
from app.evidence.store import ObjectStore
from app.publisher.kafka.preflight import Needs, check_broker
from app.settings.cameras import DEFAULT_STALL_S, CameraSettings
from app.settings.environment import process_environment
from app.settings.evidence import EvidenceSettings
from app.settings.rule_lists import rules_of_camera
from app.settings.serve_config import ServePorts
from app.settings.service_address import ServiceAddress
from app.settings.settings import Settings

SOURCE_TIMEOUT_S = 15.0
"""Time-out of the requested frame of a source, and so much more than its ``stall_s`` where that is longer."""
EVENT_BYTES = 1_024
"""What an event of six objects takes in the spool (``configs/README.md``, "State folders")."""


class State(enum.StrEnum):
    """The result of a check."""

    PASSED = "ok"
    NOTE = "note"
    """Nothing is wrong, but it is worth knowing."""
    FAILED = "failed"


@dataclass(frozen=True)
class Finding:
    """One check and its result."""

    what: str
    state: State
    detail: str
    mend: str = ""
    """What the user can do about it; empty where nothing needs to be done."""

    def as_line(self) -> str:
        """Return it as a line for a person, with rich's markup."""
        colour = {State.PASSED: "green", State.NOTE: "yellow", State.FAILED: "red"}[self.state]
        mend = f"\n         {_escape_markup('→ ' + self.mend)}" if self.mend else ""
        return f"[{colour}]{self.state.value:>6}[/{colour}]  {_escape_markup(f'{self.what}: {self.detail}')}{mend}"

    def as_json(self) -> str:
        """Return it as a JSON document."""
        return json.dumps(asdict(self))


def check_system(settings: Settings, ports: ServePorts) -> Iterator[Finding]:
    """Check model, Kafka, evidence, cameras and ports in turn; whatever is started for it is stopped again."""
    yield from _model(settings)
    yield from check_kafka(settings)
    yield from check_evidence(settings.evidence)
    yield from (_camera(camera) for camera in settings.cameras)
    if not settings.cameras:
        yield Finding("cameras", State.NOTE, "none is configured", "name some in SIGHTLINE_CAMERAS")
    yield from check_rules(settings)
    yield _service(settings.inference_service_url, ports.grpc)
    yield _port(ports.grpc, "gRPC")
    yield _port(ports.http, "HTTP")
    if note := second_shell(process_environment()):
        yield Finding("second shell", State.NOTE, note)


def check_rules(settings: Settings) -> Iterator[Finding]:
    """Check that each rule names a camera; that each is right was checked with the settings."""
    idle = [
        rule.id for rule in settings.rules if not any(rules_of_camera([rule], camera.id) for camera in settings.cameras)
    ]
    if idle:
        fault = f"{', '.join(idle)}: no configured camera has an id that these name"
        yield Finding("rules", State.NOTE, fault, "name your cameras in them, or other rules in SIGHTLINE_RULES")
    if len(idle) < len(settings.rules):
        yield Finding("rules", State.PASSED, f"{len(settings.rules) - len(idle)} for the configured cameras")


def _model(settings: Settings) -> Iterator[Finding]:
    started = time.monotonic()
    try:
        detector = load_detector(settings)
        loaded = time.monotonic()
        detector.warm_up()
        warmed = time.monotonic()
        detector.warm_up()
    except SightlineError as error:
        yield Finding("model", State.FAILED, str(error), "set DETECTOR_MODEL and DETECTOR_DEVICE")
        return
    again_ms = (time.monotonic() - warmed) * 1000
    yield Finding(
        "model",
        State.PASSED,
        f"{detector.model_name} with {len(detector.labels)} labels loads in {loaded - started:.1f} s "
        f"and answers in {again_ms:.0f} ms",
    )
    on_cpu = str(detector.device) == "cpu"
    yield Finding(
        "device",
        State.NOTE if on_cpu else State.PASSED,
        f"the model runs on {detector.device}" + (": no GPU is used" if on_cpu else ""),
    )
    for label in settings.privacy.anonymise:
        if label not in detector.labels.values():
            yield Finding(
                "privacy",
                State.FAILED,
                f"privacy.anonymise names {label!r}, which the model {detector.model_name} does not know",
                "correct privacy.anonymise, or use a model that detects it",
            )
    for camera in settings.cameras:
        try:
            detector.check_wanted(camera.wanted)
        except SightlineError as error:
            yield Finding(f"camera {camera.id}", State.FAILED, str(error), "correct the camera's classes")


def check_kafka(settings: Settings) -> Iterator[Finding]:
    """Check that each topic is there, or can be made, and may be written to; nothing is written."""
    if not settings.kafka.enabled:
        yield Finding("kafka", State.NOTE, "off: detections are answered and counted, nothing is published")
        return
    bridged = outage_bridged(settings)
    try:
        report = check_broker(settings.kafka, Needs(settings.detector.max_detections, bridged))
    except SightlineError as error:
        yield Finding(
            "kafka",
            State.FAILED,
            str(error),
            "check KAFKA_BOOTSTRAP_SERVERS, KAFKA_TOPIC and the credentials",
        )
        return
    yield Finding("kafka", State.NOTE if settings.kafka.embedded else State.PASSED, report.where)
    warnings = dict.fromkeys(report.warnings)
    # The embedded broker's topics are made, all of them; other brokers are asked for each.
    others = {} if settings.kafka.embedded else settings.kafka.channel_topics
    for channel, topic in others.items():
        try:
            report = check_broker(settings.kafka.of_topic(topic), Needs(0, bridged))
        except SightlineError as error:
            remedy = f"grant what is missing, create the topic, or set kafka.{channel}_topic to another one, or to null"
            yield Finding("kafka", State.FAILED, str(error), remedy)
        else:
            yield Finding("kafka", State.PASSED, report.where)
            warnings.update(dict.fromkeys(report.warnings))
    yield from (Finding("kafka", State.NOTE, warning) for warning in warnings)


def check_evidence(evidence: EvidenceSettings) -> Iterator[Finding]:
    """Check that the store takes evidence: a small object is stored and deleted; nothing where there is no store."""
    if evidence.url is None:
        return
    try:
        asyncio.run(ObjectStore(evidence).probe())
    except StoreRefused as error:
        yield Finding("evidence", State.FAILED, str(error), "correct what it names")
    except SightlineError as error:
        yield Finding("evidence", State.FAILED, str(error), "check SIGHTLINE_EVIDENCE_URL and AWS_ENDPOINT_URL")
    else:
        yield Finding("evidence", State.PASSED, f"{evidence.url} takes evidence: an object was stored and deleted")
    if not encoder():
        yield Finding("evidence", State.NOTE, "PyAV's FFmpeg has no encoder that browsers understand: no clip is made")


def outage_bridged(settings: Settings) -> timedelta:
    """Return for how long the spool holds what the configured cameras give; an older event is refused anyway."""
    rate = sum(camera.fps or settings.inference_fps for camera in settings.cameras)
    held_s = settings.spool.max_bytes / EVENT_BYTES / rate if rate else math.inf
    return timedelta(seconds=min(held_s, settings.kafka.max_event_age.total_seconds()))


def _camera(camera: CameraSettings) -> Finding:
    what = f"camera {camera.id}"
    decoder = DecoderChoice(camera.id, camera.decode)
    started = time.monotonic()
    try:
        frame = capture_one_frame(camera, 0, decoder)
    except SightlineError as error:
        return Finding(what, State.FAILED, f"{camera.url}: {error}", "check the camera's url, its host and path")
    spent = time.monotonic() - started
    count = len(camera.masks)
    hidden = f", {count} mask{'s' * (count > 1)} painted" if count else ""
    detail = f"{camera.url} gives {frame.width}x{frame.height} after {spent:.1f} s{hidden}"
    if camera.decode == "cpu":
        return Finding(what, State.PASSED, detail)
    is_met = decoder.running != "cpu"
    how = f"; {decoder.running} decodes it" if is_met else f"; the CPU decodes it ({decoder.why})"
    return Finding(what, State.PASSED if is_met else State.NOTE, detail + how)


def _service(service: ServiceAddress, grpc_port: int) -> Finding:
    """Check that cameras send to where this machine serves."""
    if not service.loopback:
        return Finding("service", State.NOTE, f"cameras send to {service.target}, not to this machine")
    if service.port == grpc_port:
        return Finding("service", State.PASSED, f"cameras send to {service.target}, where Serve will listen")
    return Finding(
        "service",
        State.FAILED,
        f"cameras send to {service.target}, but Serve listens for gRPC on port {grpc_port}",
        "make INFERENCE_SERVICE_URL and grpc_options.port of serve_config.yaml agree",
    )


def _port(port: int, purpose: str) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Finding(
                f"port {port}",
                State.NOTE,
                f"in use ({purpose}): by a running Sightline, or by another program",
                "end that program, or change the port in serve_config.yaml",
            )
    return Finding(f"port {port}", State.PASSED, f"free for {purpose}")


def load_detector(settings: Settings) -> Detector:
    """Return the configured detector, loaded."""
    return Detector(DetectorOptions.of(settings.detector))


def capture_one_frame(camera: CameraSettings, index: int, choice: DecoderChoice | None = None) -> Frame:
    """Read one frame of a camera, its masks painted: its first at or after ``index``.

    Args:
        camera: which.
        index: which of its frames.
        choice: of its decoder; ``None``: the CPU.

    Raises:
        SourceError: there is none in time.
    """
    stall_s = camera.stall_s or DEFAULT_STALL_S
    limit_s = SOURCE_TIMEOUT_S if stall_s <= DEFAULT_STALL_S else SOURCE_TIMEOUT_S + stall_s
    source = open_source(camera.url, camera.fps or 1.0, stall_s=stall_s, choice=choice)
    alarm = threading.Timer(limit_s, source.interrupt)
    alarm.start()
    try:
        source.open()
        while (time_of := source.grab()) is not None:
            if time_of.index >= index:
                raw = source.retrieve()
                image = MaskPainter(camera.masks).paint(raw.image)
                return Frame(camera.id, str(time_of.index), raw.captured.at, image)
        raise SourceUnavailable(f"it gave no frame within {limit_s:.0f} s")
    finally:
        alarm.cancel()
        source.close()


def _escape_markup(text: str) -> str:
    return text.replace("[", r"\[")
