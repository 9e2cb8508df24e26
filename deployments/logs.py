"""Logging: the lines of every process of Sightline go into the session's ``logs/serve/``, in the format of Serve's own.

Serve configures its logger in replicas only, and modules of ``app`` do not use it. The actors that Sightline starts,
cameras, publisher and broker, have no log file at all, and do not show ``INFO``. And Serve's proxies do not get
``logging_config`` from ``serve run``.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import ray
from ray.serve._private.constants import RAY_SERVE_LOG_TO_STDERR, SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve._private.logging_utils import configure_component_logger
from ray.serve.schema import LoggingConfig

SERVE = "ray.serve"
"""Serve's logger: ``deployments`` logs to it, and lines of ``app`` are forwarded to it."""
_CONFIG = LoggingConfig(encoding="JSON", enable_access_log=False)


class _ToServe(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(SERVE).handle(record)


def configure_proxy_logs() -> None:
    """Configure Serve's proxies and its controller to log as ``serve_config.yaml`` asks: JSON, and no line per request.

    ``serve deploy`` passes ``logging_config`` to them, ``serve run`` of Serve 2.60 only to the applications. A
    configuration that is set already is left as it is.
    """
    controller: Any = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    current: Any = ray.get(controller._get_logging_config.remote())
    if current[0] == LoggingConfig():
        ray.get(controller.reconfigure_global_logging_config.remote(_CONFIG))


def log_as_serve() -> None:
    """Forward the lines of ``app`` to Serve's logger; to be called in each replica before anything of ``app`` logs."""
    app = logging.getLogger("app")
    if not any(isinstance(handler, _ToServe) for handler in app.handlers):
        app.addHandler(_ToServe())
    app.setLevel(logging.INFO)
    app.propagate = False


def log_beside_serve(component: str, name: str | None = None) -> None:
    """Write an actor's lines into ``<component>_<name>.log``, as JSON, beside the replicas' files.

    They also go to the actor's standard error, as text, and so to the terminal of ``serve run``.

    Args:
        component: what the actor is.
        name: which actor; ``None``: its process id.
    """
    configure_component_logger(
        component_name=component,
        component_id=name or str(os.getpid()),
        logging_config=_CONFIG,
    )
    if not RAY_SERVE_LOG_TO_STDERR:  # the tuned environment, which is meant for Serve's many lines
        terminal = logging.StreamHandler()
        terminal.setFormatter(logging.Formatter(f"%(levelname)s %(asctime)s {component} -- %(message)s"))
        logging.getLogger(SERVE).addHandler(terminal)
    log_as_serve()


def print_to_terminal(line: str) -> None:
    """Write a line to the terminal, past the logs: Serve's tuned mode does not show them, and replaces ``print``."""
    if sys.__stdout__ is not None:
        sys.__stdout__.write(f"{line}\n")
        sys.__stdout__.flush()
