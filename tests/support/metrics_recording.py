"""A recording of a running system's metrics, and a page that shows it as if the system ran on.

``python -m tests.e2e.record_metrics`` makes ``tests/io/prometheus/metrics.prom``: of all that Prometheus would scrape,
the samples that a rule or a panel asks for.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.paths import ROOT

RECORDING = ROOT / "tests" / "io" / "prometheus" / "metrics.prom"
RULES = yaml.safe_load((ROOT / "configs" / "prometheus" / "rules.yml").read_text())
DASHBOARD = json.loads((ROOT / "configs" / "grafana" / "dashboards" / "sightline.json").read_text())
EVERY_RULE: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in EVERY_RULE if "alert" in rule]
RECORDED = [rule for rule in EVERY_RULE if "record" in rule]
PANELS = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
NEEDS_A_GPU = re.compile(r"ray_node_(gpus|gram)")
COUNTER = re.compile(r"_(total|bucket|count|sum)$")
PROCESS = "WorkerId"
"""The label that tells one process from another."""
OURS = {PROCESS, "application", "camera_id", "channel", "deployment", "direction", "label", "le", "reason", "replica"}
OURS |= {"rule", "shard", "stage", "state"}
"""The labels that are kept; the others say on which machine it was recorded, and when."""


def without_threshold(expression: str) -> str:
    """Return what an alert looks at.

    >>> without_threshold("sightline:detector_replicas:running < 1")
    'sightline:detector_replicas:running'
    """
    bare, count = re.subn(r"\s*(?:>=|<=|==|>|<)\s*[\d.]+\s*$", "", expression)
    assert count == 1, f"an alert ends with its threshold: {expression}"
    return bare


def names_asked_for() -> set[str]:
    """Return the metrics of a running system that a rule or a panel asks for, but those of a GPU."""
    expressions = [rule["expr"] for rule in EVERY_RULE] + [expression for _, expression in PANELS]
    names = {name for expression in expressions for name in re.findall(r"\bray_\w+", expression)}
    return {name for name in names if not NEEDS_A_GPU.match(name)}


def record(exposition: str, names: Iterable[str]) -> str:
    """Return the samples of these names, one a line, without what tells of the machine they were read on."""
    wanted = tuple(names)
    kept = "\n".join(line for line in exposition.splitlines() if line.startswith(wanted))
    lines, workers = set(), dict[str, str]()
    for family in text_string_to_metric_families(kept + "\n"):
        for sample in family.samples:
            labels = {name: value for name, value in sample.labels.items() if name in OURS}
            if PROCESS in labels:
                labels[PROCESS] = workers.setdefault(labels[PROCESS], str(len(workers) + 1))
            text = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items()))
            lines.add(f"{sample.name}{{{text}}} {sample.value:g}")
    return "\n".join(sorted(lines)) + "\n"


class RecordedPage:
    """What one scrape after the other sees: the recording, each of its counters one higher at each."""

    def __init__(self, recording: str) -> None:
        self._samples = [line.rsplit(" ", 1) for line in recording.splitlines()]
        self._scrapes = 0

    def read(self) -> str:
        """Return the next reading."""
        self._scrapes += 1
        return "".join(f"{name} {float(value) + self._grown(name)}\n" for name, value in self._samples)

    def _grown(self, name: str) -> int:
        return self._scrapes if COUNTER.search(name.split("{")[0]) else 0


@contextlib.contextmanager
def serving(page: RecordedPage, port: int = 0) -> Iterator[str]:
    """Serve a page, and yield its ``host:port``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server asks for
            body = page.read().encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def targets_file(folder: Path, target: str) -> Path:
    """Write the list of targets as Ray writes it."""
    file = folder / "prom_metrics_service_discovery.json"
    file.write_text(json.dumps([{"labels": {"job": "ray"}, "targets": [target]}]))
    return file
