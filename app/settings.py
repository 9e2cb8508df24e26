"""Every setting of Sightline: one home, one default, one validator (contract, section 1).

``load_settings`` resolves them once, where the application is built; everything else gets values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from platformdirs import user_state_path
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError

from app.camera_settings import CameraSettings, camera_by_options
from app.configured_cameras import CamerasGiven
from app.connection_settings import Frozen, check_security, commas
from app.connection_settings import KafkaSettings as KafkaSettings
from app.connection_settings import TlsSettings as TlsSettings
from app.errors import SettingsError
from app.file_places import ROOT, Folder, find_file, where_looked
from app.service_address import ServiceAddress as ServiceAddress

CONFIGS = ROOT / "configs"
_bundled = CONFIGS / "models" / "street.pt"
DEMO_MODEL = _bundled if _bundled.is_file() else Path(__file__).parent / "_bundled" / "models" / "street.pt"
"""The model that recognises the simulated street."""
DEMO_CAMERAS = "configs/cameras.yaml"


MOST_BUDGET_MS = 600_000
"""The longest latency budget; milliseconds."""


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise ValueError("allowed are auto, cpu, cuda and cuda:N")
    return value


def _gpus(value: object) -> object:
    if value == "auto" or (isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError("allowed are auto and a number of GPUs from 0")


def _token(value: object) -> object:
    """Strip a token and see that a gRPC header can carry it; it is not shown."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(r"[!-~]+", value.strip()):
        raise ValueError("allowed are printable ASCII characters without spaces, at least one")
    return value.strip()


def _address(value: object) -> object:
    return ServiceAddress.parse(value) if isinstance(value, str) else value


class DetectorSettings(Frozen):
    """The model and how it is run."""

    model: Annotated[str, Field(min_length=1)] = str(DEMO_MODEL)
    """A file, an exported folder, or a hub name that Ultralytics knows."""
    model_sha256: Annotated[str | None, Field(pattern=r"^[0-9A-Fa-f]{64}$")] = None
    """The SHA-256 that the model's file must have; none: any file is taken."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.25
    iou: Annotated[float, Field(ge=0, le=1)] = 0.7
    classes: Annotated[tuple[str, ...], BeforeValidator(commas)] = ()
    """Labels to keep; empty: all."""
    use_export: bool = True
    """Whether a ``.pt`` is run as the export beside it (see ``DetectorOptions``)."""
    gpu_decode: bool = True
    """Whether a GPU that runs the model decodes the JPEGs too (see ``DetectorOptions``)."""
    half: bool | None = None
    """Whether to compute in half precision: none, where the device is made for it (see ``DetectorOptions``)."""
    gpus_per_replica: Annotated[float | Literal["auto"], BeforeValidator(_gpus)] = "auto"
    """``auto``: 1 where the cluster has a GPU and the device is not the CPU, else 0."""


class SpoolSettings(Frozen):
    """Where undelivered events are kept."""

    dir: Folder = Field(default_factory=lambda: user_state_path("sightline") / "spool")
    """Belongs to one system's publisher, on one node."""
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    """Of all shards together, each has its equal part; beyond, ``Detect`` answers ``UNAVAILABLE`` until Kafka has taken
    some."""
    synchronous: Literal["normal", "full"] = "normal"
    """``normal``: what was accepted survives the death of any process; ``full``: also the loss of power."""
    pinned: bool = False
    """Whether the publisher waits for the node marked ``sightline_spool``: in a cluster whose nodes come one by one."""


class PublisherSettings(Frozen):
    """How events are committed and sent."""

    shards: Annotated[int, Field(strict=True, ge=1, le=16)] = 1
    """Publishers that share the cameras, each with a spool of its own; changed at a restart, which loses nothing."""


class Settings(Frozen):
    """All settings of one running system."""

    inference_service_url: Annotated[ServiceAddress, BeforeValidator(_address)] = ServiceAddress(
        host="127.0.0.1", port=9000
    )
    inference_fps: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 5.0
    """Frames sampled per second and camera, where the camera does not say its own."""
    latency_budget_ms: Annotated[int, Field(ge=1, le=MOST_BUDGET_MS)] = 200
    """From capture to Kafka."""
    token: Annotated[SecretStr | None, BeforeValidator(_token)] = None
    """Bearer token for ``Detect`` and for the HTTP API."""
    cameras: tuple[CameraSettings, ...] = ()
    tls: TlsSettings = TlsSettings()
    kafka: KafkaSettings = KafkaSettings()
    detector: DetectorSettings = DetectorSettings()
    spool: SpoolSettings = Field(default_factory=SpoolSettings)
    publisher: PublisherSettings = PublisherSettings()
    state_dir: Folder = Field(default_factory=lambda: user_state_path("sightline"))
    """Where changes of cameras made at run time are kept; belongs to one running system."""


