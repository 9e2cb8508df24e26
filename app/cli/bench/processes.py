"""ProcessMeter: what the processes of one system cost, read from ``/proc`` (proc(5))."""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROPORTIONAL = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)
_KINDS = (
    ("CameraActor", "cameras"),
    ("DetectionIngress", "ingress"),
    ("ObjectDetector", "detectors"),
    ("KafkaPublisher", "publisher"),
    ("tansu", "embedded broker"),
    ("haproxy", "proxy"),
    ("HAProxyManager", "proxy"),
    ("ProxyActor", "proxy"),
    ("CameraManager", "camera manager"),
    ("ServeController", "Serve's controller"),
)
OTHERS = "Ray and the rest"
"""GCS, raylet, dashboard, agents, idle workers, ``serve run`` itself."""


@dataclass(frozen=True)
class Reading:
    """What one process has used up to now, and holds."""

    kind: str
    cpu_s: float
    megabytes: float
    """Its proportional share of memory (PSS)."""


@dataclass(frozen=True)
class ProcessCost:
    """What all processes of one kind used between two readings."""

    kind: str
    count: int
    """At the end."""
    cpu_s: float
    megabytes: float
    """At the end, all together."""


class ProcessMeter:
    """Reads every process that has a certain line in its environment, and their children.

    (The embedded broker is given no environment.)
    """

    def __init__(self, mark: str) -> None:
        """Make a meter; ``mark`` is the line, ``NAME=value``."""
        self._mark = mark.encode()

    def read(self) -> Mapping[int, Reading]:
        """Return a reading of each process, by its id."""
        places = [place for place in Path("/proc").iterdir() if place.name.isdigit()]
        marked = {int(place.name) for place in places if self._is_marked(place)}
        found = {}
        for place in places:
            with contextlib.suppress(OSError, IndexError):
                pid, fields = int(place.name), _fields(place)
                if pid in marked or int(fields[1]) in marked:
                    found[pid] = _reading(place, fields)
        return found

    def _is_marked(self, place: Path) -> bool:
        with contextlib.suppress(OSError):
            return self._mark in (place / "environ").read_bytes().split(b"\0")
        return False


def costs(before: Mapping[int, Reading], after: Mapping[int, Reading]) -> tuple[ProcessCost, ...]:
    """Return what was used between two readings by those alive at the second, the dearest kind first."""
    by_kind: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for pid, reading in after.items():
        earlier = before.get(pid)
        by_kind[reading.kind].append((reading.cpu_s - (earlier.cpu_s if earlier else 0.0), reading.megabytes))
    told = [
        ProcessCost(kind, len(used), sum(cpu for cpu, _ in used), sum(held for _, held in used))
        for kind, used in by_kind.items()
    ]
    return tuple(sorted(told, key=lambda cost: -cost.cpu_s))


def _fields(place: Path) -> list[str]:
    """Return the fields of ``stat`` from the third on: state, parent, …"""
    return (place / "stat").read_text().rpartition(")")[2].split()


def _reading(place: Path, fields: list[str]) -> Reading:
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    held = _PROPORTIONAL.search((place / "smaps_rollup").read_text())
    title = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return Reading(_kind(title), cpu_s, int(held.group(1)) / 1024 if held else 0.0)


def _kind(title: str) -> str:
    program = Path(title.split(" ")[0]).name
    told = title if title.startswith("ray::") else program
    return next((kind for text, kind in _KINDS if text in told), OTHERS)
