"""Logging of the processes that are Serve's: its proxies do not get ``logging_config`` from ``serve run``."""

from __future__ import annotations

import sys
from typing import Any

import ray
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.schema import LoggingConfig

_CONFIG = LoggingConfig(encoding="JSON", enable_access_log=False)


def configure_proxy_logs() -> None:
    """Configure Serve's proxies and its controller to log as ``serve_config.yaml`` asks: JSON, and no line per request.

    ``serve deploy`` passes ``logging_config`` to them, ``serve run`` of Serve 2.60 only to the applications. A
    configuration that is set already is left as it is.
    """
    controller: Any = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    current: Any = ray.get(controller._get_logging_config.remote())
    if current[0] == LoggingConfig():
        ray.get(controller.reconfigure_global_logging_config.remote(_CONFIG))


def print_to_terminal(line: str) -> None:
    """Write a line to the terminal, past the logs: Serve's tuned mode does not show them, and replaces ``print``."""
    if sys.__stdout__ is not None:
        sys.__stdout__.write(f"{line}\n")
        sys.__stdout__.flush()
