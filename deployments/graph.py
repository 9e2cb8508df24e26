"""The application builders that ``serve_config.yaml`` names: the one place that wires everything.

Builders run in a Ray task of their own; what they pass to deployments and actors are plain values.
"""

# No postponed annotations here: Serve reads the builders' argument types at run time.
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve.config import DeploymentActorConfig
from ray.serve.exceptions import RayServeException

from app.detection import DetectorFactory, DetectorOptions, make_detector, make_no_op_detector
from app.errors import SettingsError
from app.fleet.configuration import OVERRIDING, ConfiguredDefaults
from app.ingress.service import ServiceLimits
from app.publisher import shards_of
from app.scaling import ScalingNumbers
from app.settings.connections import KafkaSettings
from app.settings.environment import named_by_the_environment, process_environment
from app.settings.loading import camera_list_source, load_settings, rule_list_source
from app.settings.settings import DetectorSettings, Settings
from app.web import BrokerFacts
from deployments.actors import BROKER, publisher_name
from deployments.broker import BrokerActor
from deployments.camera import CameraServiceOptions
from deployments.detector import ObjectDetector
from deployments.ingress import DetectionIngress
from deployments.logs import configure_proxy_logs
from deployments.manager import CameraManager, CameraPlan
from deployments.publisher import KafkaPublisher, PublisherOptions, Sealed
from deployments.tracing import tracing_config

SPOOL_NODE = "sightline_spool"
"""Custom Ray resource of the node that holds the spool."""
HEAD_NODE = "node:__internal_head__"
"""Resource that Ray itself gives to the head node, and to no other."""


class InferenceArgs(BaseModel):
    """Arguments of the inference application in ``serve_config.yaml``."""

    model_config = ConfigDict(extra="forbid")

    settings: Path | None = None
    slots_per_replica: int = Field(default=2, ge=1)
    max_batch_size: int = Field(default=16, ge=1)
    batch_target_ms: float = Field(default=50, gt=0)
    max_waiting: int = Field(default=256, ge=1)
    detector_cpus: float = Field(default=1, gt=0)
    revision: str | int = ""
    """Any word or number: ``serve deploy`` reads the settings again only where the arguments have changed."""
    scaling: dict[str, Any] | None = None
    """The numbers of the autoscaling policy; here they are only validated, before anything is started."""


SHORT_WAYS: Mapping[str, str] = {
    # Otherwise each call of a method goes to another thread and back, and each call of a handle too.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
    # Calls between replicas go directly from one to the other, and not as calls of Ray's actors.
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
}
"""Variables that Serve reads in the process of a replica (``ray/serve/_private/constants.py``, Ray 2.60)."""


class CamerasArgs(BaseModel):
    """Arguments of the cameras application in ``serve_config.yaml``."""

    model_config = ConfigDict(extra="forbid")

    settings: Path | None = None


def build_inference(args: InferenceArgs) -> serve.Application:
    """Wire ingress, detectors, publisher and, where no broker is named, the embedded one.

    Raises:
        RayServeException: a setting is wrong; one line.
    """
    settings = _settings(args.settings)
    configure_proxy_logs()
    gpus = _gpus(settings.detector)
    resources = _detector_resources(settings.detector, args, gpus)
    return _inference(args, settings, _detector_options(settings, args, gpus), make_detector, resources)


def build_inference_without_model(args: InferenceArgs) -> serve.Application:
    """Wire the same with a detector that detects nothing and costs nothing, for ``sightline bench``.

    Raises:
        RayServeException: a setting is wrong; one line.
    """
    settings = _settings(args.settings)
    options = DetectorOptions.of(settings.detector, settings.tracking)
    return _inference(args, settings, options, make_no_op_detector, {"num_cpus": args.detector_cpus})


def _inference(
    args: InferenceArgs,
    settings: Settings,
    options: DetectorOptions,
    make: DetectorFactory,
    resources: dict[str, Any],
) -> serve.Application:
    _check_scaling(args.scaling)
    fixed = named_by_the_environment("detector", process_environment())
    detector = ObjectDetector.options(  # type: ignore[attr-defined]
        ray_actor_options=_with_short_ways(resources, process_environment())
    ).bind(options, fixed, make=make, privacy=settings.privacy)
    ingress = DetectionIngress.options(  # type: ignore[attr-defined]
        # It only waits: the detectors use the CPU, and reserve it.
        ray_actor_options=_with_short_ways({"num_cpus": 0}, process_environment()),
        deployment_actors=delivery_actors(settings),
    )
    limits = ServiceLimits(
        max_batch_size=args.max_batch_size,
        max_waiting=args.max_waiting,
        batch_target_s=args.batch_target_ms / 1000,
        max_event_age_s=settings.kafka.max_event_age.total_seconds(),
    )
    application: serve.Application = ingress.bind(
        detector, limits, args.slots_per_replica, settings.token, settings.publisher.shards, settings.privacy.anonymise
    )
    return application