ENVIRONMENT: Mapping[str, tuple[str, ...]] = {
    "INFERENCE_SERVICE_URL": ("inference_service_url",),
    "INFERENCE_FPS": ("inference_fps",),
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"),
    "KAFKA_ENABLED": ("kafka", "enabled"),
    "KAFKA_TOPIC": ("kafka", "topic"),
    "KAFKA_SECURITY_PROTOCOL": ("kafka", "security_protocol"),
    "KAFKA_SASL_MECHANISM": ("kafka", "sasl_mechanism"),
    "KAFKA_SASL_USERNAME": ("kafka", "sasl_username"),
    "KAFKA_SASL_PASSWORD": ("kafka", "sasl_password"),
    "KAFKA_SSL_CAFILE": ("kafka", "ssl_cafile"),
    "KAFKA_SSL_CERTFILE": ("kafka", "ssl_certfile"),
    "KAFKA_SSL_KEYFILE": ("kafka", "ssl_keyfile"),
    "DETECTOR_MODEL": ("detector", "model"),
    "DETECTOR_DEVICE": ("detector", "device"),
    "DETECTOR_CONFIDENCE": ("detector", "confidence"),
    "DETECTOR_IOU": ("detector", "iou"),
    "DETECTOR_CLASSES": ("detector", "classes"),
    "SIGHTLINE_CAMERAS": ("cameras",),
    "SIGHTLINE_LATENCY_BUDGET_MS": ("latency_budget_ms",),
    "SIGHTLINE_SPOOL_DIR": ("spool", "dir"),
    "SIGHTLINE_STATE_DIR": ("state_dir",),
    "SIGHTLINE_TOKEN": ("token",),
    "SIGHTLINE_TLS_CAFILE": ("tls", "cafile"),
    "SIGHTLINE_TLS_CERTFILE": ("tls", "certfile"),
    "SIGHTLINE_TLS_KEYFILE": ("tls", "keyfile"),
}
"""Each environment variable and the setting it sets."""
SECRETS = frozenset({"SIGHTLINE_TOKEN", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_USERNAME"})
"""Variables that may be given as ``NAME_FILE``, a path; their values are never shown."""
_SECTIONS = frozenset({"cameras", "tls", "kafka", "detector", "spool", "publisher", "token"})
_OURS = ("SIGHTLINE_", "DETECTOR_")
_KUBERNETES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)$")
"""What Kubernetes puts into every pod for a Service, which may well be called ``sightline`` or ``detector``."""


def load_settings(
    environment: Mapping[str, str], file: Path | None = None, camera: Mapping[str, Any] | None = None
) -> Settings:
    """Resolve all settings: the environment over the file over the defaults.

    Args:
        environment: the variables of the process, for instance ``os.environ``.
        file: a YAML file with the structure of :class:`Settings`, or none.
        camera: the one camera there is to be, by the options of a command; none: those of environment and file.

    Raises:
        SettingsError: one line that names the key, the value and what is allowed.
    """
    values = _values(environment, file)
    wanted = values.pop("cameras", DEMO_CAMERAS)
    settings = _validate(values)
    check_security(settings.kafka, settings.tls)
    if camera is None:
        cameras = _cameras_given(wanted).read(environment).cameras
    else:
        cameras = (camera_by_options(camera, environment),)
    filled = tuple(one.with_fps(settings.inference_fps) for one in cameras)
    return settings.model_copy(update={"cameras": filled})


def cameras_given(environment: Mapping[str, str], file: Path | None = None) -> CamerasGiven:
    """Tell where the cameras are written, by the same settings.

    Raises:
        SettingsError: the settings cannot be read.
    """
    return _cameras_given(_values(environment, file).get("cameras", DEMO_CAMERAS))


def cameras_file_or_list(wanted: str) -> CamerasGiven:
    """Tell a cameras file's path from ``id=url,id=url``."""
    if wanted.endswith((".yaml", ".yml")):
        return CamerasGiven(file=find_file(wanted).absolute())
    return CamerasGiven(listed=wanted)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(find_file(file).read_text())
    except FileNotFoundError as error:
        raise SettingsError(
            f"settings file {str(file)!r} cannot be read: {_reason(error)}{where_looked(file)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {str(file)!r} cannot be read: {_reason(error)}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"settings file {str(file)!r} is not YAML: {_one_line(error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise SettingsError(f"settings file {str(file)!r} must be a mapping of settings")
    return values


def _from_environment(environment: Mapping[str, str]) -> list[tuple[tuple[str, ...], str]]:
    found = []
    for name, path in ENVIRONMENT.items():
        value = _variable(name, environment)
        if value is not None:
            found.append((path, value))
    for name in environment:
        known = name in ENVIRONMENT or name.removesuffix("_FILE") in SECRETS
        if name.startswith(_OURS) and not known and not _KUBERNETES.search(name):
            raise SettingsError(f"{name} is not a setting; allowed are {_similar(name)}")
    return found


def _variable(name: str, environment: Mapping[str, str]) -> str | None:
    path = environment.get(f"{name}_FILE") if name in SECRETS else None
    if name in environment and path:
        raise SettingsError(f"{name} and {name}_FILE are both set; allowed is one of them")
    if path:
        try:
            content = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{name}_FILE={path!r} cannot be read: {_reason(error)}") from None
        if not content:
            raise SettingsError(f"{name}_FILE={path!r} is empty; allowed is a file that holds the secret")
        return content
    # A variable set to nothing is one that was not given: compose files write `NAME: ${NAME:-}`.
    return environment.get(name) or None


def _similar(name: str) -> str:
    prefix = name.split("_", 1)[0] + "_"
    return ", ".join(known for known in ENVIRONMENT if known.startswith(prefix))


def _apply(values: dict[str, Any], found: list[tuple[tuple[str, ...], str]]) -> None:
    for path, value in found:
        here = values
        for key in path[:-1]:
            inner = here.setdefault(key, {})
            if not isinstance(inner, dict):
                raise SettingsError(f"{key} must be a mapping of settings, not {type(inner).__name__}")
            here = inner
        here[path[-1]] = value


def _validate(values: dict[str, Any]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(_explain(error, values)) from None


def _explain(error: ValidationError, values: dict[str, Any]) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    loc = tuple(str(part) for part in first["loc"])
    known = [name for name, path in ENVIRONMENT.items() if path == loc[: len(path)]]
    key = ".".join(loc[: len(ENVIRONMENT[known[0]])]) if known else ".".join(loc)
    if first["type"] == "extra_forbidden":
        return f"{key} is not a setting; see configs/sightline.yaml for those there are"
    value = _look_up(values, key)
    # A whole section may hold a secret: only a single value is shown, and no secret one.
    shown = "" if set(known) & SECRETS or not _is_single(loc, value) else f"{value!r}: "
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}{f' ({known[0]})' if known else ''}: {shown}{message[0].lower()}{message[1:]}"


def _is_single(loc: tuple[str, ...], value: object) -> bool:
    return (len(loc) > 1 or loc[0] not in _SECTIONS) and not isinstance(value, (dict, list))


def _look_up(values: dict[str, Any], key: str) -> object:
    here: Any = values
    for part in key.split("."):
        here = here.get(part) if isinstance(here, dict) else None
    return here


def _values(environment: Mapping[str, str], file: Path | None) -> dict[str, Any]:
    values = _read_file(file) if file else {}
    _apply(values, _from_environment(environment))
    return values


def _cameras_given(wanted: object) -> CamerasGiven:
    if not isinstance(wanted, str):
        kind = type(wanted).__name__
        raise SettingsError(
            f"cameras (SIGHTLINE_CAMERAS): a {kind}; allowed are a cameras file's path and id=url,id=url"
        )
    given = cameras_file_or_list(wanted)
    if given.file is not None and not given.file.is_file():
        looked = where_looked(wanted)
        raise SettingsError(f"SIGHTLINE_CAMERAS: {wanted!r} is not there; give a cameras file or id=url,id=url{looked}")
    return given


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not text"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def named_by_the_environment(section: str, environment: Mapping[str, str]) -> frozenset[str]:
    """Give the settings of a section that the environment has set, such as ``confidence`` of ``detector``."""
    return frozenset(path[-1] for path, _ in _from_environment(environment) if path[:-1] == (section,))


def process_environment() -> Mapping[str, str]:
    """Give this process's variables: the one place that reads them (design, decision 12)."""
    return os.environ
