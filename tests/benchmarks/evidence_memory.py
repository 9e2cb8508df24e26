"""What evidence costs in memory: a publisher whose cameras all have a rule that asks for it, beside one without.

    python -m tests.benchmarks.evidence_memory [--cameras 50] [--fps 5] [--seconds 90] [--rounds 2]

Each publisher is a process of its own with its own spool, as in the running system, without Ray and with Kafka off; its
evidence goes to a folder. Cameras send in real time, each frame with a picture of the simulated street of 640x360
pixels, of which no two share memory, where the publisher's receipts ask for pictures. Each camera has an incident a
minute, with a snapshot and a clip of ten seconds; the cameras' minutes are spread. Both publishers have the same rule,
but for what it asks for, and take turns. Printed: resident memory (its peak, and the median of the last third), its
difference, how many pictures and clips were stored, and what was kept in memory for the clips to come.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.queues import Queue
from pathlib import Path

from app.core.event import DetectedObject, DetectionEvent, StageLatencies
from app.evidence.rows import EvidenceAccounts
from app.publisher import EventPublisher, Shard, SpoolOptions, SpoolWriter, Submission, open_shard
from app.publisher.analysis import FrameAnalysis
from app.publisher.evidence import make_evidence
from app.publisher.evidence_desk import EvidenceDesk
from app.settings.evidence import EvidenceSettings
from app.settings.tracking import TrackingSettings
from tests.support.evidence import street_pictures
from tests.support.silent_observer import SilentObserver

PICTURES = 100
"""Different pictures of the street; each frame gets a copy of one."""
INCIDENT_S, EVERY_S = 4.0, 60.0
"""How long an incident lasts, and how often a camera has one."""
LOOK_S = 0.25
READY_S = 120.0
MEGABYTE = 1e6


@dataclass(frozen=True)
class Load:
    """What one publisher is to carry."""

    cameras: int
    fps: float
    seconds: float
    folder: Path
    evidence: bool


@dataclass(frozen=True)
class Used:
    """What it used; bytes."""

    peak: float
    last: float
    """The median of the last third."""
    pictures: int
    """In memory at the end."""
    accounts: EvidenceAccounts
    late_s: float
    """How far behind its time the last frame was."""


def rule(evidence: bool) -> str:
    everywhere = [[0, 0], [1, 0], [1, 1], [0, 1]]
    asked = ["snapshot", "clip"] if evidence else []
    one = {"id": "cars", "type": "class_count", "zone": everywhere, "counts": {"car": ">=1"}, "evidence": asked}
    return json.dumps([one])


def resident() -> int:
    """Return this process's resident memory in bytes (proc_pid_status(5), VmRSS)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) * 1024


def objects_at(at_s: float, camera: int, cameras: int) -> tuple[DetectedObject, ...]:
    """Return a person, and a car while the camera has an incident."""
    place = 10.0 + at_s % 60 * 5
    person = DetectedObject("person", 0, 0.9, (place, 200.0, 20.0, 60.0))
    due = (at_s + EVERY_S * camera / cameras) % EVERY_S < INCIDENT_S
    return (person, DetectedObject("car", 2, 0.9, (place, 100.0, 80.0, 40.0))) if due else (person,)


async def carry(load: Load) -> Used:
    """Run a publisher for a while."""
    settings = EvidenceSettings(url=f"file://{load.folder / 'store'}")  # type: ignore[arg-type]  # pydantic parses it
    parts = make_evidence(settings, (), load.folder / "spool", Shard())
    spool = SpoolWriter(
        lambda: open_shard(
            SpoolOptions(load.folder / "spool"),
            Shard(),
            FrameAnalysis(TrackingSettings(), (), parts.incidents),
            parts.incidents,
        )
    )
    publisher = EventPublisher(None, spool, budget_ms=200, observer=SilentObserver())
    publisher.start()
    desk = EvidenceDesk(spool, parts)
    desk.start()
    await publisher.rules.set_rules(rule(load.evidence))
    street = [one.image for one in street_pictures(PICTURES)]
    pictured = dict.fromkeys(range(load.cameras), False)
    used: list[int] = []
    began, began_ns, late_s = time.monotonic(), time.time_ns(), 0.0

    async def send(camera: int, number: int) -> None:
        at_s = number / load.fps
        jpeg = bytes(bytearray(street[(number + camera) % PICTURES])) if pictured[camera] else None
        event = DetectionEvent(
            f"cam-{camera}", str(number), began_ns + int(at_s * 1e9), 640, 360, "m.pt",
            objects_at(at_s, camera, load.cameras), StageLatencies(1, 1, 1, 1, 1),
        )  # fmt: skip
        receipt = await publisher.publish(Submission(event, 1, number + 1, picture=jpeg))
        pictured[camera] = receipt.pictured

    async def look() -> None:
        while True:
            used.append(resident())
            await asyncio.sleep(LOOK_S)

    looking = asyncio.create_task(look())
    for number in range(int(load.seconds * load.fps)):
        due = began + number / load.fps
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        late_s = max(late_s, time.monotonic() - due)
        await asyncio.gather(*(send(camera, number) for camera in range(load.cameras)))
    looking.cancel()
    found = Used(
        max(used), statistics.median(used[-len(used) // 3 :]), parts.keeper.memory_bytes, await desk.accounts(), late_s
    )
    await desk.close()
    await publisher.close()
    return found


def be_one(load: Load, found: Queue[Used]) -> None:
    """Be the process of one publisher."""
    used = asyncio.run(carry(load))
    found.put(replace(used, accounts=replace(used.accounts, lost=dict(used.accounts.lost))))


def measure(load: Load) -> Used:
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place:
        found: Queue[Used] = context.Queue()
        process = context.Process(target=be_one, args=(replace(load, folder=Path(place)), found))
        process.start()
        used = found.get(timeout=READY_S + 4 * load.seconds)
        process.join()
    return used


def line(name: str, each: Sequence[Used]) -> str:
    peak, last = (statistics.median(getattr(one, part) for one in each) / MEGABYTE for part in ("peak", "last"))
    accounts = each[-1].accounts
    return (
        f"{name}: peak {peak:.0f} MB, at the end {last:.0f} MB; "
        f"pictures in memory {each[-1].pictures / MEGABYTE:.0f} MB; "
        f"{accounts.evidence} asked, {accounts.stored} stored, {accounts.spooled} spooled, "
        f"{accounts.expired + accounts.refused} lost; frames up to {max(one.late_s for one in each):.2f} s late"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=50)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    found: dict[bool, list[Used]] = {False: [], True: []}
    for _ in range(given.rounds):
        for evidence, each in found.items():
            each.append(measure(Load(given.cameras, given.fps, given.seconds, Path(), evidence)))
    print(
        f"{given.cameras} cameras at {given.fps:g} frames a second, {given.seconds:g} s, {given.rounds} rounds in turns"
    )
    print(line("without evidence", found[False]))
    print(line("with evidence", found[True]))
    more = [with_it.peak - without.peak for without, with_it in zip(found[False], found[True], strict=True)]
    print(f"above: {statistics.median(more) / MEGABYTE:.0f} MB at the peak, from {min(more) / MEGABYTE:.0f} to "
          f"{max(more) / MEGABYTE:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
