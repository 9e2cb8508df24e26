"""What the actors of ours hold inside, counted in their own processes: no allocator blurs that."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import ray
from ray.experimental.internal_kv import _internal_kv_list

OURS = {
    "CameraManager": re.compile(r"SERVE_REPLICA::cameras#CameraManager#"),
    "DetectionIngress": re.compile(r"SERVE_REPLICA::inference#DetectionIngress#"),
    "KafkaPublisher": re.compile(r"SERVE_DEPLOYMENT_ACTOR::inference::DetectionIngress::.*::publisher$"),
}
"""Their names in Ray; cameras have none, and go."""
READINGS = 5
"""Of each the least counts: what is under way at one instant is no growth."""
_ANONYMOUS = re.compile(r"^Anonymous:\s+(\d+) kB", re.MULTILINE)


@dataclass(frozen=True)
class Inside:
    """What one process holds."""

    objects: int
    """Those that Python's collector knows, once it has collected."""
    blocks: int
    """Of memory that Python gave out: numbers and texts too."""
    tasks: int
    """Of asyncio that have not ended, on whichever loop."""
    kilobytes: int
    """Anonymous memory, once all that is free has been given back."""

    def since(self, before: Inside) -> Inside:
        """Return the growth."""
        return Inside(*(getattr(self, each.name) - getattr(before, each.name) for each in fields(self)))


def look_inside(meanwhile: Callable[[], object]) -> dict[str, Inside]:
    """Look into every actor of ours; ``meanwhile`` is called between two readings."""
    readings: dict[str, list[Inside]] = {}
    for _ in range(READINGS):
        meanwhile()
        for title, actor in _actors().items():
            readings.setdefault(title, []).append(ray.get(actor.__ray_call__.remote(_count), timeout=60))
    return {title: _least(several) for title, several in readings.items()}


def actor_classes() -> int:
    """Count the actor classes that the cluster's head was given; it keeps them for good."""
    return len(_internal_kv_list(b"ActorClass", namespace=b"fun"))


def _actors() -> dict[str, Any]:
    named = ray.util.list_named_actors(all_namespaces=True)
    found = {}
    for title, pattern in OURS.items():
        one, *others = (each for each in named if pattern.match(each["name"]))
        assert not others, title
        found[title] = ray.get_actor(one["name"], namespace=one["namespace"])
    return found


def _least(several: list[Inside]) -> Inside:
    return Inside(*(min(getattr(one, each.name) for one in several) for each in fields(Inside)))


def _count(_actor: object) -> Inside:
    gc.collect()
    every = gc.get_objects()
    tasks = sum(isinstance(one, asyncio.Task) and not one.done() for one in every)
    ctypes.CDLL(None).malloc_trim(0)
    kilobytes = sum(map(int, _ANONYMOUS.findall(Path("/proc/self/smaps_rollup").read_text())))
    return Inside(len(every), sys.getallocatedblocks(), tasks, kilobytes)
