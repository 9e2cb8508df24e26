"""BenchReport: what a bench measured, as JSON and as a screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.cli.bench.plan import BenchPlan
from app.cli.bench.processes import ProcessCost
from app.core.quantiles import quantiles
from app.core.stage import EVENT_STAGES
from app.web.figures import QuantilesModel
from app.web.schemas import CameraModel, StatusModel

STAGES = (*EVENT_STAGES, "total")
"""As in events; ``total`` runs from capture to the hand-over to the Kafka client."""


@dataclass(frozen=True)
class Spread:
    """Quantiles in milliseconds."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the quantiles (nearest rank) of values in milliseconds; ``None`` where there are none."""
        found = quantiles(values)
        return None if found is None else cls(round(found.p50, 2), round(found.p95, 2), round(found.p99, 2))

    @classmethod
    def from_model(cls, model: QuantilesModel | None) -> Spread | None:
        """Convert the quantiles of the HTTP API."""
        return None if model is None else cls(model.p50, model.p95, model.p99)


@dataclass(frozen=True)
class Tally:
    """Frames and events between two statuses of a running system."""

    sampled: int
    accepted: int
    unconfirmed: int
    dropped: Mapping[str, int]
    published: int
    breaches: int
    """Published later than the budget."""
    accepted_by_camera: Mapping[str, int]

    @classmethod
    def between(cls, before: StatusModel, after: StatusModel) -> Tally:
        """Return the counts between two statuses; a camera that was restarted in between counts from its restart."""
        earlier = {camera.id: camera for camera in before.cameras}
        counts: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        by_camera = {}
        for camera in after.cameras:
            first = earlier.get(camera.id)
            same = first if first is not None and first.epoch == camera.epoch else None
            increments = {
                name: _count(camera, name) - _count(same, name) for name in ("sampled", "accepted", "unconfirmed")
            }
            counts.update(increments)
            by_camera[camera.id] = increments["accepted"]
            dropped.update(_dropped(camera))
            dropped.subtract(_dropped(same))
        published, breaches = (_publisher(after, name) - _publisher(before, name) for name in ("published", "breaches"))
        return cls(
            sampled=counts["sampled"],
            accepted=counts["accepted"],
            unconfirmed=counts["unconfirmed"],
            dropped={reason: count for reason, count in dropped.most_common() if count},
            published=published,
            breaches=breaches,
            accepted_by_camera=by_camera,
        )


@dataclass(frozen=True)
class BenchReport:
    """What was measured."""

    plan: BenchPlan
    machine: str
    seconds: float
    """Between the two statuses."""
    tally: Tally
    delivered_per_s: float
    """Events acknowledged by Kafka."""
    within_budget: float | None
    """Share of the published events acknowledged within the budget; ``None`` where nothing was published."""
    fairness: float | None
    """Jain's index of the cameras' accepted frames (see :func:`fairness`)."""
    capture_to_kafka_ms: Spread | None
    """From capture to acknowledgement, as measured by the publisher; of the last 2000 events at most."""
    stages_ms: Mapping[str, Spread]
    replicas: int
    """Detectors at the end."""
    processes: tuple[ProcessCost, ...]
    cpu_ms_per_frame: float | None
    """Processor time of all processes for each published event."""
    camera_megabytes: float | None
    """Memory (PSS) of one camera's process."""

    def as_json(self) -> dict[str, Any]:
        """Return it as values for JSON."""
        document = asdict(self)
        document["plan"]["recording"] = str(self.plan.recording) if self.plan.recording else None
        return document


def fairness(counts: Iterable[float]) -> float | None:
    """Return Jain's index (sum x)² / (n · sum x²): 1 where all are equal, 1/n where one has everything.

    Source: Jain, Chiu and Hawe, "A quantitative measure of fairness and discrimination", DEC-TR-301, 1984.
    """
    values = list(counts)
    squares = sum(value * value for value in values)
    return None if not squares else sum(values) ** 2 / (len(values) * squares)


def screen(report: BenchReport) -> RenderableType:
    """Return a report as one screen for a person."""
    tally = report.tally
    drops = ", ".join(f"{count} {reason}" for reason, count in tally.dropped.items()) or "none"
    share = "-" if report.within_budget is None else f"{report.within_budget:.1%}"
    equal = "-" if report.fairness is None else f"{report.fairness:.3f}"
    cost = "-" if report.cpu_ms_per_frame is None else f"{report.cpu_ms_per_frame:.1f} ms"
    memory = "-" if report.camera_megabytes is None else f"{report.camera_megabytes:.0f} MB"
    lines = {
        "load": report.plan.description,
        "machine": report.machine,
        "delivered": f"{report.delivered_per_s:.1f} events/s, {share} within the budget",
        "frames": f"{tally.sampled} sampled, {tally.accepted} accepted, {tally.unconfirmed} unconfirmed",
        "dropped": drops,
        "fairness": f"{equal} (Jain's index over the cameras)",
        "cost": f"{cost} of processor time an event; {memory} a camera; {report.replicas} detector replicas",
    }
    rows = [Text(f"{name:<10} {text}") for name, text in lines.items()]
    return Group(*rows, Text(), _latencies(report), Text(), _costs(report))


def _latencies(report: BenchReport) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("latency, ms")
    spreads = {**report.stages_ms, "to Kafka": report.capture_to_kafka_ms}
    for name in spreads:
        table.add_column(name, justify="right")
    for share in ("p50", "p95", "p99"):
        table.add_row(share, *(f"{getattr(one, share):.1f}" if one else "-" for one in spreads.values()))
    return table


def _costs(report: BenchReport) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in ("processes", "number", "cores", "CPU ms an event", "MB"):
        table.add_column(name, justify="left" if name == "processes" else "right")
    for cost in report.processes:
        each = f"{1000 * cost.cpu_s / report.tally.published:.2f}" if report.tally.published else "-"
        cores = f"{cost.cpu_s / report.seconds:.2f}"
        table.add_row(cost.kind, str(cost.count), cores, each, f"{cost.megabytes:.0f}")
    return table


def _count(camera: CameraModel | None, name: str) -> int:
    return 0 if camera is None or camera.ledger is None else int(getattr(camera.ledger, name))


def _dropped(camera: CameraModel | None) -> Mapping[str, int]:
    return {} if camera is None or camera.ledger is None else camera.ledger.dropped


def _publisher(status: StatusModel, name: str) -> int:
    return 0 if status.publisher is None else int(getattr(status.publisher, name))
