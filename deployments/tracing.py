"""Tracing by Serve's own ``TracingConfig``: which processes are traced, and where the spans go.

Serve 2.60 reads ``tracing_config`` of ``serve_config.yaml`` in each replica. Its proxies do not (``ProxyActor`` takes
none): they are traced where ``RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH`` is in the environment when Ray starts. Without
that their spans are missing, and the trace is joined again in the ingress (``app.telemetry.tracing``). The tuned
environment of ``sightline up`` has no such proxies.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve._private.logging_utils import get_serve_logs_dir
from ray.serve._private.tracing_utils import is_tracing_enabled, setup_tracing
from ray.serve.schema import TracingConfig

from app.ingress.tracing import ServiceTracing
from app.settings.environment import process_environment

if TYPE_CHECKING:
    from app.cameras.sending.tracing import CameraTracing

logger = logging.getLogger("ray.serve")

EXPORT_DELAY_MS = 1_000
"""Spans are written in batches, off the event loop; spans younger than this are lost when a process is killed."""
FILE_BYTES, FILES_KEPT = 50_000_000, 1
"""A process's file of spans is rotated at this size; so many old ones are kept."""
OTLP_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
TRACER = "sightline"


class SpanFile(SpanExporter):
    """Writes spans into a file, one JSON object a line."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file = logging.handlers.RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write spans."""
        for span in spans:
            self._file.emit(logging.makeLogRecord({"msg": span.to_json(indent=None)}))
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()


def exporters() -> list[SpanProcessor]:
    """Return the span processor of this process; ``exporter_import_path`` of ``serve_config.yaml`` names this function.

    Spans go to the collector that ``OTEL_EXPORTER_OTLP_ENDPOINT`` names (OTLP over HTTP), where it is set; else into
    ``logs/serve/spans/`` of the Ray session. Serve calls it in each replica, without arguments, so OpenTelemetry's own
    variables are the only way to name a collector.
    """
    return [BatchSpanProcessor(_otlp() or _file(), schedule_delay_millis=EXPORT_DELAY_MS)]


def _file() -> SpanExporter:
    return SpanFile(Path(get_serve_logs_dir()) / "spans" / f"{os.getpid()}.jsonl")


def _otlp() -> SpanExporter | None:
    named = next((name for name in OTLP_ENDPOINTS if process_environment().get(name)), None)
    if named is None:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        logger.error("%s is set, but spans go to files: pip install 'sightline[otlp]'", named)
        return None
    exporter: SpanExporter = OTLPSpanExporter()  # it reads its variables itself
    return exporter


def service_tracing() -> ServiceTracing | None:
    """Return the tracing of this replica; ``None`` where Serve has not set it up: it is off."""
    return ServiceTracing(trace.get_tracer(TRACER)) if is_tracing_enabled() else None


def tracing_config() -> TracingConfig | None:
    """Return Serve's tracing configuration, for the actors that Serve does not start; ``None``: tracing is off."""
    controller: Any = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    answer: Any = ray.get(controller.get_tracing_config.remote())
    config: TracingConfig = answer or TracingConfig()  # which reads Serve's environment variables, as replicas do
    return config if config.enabled else None


def camera_tracing(camera_id: str, config: TracingConfig) -> CameraTracing:
    """Set up tracing in a camera's process as Serve does in its replicas."""
    from app.cameras.sending.tracing import CameraTracing  # other processes know of no frame

    setup_tracing(component_name="camera", component_id=camera_id, tracing_config=config)
    return CameraTracing(trace.get_tracer(TRACER))
