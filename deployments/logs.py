"""Where our lines go: whatever process writes them, into the session's ``logs/serve/``, in the form of Serve's own.

Serve has its logger write into files in replicas only, and modules of ``app`` know nothing of it. In the actors that
are ours, cameras, publisher and broker, there is no file at all, and ``INFO`` is not shown. And Serve's proxies are
never told of ``logging_config`` by ``serve run``.
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
"""Serve's logger; lines of ``deployments`` go to it, and those of ``app`` are handed on to it."""
_CONFIG = LoggingConfig(encoding="JSON", enable_access_log=False)


class _ToServe(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(SERVE).handle(record)


def lead_proxies() -> None:
    """Have Serve's proxies and its controller log as ``serve_config.yaml`` asks: JSON, and no line a frame.

    ``serve deploy`` hands ``logging_config`` on to them, ``serve run`` of Serve 2.60 to the applications alone. Where
    somebody has set it, it stays as it is.
    """
    controller: Any = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    told: Any = ray.get(controller._get_logging_config.remote())
    if told[0] == LoggingConfig():
        ray.get(controller.reconfigure_global_logging_config.remote(_CONFIG))


def log_as_serve() -> None:
    """Hand the lines of ``app`` on to Serve's logger; in each replica, before anything of it writes."""
    ours = logging.getLogger("app")
    if not any(isinstance(handler, _ToServe) for handler in ours.handlers):
        ours.addHandler(_ToServe())
    ours.setLevel(logging.INFO)
    ours.propagate = False


def log_beside_serve(component: str, name: str | None = None) -> None:
    """Write the lines of an actor of ours into ``<component>_<name>.log``, JSON, beside the replicas' files.

    They go to the actor's standard error too, as text, and so to the terminal of ``serve run``.

    Args:
        component: what the actor is.
        name: which one; where there is only one, its process id.
    """
    configure_component_logger(
        component_name=component,
        component_id=name or str(os.getpid()),
        logging_config=_CONFIG,
    )
    if not RAY_SERVE_LOG_TO_STDERR:  # the tuned environment: meant for the many lines of Serve, not for our few
        shown = logging.StreamHandler()
        shown.setFormatter(logging.Formatter(f"%(levelname)s %(asctime)s {component} -- %(message)s"))
        logging.getLogger(SERVE).addHandler(shown)
    log_as_serve()


def say(line: str) -> None:
    """Write a line to the terminal, past the logs: Serve's tuned mode keeps those away, and replaces print as well."""
    if sys.__stdout__ is not None:
        sys.__stdout__.write(f"{line}\n")
        sys.__stdout__.flush()
