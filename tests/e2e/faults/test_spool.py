"""The spool's own troubles: full, no room on its disk, read-only, damaged."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from tests.support.faults import PUBLISHER, Ground, Network, ground, remount, small_disk
from tests.support.load import Load
from tests.support.verdict import Verdict, judge
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]
Tell = Callable[[Verdict], Verdict]
MIB = 1 << 20


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("a file system can be mounted by root only")
    with small_disk(tmp_path_factory.mktemp("disk") / "mount", 24) as mounted:
        yield mounted


@pytest.fixture(scope="module")
def small(disk: Path, tmp_path_factory: pytest.TempPathFactory, network: Network) -> Iterator[Ground]:
    """A system whose spool lies on the small disk, and may take a few MiB of it."""
    folder = tmp_path_factory.mktemp("small")
    with ground(folder, network, spool=disk / "spool", max_bytes=2 * MIB) as made:
        yield made


def refused(load: Load, since: float) -> bool:
    """Return whether frames are refused as the contract says since a moment."""
    return any(call.sent > since and call.code is grpc.StatusCode.UNAVAILABLE for call in load.calls)


def accepted_again(load: Load, moment: float) -> float:
    """Wait for a frame accepted after a moment; return the seconds it took."""
    return wait_for(lambda: load.answered_ok_after(moment), 60, "a frame accepted again").answered - moment


def test_a_full_spool_refuses_frames_until_kafka_is_back_and_loses_none(small: Ground, tell: Tell):
    with small.load("full", cameras=16, fps=20) as load:
        wait_for(lambda: len(load.accepted) >= 6, what="some accepted frames")
        small.network.way.cut()
        began = time.monotonic()
        wait_for(lambda: refused(load, began), 240, "a refusal")
        small.network.way.mend()
        recovery = accepted_again(load, time.monotonic())
    codes = {call.code for call in load.calls}
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}, codes
    verdict = tell(judge("spool full", load.calls, small.follower, recovery, 120))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)
    assert recovery <= 60


def test_a_full_disk_refuses_frames_until_there_is_room_and_loses_none(small: Ground, disk: Path, tell: Tell):
    filler = disk / "filler"
    with small.load("disk", cameras=8, fps=10) as load:
        wait_for(lambda: len(load.accepted) >= 6, what="some accepted frames")
        small.network.way.cut()
        fill(filler)
        filled = time.monotonic()
        wait_for(lambda: refused(load, filled), 240, "a refusal")
        filler.unlink()
        small.network.way.mend()
        recovery = accepted_again(load, time.monotonic())
    verdict = tell(judge("disk full", load.calls, small.follower, recovery, 120))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)
    assert recovery <= 60


def fill(file: Path) -> None:
    """Write until the disk is full."""
    try:
        with file.open("wb", buffering=0) as out:
            while True:
                out.write(b"\0" * 65_536)
    except OSError:
        return


def test_a_disk_that_becomes_read_only_refuses_frames_and_loses_none(small: Ground, disk: Path, tell: Tell):
    with small.load("readonly") as load:
        wait_for(lambda: len(load.accepted) >= 6, what="some accepted frames")
        for victim in small.system.processes(PUBLISHER):
            os.kill(victim, signal.SIGKILL)  # a file that is open for writing keeps a disk from becoming read-only
        made_so = wait_for(lambda: read_only(disk), 30, "a disk that is read-only")
        assert made_so
        moment = time.monotonic()
        wait_for(lambda: refused(load, moment), 60, "a refusal")
        remount(disk, "rw")
        recovery = accepted_again(load, time.monotonic())
    codes = {call.code for call in load.calls}
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE}, codes
    verdict = tell(judge("disk read-only", load.calls, small.follower, recovery))
    assert (verdict.lost, verdict.out_of_order) == (0, 0)
    assert recovery <= 60


def read_only(disk: Path) -> bool:
    try:
        remount(disk, "ro")
    except subprocess.CalledProcessError:
        return False
    return True


@pytest.mark.parametrize("damage", ["truncated", "flipped bytes"])
def test_a_damaged_spool_gives_what_is_readable_and_is_kept_aside(small: Ground, tell: Tell, damage: str):
    with small.load(damage.split()[0], cameras=8, fps=10) as load:
        small.network.way.cut()
        began = time.monotonic()
        wait_for(lambda: len([call for call in load.accepted if call.sent > began]) >= 200, 120, "unsent events")
    (victim,) = small.system.processes(PUBLISHER)
    os.kill(victim, signal.SIGSTOP)  # it must not write while its file is being damaged, nor be replaced yet
    hurt(small.spool / ("spool.db" if damage == "truncated" else "spool.db-wal"), damage)
    os.kill(victim, signal.SIGKILL)
    small.network.way.mend()
    mended = time.monotonic()
    with small.load(f"after-{damage.split()[0]}") as after:
        recovery = accepted_again(after, mended)
        wait_for(lambda: len(after.accepted) >= 20, 60, "more accepted frames")
    assert judge("", after.calls, small.follower).lost == 0
    aside = [path for path in small.spool.iterdir() if "damaged" in path.name]
    assert aside, "the damaged file was not kept"
    verdict = tell(judge(f"spool {damage}", load.calls, small.follower, recovery, 20))
    assert verdict.out_of_order == 0
    assert verdict.published > 0, "nothing was read back"
    assert small.accounts().balanced
    assert small.accounts().destroyed >= verdict.lost, "what was destroyed is counted"
    assert recovery <= 60


def hurt(file: Path, damage: str) -> None:
    size = file.stat().st_size
    assert size > 20_000
    with file.open("r+b") as opened:
        if damage == "truncated":
            opened.truncate(size * 2 // 3)
            return
        for number in range(12):
            opened.seek(8192 + number * (size - 8192) // 12)
            opened.write(b"\xa5" * 24)