def build_cameras(args: CamerasArgs) -> serve.Application:
    """Wire the camera manager.

    Raises:
        RayServeException: a setting is wrong; one line.
    """
    settings = _settings(args.settings)
    options = CameraServiceOptions(
        service=settings.inference_service_url,
        tls=settings.tls,
        token=settings.token,
        budget_ms=settings.latency_budget_ms,
        tracing=tracing_config(),
        privacy=settings.privacy,
        classes=settings.detector.classes,
    )
    # It keeps changes made at run time in a folder of the node that holds the publisher's spool.
    manager = CameraManager.options(  # type: ignore[attr-defined]
        ray_actor_options={"num_cpus": 0, "resources": _spool_node(settings.spool.pinned)}
    )
    application: serve.Application = manager.bind(_plan(args.settings, settings), options, _broker(settings.kafka))
    return application


def _plan(file: Path | None, settings: Settings) -> CameraPlan:
    environment = process_environment()
    try:
        source = camera_list_source(environment, file)
        configured = source.read(environment)
        rule_source = rule_list_source(environment, file)
        rules = rule_source.read()
    except SettingsError as error:  # the file changed since the settings were read
        raise RayServeException(str(error)) from None
    return CameraPlan(
        defaults=ConfiguredDefaults(
            source=source,
            rules=rule_source,
            budget_ms=settings.latency_budget_ms,
            by_environment=frozenset(name for name in OVERRIDING if environment.get(name)),
        ),
        configured=configured,
        rules=rules,
        fps=settings.inference_fps,
        state_dir=settings.state_dir,
    )


def _broker(kafka: KafkaSettings) -> BrokerFacts:
    return BrokerFacts(
        enabled=kafka.enabled,
        embedded=kafka.embedded,
        servers=kafka.bootstrap_servers,
        topic=kafka.topic,
        channel_topics=kafka.channel_topics,
    )


def delivery_actors(settings: Settings) -> list[DeploymentActorConfig]:
    """Return the actors that Serve keeps alive beside the ingress: publishers, and the embedded broker where used."""
    node = _spool_node(settings.spool.pinned)
    if settings.kafka.embedded and not node:
        # The embedded broker listens only on its node's loopback: the publisher must run on that node, and so must the
        # shells in which people follow the topic.
        node = {HEAD_NODE: 0.001}
    publishers = [
        DeploymentActorConfig(
            name=publisher_name(shard),
            actor_class=KafkaPublisher,
            init_kwargs={
                "sealed": Sealed(
                    PublisherOptions(
                        settings.kafka,
                        settings.spool,
                        settings.latency_budget_ms,
                        shard,
                        settings.tracking,
                        evidence=settings.evidence,
                        anonymise=settings.privacy.anonymise,
                    )
                )
            },
            actor_options={"num_cpus": 0, "resources": node},
        )
        for shard in shards_of(settings.publisher.shards)
    ]
    broker = DeploymentActorConfig(
        name=BROKER,
        actor_class=BrokerActor,
        init_kwargs={"topic": settings.kafka.topic, "state_dir": str(settings.state_dir)},
        actor_options={"num_cpus": 0, "resources": node},
    )
    return [broker, *publishers] if settings.kafka.embedded else publishers


def _spool_node(pinned: bool) -> dict[str, float]:
    """Return the resources that pin an actor to the node with the spool, where one is marked.

    What it keeps on that node's disk must survive it (``app/README.md``, decision 3).
    """
    marked = pinned or ray.cluster_resources().get(SPOOL_NODE, 0) > 0  # type: ignore[no-untyped-call]
    return {SPOOL_NODE: 0.001} if marked else {}


def _settings(file: Path | None) -> Settings:
    try:
        return load_settings(process_environment(), file)
    except SettingsError as error:
        # The only error whose text Serve shows as it is; of any other it shows the stack, after three more tries.
        raise RayServeException(str(error)) from None


def _check_scaling(numbers: dict[str, Any] | None) -> None:
    try:
        if numbers is not None:
            ScalingNumbers.parse(numbers)
    except SettingsError as error:
        raise RayServeException(f"args.{error}") from None


def _gpus(detector: DetectorSettings) -> float:
    if detector.gpus_per_replica != "auto":
        return detector.gpus_per_replica
    use_gpu = detector.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0  # type: ignore[no-untyped-call]
    return 1.0 if use_gpu else 0.0


def _detector_resources(detector: DetectorSettings, args: InferenceArgs, gpus: float) -> dict[str, Any]:
    resources: dict[str, Any] = {"num_cpus": args.detector_cpus, "num_gpus": gpus}
    if detector.device.startswith("cuda:"):
        # A GPU chosen by its number: Ray would show the replica one of its own choice, as number 0.
        resources["runtime_env"] = {"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}}
    return resources


def _with_short_ways(actor_options: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the options of a replica's actor, with what Serve's throughput mode does that a replica can do alone.

    ``sightline up`` turns that mode on for the whole of Ray; under plain ``serve run`` this holds for the ways between
    ingress and detectors.
    """
    if environment.get("RAY_SERVE_THROUGHPUT_OPTIMIZED") == "1":
        return dict(actor_options)
    runtime_env = dict(actor_options.get("runtime_env") or {})
    runtime_env["env_vars"] = {**SHORT_WAYS, **(runtime_env.get("env_vars") or {})}
    return {**actor_options, "runtime_env": runtime_env}


def _detector_options(settings: Settings, args: InferenceArgs, gpus: float) -> DetectorOptions:
    return DetectorOptions.of(
        settings.detector,
        settings.tracking,
        device="cpu" if settings.detector.device == "auto" and not gpus else None,
        threads=None if gpus else max(1, int(args.detector_cpus)),
    )
