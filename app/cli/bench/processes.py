"""ProcessMeter: CPU time and memory of the processes of one system, read from ``/proc`` (proc(5))."""

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
    """CPU time and memory of one process at one instant."""

    kind: str
    cpu_s: float
    megabytes: float
    """Its proportional set size (PSS)."""


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
    """Reads every process that has a certain variable in its environment, and their children.

    The children count because the embedded broker is started without an environment.
    """

    def __init__(self, mark: str) -> None:
        """Make a meter; ``mark`` is the variable, ``NAME=value``."""
        self._mark = mark.encode()

    def read(self) -> Mapping[int, Reading]:
        """Return a reading of each process, by process id."""
        folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
        marked = {int(folder.name) for folder in folders if self._is_marked(folder)}
        found = {}
        for folder in folders:
            with contextlib.suppress(OSError, IndexError):
                pid, fields = int(folder.name), _fields(folder)
                if pid in marked or int(fields[1]) in marked:
                    found[pid] = _reading(folder, fields)
        return found

    def _is_marked(self, folder: Path) -> bool:
        with contextlib.suppress(OSError):
            return self._mark in (folder / "environ").read_bytes().split(b"\0")
        return False


def costs(before: Mapping[int, Reading], after: Mapping[int, Reading]) -> tuple[ProcessCost, ...]:
    """Return what the processes alive at the second reading used since the first, by kind, the most CPU time first."""
    by_kind: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for pid, reading in after.items():
        earlier = before.get(pid)
        by_kind[reading.kind].append((reading.cpu_s - (earlier.cpu_s if earlier else 0.0), reading.megabytes))
    by_cost = [
        ProcessCost(kind, len(used), sum(cpu for cpu, _ in used), sum(megabytes for _, megabytes in used))
        for kind, used in by_kind.items()
    ]
    return tuple(sorted(by_cost, key=lambda cost: -cost.cpu_s))


def _fields(folder: Path) -> list[str]:
    """Return the fields of ``stat`` from the third on: state, parent, …"""
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _reading(folder: Path, fields: list[str]) -> Reading:
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    pss = _PROPORTIONAL.search((folder / "smaps_rollup").read_text())
    title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return Reading(_kind(title), cpu_s, int(pss.group(1)) / 1024 if pss else 0.0)


def _kind(title: str) -> str:
    program = Path(title.split(" ")[0]).name
    searched = title if title.startswith("ray::") else program
    return next((kind for text, kind in _KINDS if text in searched), OTHERS)
