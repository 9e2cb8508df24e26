"""Logging: the lines of every process of Sightline go into the session's ``logs/serve/``, in the format of Serve's own.

Serve configures its logger in replicas only, and modules of ``app`` do not use it. The actors that Sightline starts,
cameras, publisher and broker, have no log file at all, and do not show ``INFO``. They do not import Serve either, which
takes a second of processor time and 30 MB.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
from pathlib import Path
from typing import Any

import ray
from ray._common.filters import CoreContextFilter
from ray._common.formatters import JSONFormatter

SERVE = "ray.serve"
"""Serve's logger: ``deployments`` logs to it, and lines of ``app`` are forwarded to it."""
_LEFT_OUT = ("job_id", "task_id")
"""What Serve leaves out of what Ray adds to each line."""


class _ToServe(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger(SERVE).handle(record)


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
    node: Any = ray._private.worker._global_node
    serve = logging.getLogger(SERVE)
    serve.setLevel(logging.INFO)
    serve.propagate = False
    name, logs = name or str(os.getpid()), Path(node.get_logs_dir_path())
    serve.handlers = [
        actor_file(logs, component, name, node.max_bytes, node.backup_count),
        _terminal(component, name),
    ]
    log_as_serve()


def actor_file(
    logs: Path, component: str, name: str, max_bytes: int, backup_count: int
) -> logging.handlers.RotatingFileHandler:
    """Return the handler of an actor's file, whose lines have the fields of Serve's.

    Args:
        logs: folder of the Ray session's logs.
        component: what the actor is.
        name: which actor.
        max_bytes: a file is rotated at this size.
        backup_count: so many old ones are kept.
    """
    folder = logs / "serve"
    folder.mkdir(parents=True, exist_ok=True)
    file = logging.handlers.RotatingFileHandler(
        folder / f"{component}_{name}.log", maxBytes=max_bytes, backupCount=backup_count
    )
    file.addFilter(CoreContextFilter())
    file.addFilter(_Component(component, name))
    file.setFormatter(JSONFormatter())
    return file


class _Component(logging.Filter):
    """Adds which actor a line is of, as Serve does."""

    def __init__(self, component: str, name: str) -> None:
        super().__init__()
        self._component, self._name = component, name

    def filter(self, record: logging.LogRecord) -> bool:
        record.component_name, record.component_id = self._component, self._name
        for key in _LEFT_OUT:
            record.__dict__.pop(key, None)
        return True


def _terminal(component: str, name: str) -> logging.Handler:
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter(f"%(levelname)s %(asctime)s {component} {name} -- %(message)s"))
    return terminal
