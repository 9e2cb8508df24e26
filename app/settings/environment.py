"""The environment variables of Sightline, and the one place that reads them (``app/README.md``, decision 12)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from app.core.read_failure import read_failure
from app.errors import SettingsError

ENVIRONMENT: Mapping[str, tuple[str, ...]] = {
    "INFERENCE_SERVICE_URL": ("inference_service_url",),
    "INFERENCE_FPS": ("inference_fps",),
    "KAFKA_BOOTSTRAP_SERVERS": ("kafka", "bootstrap_servers"),
    "KAFKA_ENABLED": ("kafka", "enabled"),
    "KAFKA_TOPIC": ("kafka", "topic"),
    "KAFKA_ANOMALIES_TOPIC": ("kafka", "anomalies_topic"),
    "KAFKA_OBJECTS_TOPIC": ("kafka", "objects_topic"),
    "KAFKA_SECURITY_PROTOCOL": ("kafka", "security_protocol"),
    "KAFKA_SASL_MECHANISM": ("kafka", "sasl_mechanism"),
    "KAFKA_SASL_USERNAME": ("kafka", "sasl_username"),
    "KAFKA_SASL_PASSWORD": ("kafka", "sasl_password"),
    "KAFKA_SASL_OAUTH_TOKEN_URL": ("kafka", "sasl_oauth_token_url"),
    "KAFKA_SASL_OAUTH_CLIENT_ID": ("kafka", "sasl_oauth_client_id"),
    "KAFKA_SASL_OAUTH_CLIENT_SECRET": ("kafka", "sasl_oauth_client_secret"),
    "KAFKA_SASL_OAUTH_SCOPE": ("kafka", "sasl_oauth_scope"),
    "KAFKA_SSL_CAFILE": ("kafka", "ssl_cafile"),
    "KAFKA_SSL_CERTFILE": ("kafka", "ssl_certfile"),
    "KAFKA_SSL_KEYFILE": ("kafka", "ssl_keyfile"),
    "DETECTOR_MODEL": ("detector", "model"),
    "DETECTOR_DEVICE": ("detector", "device"),
    "DETECTOR_CONFIDENCE": ("detector", "confidence"),
    "DETECTOR_IOU": ("detector", "iou"),
    "DETECTOR_CLASSES": ("detector", "classes"),
    "DETECTOR_IMAGE_SIZE": ("detector", "image_size"),
    "DETECTOR_MAX_DETECTIONS": ("detector", "max_detections"),
    "SIGHTLINE_CAMERAS": ("cameras",),
    "SIGHTLINE_EVIDENCE_URL": ("evidence", "url"),
    "AWS_REGION": ("evidence", "region"),
    "AWS_ENDPOINT_URL": ("evidence", "endpoint_url"),
    "AWS_ACCESS_KEY_ID": ("evidence", "access_key_id"),
    "AWS_SECRET_ACCESS_KEY": ("evidence", "secret_access_key"),
    "AWS_SESSION_TOKEN": ("evidence", "session_token"),
    "SIGHTLINE_RULES": ("rules",),
    "SIGHTLINE_TRACKING": ("tracking", "enabled"),
    "SIGHTLINE_TRACKING_LOW": ("tracking", "low"),
    "SIGHTLINE_TRACKING_HIGH": ("tracking", "high"),
    "SIGHTLINE_TRACKING_LOST_AFTER": ("tracking", "lost_after"),
    "SIGHTLINE_LATENCY_BUDGET_MS": ("latency_budget_ms",),
    "SIGHTLINE_SPOOL_DIR": ("spool", "dir"),
    "SIGHTLINE_STATE_DIR": ("state_dir",),
    "SIGHTLINE_TOKEN": ("token",),
    "SIGHTLINE_TLS_CAFILE": ("tls", "cafile"),
    "SIGHTLINE_TLS_CERTFILE": ("tls", "certfile"),
    "SIGHTLINE_TLS_KEYFILE": ("tls", "keyfile"),
}
"""Each environment variable and the setting it sets."""
SECRETS = frozenset(
    {
        *("SIGHTLINE_TOKEN", "KAFKA_SASL_PASSWORD", "KAFKA_SASL_USERNAME", "KAFKA_SASL_OAUTH_CLIENT_SECRET"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    }
)
"""Variables that may be given as ``NAME_FILE``, a path; their values are never shown."""
_PREFIXES = ("SIGHTLINE_", "DETECTOR_")
_KUBERNETES = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)$")
"""What Kubernetes puts into every pod for a Service, which may well be called ``sightline`` or ``detector``."""


def from_environment(environment: Mapping[str, str]) -> list[tuple[tuple[str, ...], str]]:
    """Return each setting that the environment gives: the path of its key, and its text.

    Raises:
        SettingsError: a variable with a prefix of Sightline's is unknown, or a secret cannot be read.
    """
    found = []
    for name, path in ENVIRONMENT.items():
        value = _variable(name, environment)
        if value is not None:
            found.append((path, value))
    for name in environment:
        known = name in ENVIRONMENT or name.removesuffix("_FILE") in SECRETS
        if name.startswith(_PREFIXES) and not known and not _KUBERNETES.search(name):
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
            raise SettingsError(f"{name}_FILE={path!r} cannot be read: {read_failure(error)}") from None
        if not content:
            raise SettingsError(f"{name}_FILE={path!r} is empty; allowed is a file that holds the secret")
        return content
    # A variable set to nothing is one that was not given: compose files write `NAME: ${NAME:-}`.
    return environment.get(name) or None


def _similar(name: str) -> str:
    prefix = name.split("_", 1)[0] + "_"
    return ", ".join(known for known in ENVIRONMENT if known.startswith(prefix))


def named_by_the_environment(section: str, environment: Mapping[str, str]) -> frozenset[str]:
    """Return the settings of a section that the environment has set, such as ``confidence`` of ``detector``."""
    return frozenset(path[-1] for path, _ in from_environment(environment) if path[:-1] == (section,))


def bypass_proxies(host: str) -> None:
    """Have the libraries of this process connect to a host directly.

    FFmpeg takes ``http_proxy`` for every TLS connection, ``rtsps://`` included, and has no option against that but
    ``no_proxy`` (libavformat/tls.c).
    """
    named = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
    if "http_proxy" in os.environ and host not in re.split(r"[\s,]+", named):
        os.environ["no_proxy"] = f"{named},{host}".strip(",")


def process_environment() -> Mapping[str, str]:
    """Return this process's variables: the one place that reads them (``app/README.md``, decision 12)."""
    return os.environ
