"""Growth: what every process of the tests' own cluster holds, sampled, and whether it grows."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.support.ray_cluster import MARK

_ANONYMOUS = re.compile(r"^Anonymous:\s+(\d+) kB", re.MULTILINE)
_METHOD = re.compile(r"\.\w+$")


@dataclass(frozen=True)
class Identity:
    """One process, however its title changes and its number is used again."""

    pid: int
    started: str


@dataclass(frozen=True)
class Holding:
    """What a process held at one instant."""

    at: float
    """Seconds, monotonic."""
    megabytes: float
    """Anonymous memory: not the pages of programs and libraries, which count as private or shared as other
    clusters on the machine come and go."""
    files: int
    threads: int


@dataclass(frozen=True)
class Trend:
    """One process over the time after the warm-up."""

    title: str
    pid: int
    megabytes: float
    """At the end."""
    growth: float
    """Megabytes in ten minutes: the median of the slopes between all pairs of samples (Theil and Sen)."""
    files: tuple[int, int]
    """Medians of the first and of the last third."""
    threads: tuple[int, int]


IDLE_MARK = f"IDLE_RAY_OF={os.getpid()}"
_IDLE = """
import ray, sys
ray.init(address="local", num_cpus=1, include_dashboard=False)
print(flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def idle_ray() -> Iterator[None]:
    """Run a Ray cluster in which nothing of ours runs: what grows there is Ray's own."""
    environment = {name: value for name, value in os.environ.items() if f"{name}={value}" != MARK}
    environment.update([IDLE_MARK.split("=")])
    command = [sys.executable, "-c", _IDLE]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate(timeout=60)


class Watched:
    """Samples the processes that belong to a cluster; the embedded broker and the test itself are none of them."""

    def __init__(self, mark: str = MARK) -> None:
        self._mark = mark.encode()
        self.titles: dict[Identity, str] = {}
        self._holdings: dict[Identity, list[Holding]] = defaultdict(list)

    def sample(self, at: float) -> None:
        """Take one sample of every process."""
        for place in _processes(self._mark):
            with contextlib.suppress(OSError, IndexError):
                fields = (place / "stat").read_text().rpartition(")")[2].split()
                identity = Identity(int(place.name), fields[19])
                kilobytes = sum(map(int, _ANONYMOUS.findall((place / "smaps_rollup").read_text())))
                files = len(list((place / "fd").iterdir()))
                self._holdings[identity].append(Holding(at, kilobytes / 1024, files, int(fields[17])))
                self.titles[identity] = _title(place)

    def trends(self, begin: float) -> list[Trend]:
        """Return the trend of each process that was there from ``begin`` to the last sample, the fastest first."""
        last = max((holdings[-1].at for holdings in self._holdings.values()), default=0.0)
        lasting = {
            identity: [one for one in holdings if one.at >= begin]
            for identity, holdings in self._holdings.items()
            if holdings[0].at <= begin and holdings[-1].at == last
        }
        trends = [_trend(self.titles[identity], identity.pid, held) for identity, held in lasting.items()]
        return sorted(trends, key=lambda trend: -trend.growth)


def slope(times: list[float], values: list[float]) -> float:
    """Return the median of the slopes between all pairs of samples; single outliers do not move it."""
    at, value = np.array(times), np.array(values)
    one, other = np.triu_indices(len(at), k=1)
    return float(np.median((value[other] - value[one]) / (at[other] - at[one])))


def rows_of(trends: list[Trend]) -> list[str]:
    """Return the lines of a markdown table."""
    head = ["| process | MB at the end | MB in 10 minutes | files | threads |", "|---|---|---|---|---|"]
    return head + [
        f"| {trend.title} | {trend.megabytes:.1f} | {trend.growth:+.2f} "
        f"| {_change(trend.files)} | {_change(trend.threads)} |"
        for trend in trends
    ]


def _change(counts: tuple[int, int]) -> str:
    first, last = counts
    return str(last) if first == last else f"{first} → {last}"


def _trend(title: str, pid: int, held: list[Holding]) -> Trend:
    third = max(1, len(held) // 3)

    def ends(values: list[int]) -> tuple[int, int]:
        return int(np.median(values[:third])), int(np.median(values[-third:]))

    return Trend(
        title,
        pid,
        held[-1].megabytes,
        600 * slope([one.at for one in held], [one.megabytes for one in held]),
        ends([one.files for one in held]),
        ends([one.threads for one in held]),
    )


def _processes(mark: bytes) -> Iterator[Path]:
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            ours = place.name.isdigit() and mark in (place / "environ").read_bytes().split(b"\0")
            if ours and int(place.name) != os.getpid():
                yield place


def _title(place: Path) -> str:
    """Name a process: a Ray worker's title without the method it runs, else its program or script."""
    words = (place / "cmdline").read_bytes().decode(errors="replace").split("\0")
    if words[0].startswith("ray::"):
        return _METHOD.sub("", words[0].strip())
    return next((Path(word).name for word in words if word.endswith(".py")), Path(words[0]).name)
