"""Another number of shards: nothing is lost, no order is broken, whenever the move is cut off."""

from __future__ import annotations

import contextlib
import itertools
import random
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.errors import SpoolFull, SpoolUnavailable
from app.publisher import (
    Shard,
    Spool,
    SpoolOptions,
    ask_quarantine,
    open_shard,
    quarantined,
    read_accounts,
    shard_of,
    shards_of,
)
from app.publisher.spool.codec import dump
from app.publisher.spool.file import FILE
from app.publisher.spool.high_water_mark import LOG, HighWaterMark
from app.publisher.spool.layout import LAYOUT, STAGING
from app.publisher.spool.rows import Arrival, Delivery, Refusal
from tests.support.paths import ROOT
from tests.support.publisher import event

NOW = 1_000_000_000_000
CAMERAS = [f"cam-{number}" for number in range(9)]


class Killed(BaseException):
    """Stands for the end of the process."""


class KilledAt:
    """Ends the process after the n-th step of a move."""

    def __init__(self, step: int) -> None:
        self._left = step

    def __call__(self, _: str) -> None:
        self._left -= 1
        if self._left == 0:
            raise Killed


@contextlib.contextmanager
def opened(root: Path, count: int, step: Callable[[str], None] | None = None) -> Iterator[list[Spool]]:
    """Open all shards, as their processes do."""
    with contextlib.ExitStack() as stack:
        how = {} if step is None else {"step": step}
        yield [
            stack.enter_context(contextlib.closing(open_shard(SpoolOptions(root), shard, **how)))
            for shard in shards_of(count)
        ]


@dataclass
class World:
    """What was done to the spools of a folder, and what must therefore be in them."""

    root: Path
    chance: random.Random
    waiting: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    turns: dict[str, tuple[int, int]] = field(default_factory=dict)
    acknowledged: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    set_aside: set[str] = field(default_factory=set)
    discarded: int = 0
    made: int = 0

    def live(self, count: int, events: int = 60) -> None:
        """Let a system of so many shards run for a while."""
        with opened(self.root, count) as spools:
            for _ in range(events):
                camera = self.chance.choice(CAMERAS)
                self._frame(spools[shard_of(camera, count)], camera)

    def _frame(self, spool: Spool, camera: str) -> None:
        self.made += 1
        name, turn = f"e{self.made}", (1, self.made)
        body = b"" if self.chance.random() < 0.1 else dump(event(name, camera))
        moment = NOW + self.made + self.chance.randrange(-20, 20)  # clocks step
        (taken,) = spool.commit([Arrival(name, camera, *turn, body, moment)])
        assert taken is not None
        self.turns[camera] = turn
        if not taken.id:
            self.discarded += 1
            self.acknowledged[camera].add(name)
            return
        self.waiting[camera].append(name)
        if self.chance.random() < 0.5:  # Kafka answers for the first one that waits
            first = spool.waiting(camera, 0, 1)[0]
            self.waiting[camera].remove(first.event_id)
            if self.chance.random() < 0.3:
                spool.commit([], [], [Refusal(first.id, "too large", NOW)])
                self.set_aside.add(first.event_id)
            else:
                spool.commit([], [Delivery(first.id, first.event_id, NOW)])
                self.acknowledged[camera].add(first.event_id)

    def check(self, count: int) -> None:
        """See that all that must be there is, where a system of so many shards looks for it, and nothing else."""
        with opened(self.root, count) as spools:
            for camera in CAMERAS:
                spool = spools[shard_of(camera, count)]
                assert [row.event_id for row in spool.waiting(camera, 0, 10_000)] == self.waiting[camera]
                assert all(spool.knows(name) for name in self.acknowledged[camera] | set(self.waiting[camera]))
            turns = [(turn.camera_id, (turn.epoch, turn.sequence)) for spool in spools for turn in spool.order_keys()]
            assert sorted(turns) == sorted(self.turns.items())
            for number, spool in enumerate(spools):
                assert spool.accounts().balanced
                assert {shard_of(camera, count) for camera in spool.cameras_waiting()} <= {number}
        assert {each.event_id for each in quarantined(self.root)} == self.set_aside
        accounts = read_accounts(self.root)
        assert accounts.balanced
        assert accounts.accepted == self.made
        assert accounts.spooled == sum(map(len, self.waiting.values()))
        assert (accounts.quarantined, accounts.discarded, accounts.destroyed) == (
            len(self.set_aside), self.discarded, 0)  # fmt: skip


def test_one_shard_has_its_spool_in_the_folder_itself_and_leaves_nothing_else_there(tmp_path: Path):
    Spool(SpoolOptions(tmp_path / "before")).close()
    with opened(tmp_path / "now", 1):
        pass
    now, before = ({path.name for path in (tmp_path / when).iterdir()} for when in ("now", "before"))
    assert now == before


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_numbers_of_shards_were_nothing_is_lost_and_every_camera_s_order_is_kept(
    tmp_path: Path, seed: int
):
    world = World(tmp_path, random.Random(seed))
    for count in [1, *world.chance.choices([1, 2, 3, 4, 16], k=4), 1]:
        world.live(count)
        world.check(count)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == []
    assert not (tmp_path / LAYOUT).exists()


@pytest.mark.parametrize(("before", "after", "then"), [(1, 3, 3), (3, 1, 1), (2, 3, 1), (3, 2, 3), (1, 2, 1)])
def test_a_move_that_is_cut_off_after_any_step_is_ended_by_the_next_start_whatever_number_that_wants(
    tmp_path: Path, before: int, after: int, then: int
):
    for number in itertools.count(1):
        world = World(tmp_path / str(number), random.Random(number))
        world.live(before)
        try:
            with opened(world.root, after, KilledAt(number)):
                pass
        except Killed:
            # A second death, in what the next start does.
            with contextlib.suppress(Killed), opened(world.root, then, KilledAt(1 + number % 3)):
                pass
            world.check(then)
            world.live(then)
            world.check(then)
            continue
        break
    assert number > 5 + before


MOVER = """
import os, signal, sys
from pathlib import Path
from app.publisher import Shard, SpoolOptions, open_shard
last = sys.argv[2]
def step(name):
    if name == last:
        os.kill(os.getpid(), signal.SIGKILL)
open_shard(SpoolOptions(Path(sys.argv[1])), Shard(1, 2), step=step)
"""


@pytest.mark.parametrize("step", ["built 2-of-2", "decided", "removed .", "placed 1-of-2"])
def test_a_move_survives_kill_9(tmp_path: Path, step: str):
    world = World(tmp_path, random.Random(3))
    world.live(1)
    ended = subprocess.run([sys.executable, "-c", MOVER, str(tmp_path), step], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    world.check(2)


def test_shards_that_start_together_move_once_and_all_open(tmp_path: Path):
    world = World(tmp_path, random.Random(4))
    world.live(1)
    spools: list[Spool] = []
    moves: list[str] = []
    start = threading.Barrier(4)

    def begin(shard: Shard) -> None:
        start.wait()
        spools.append(open_shard(SpoolOptions(tmp_path), shard, step=moves.append))

    threads = [threading.Thread(target=begin, args=(shard,)) for shard in shards_of(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for spool in spools:
        spool.close()
    assert len(spools) == 4
    assert moves.count("decided") == 1
    world.check(4)


def test_a_publisher_that_still_runs_keeps_its_spool_and_the_move_waits_for_its_end(tmp_path: Path):
    world = World(tmp_path, random.Random(5))
    world.live(2)
    running = open_shard(SpoolOptions(tmp_path), Shard(2, 2))
    with pytest.raises(SpoolUnavailable, match="in use by another publisher"):
        open_shard(SpoolOptions(tmp_path), Shard(1, 3))
    running.close()
    world.check(3)


def older_release(world: World) -> None:
    """Let a release that knows no shards run in the folder of two."""
    older = Spool(SpoolOptions(world.root))
    for number in range(3):
        older.commit([Arrival(f"older-{number}", "cam-0", 2, number + 1, dump(event("f", "cam-0")), NOW + 10**6)])
        world.waiting["cam-0"].append(f"older-{number}")
    older.close()
    world.turns["cam-0"] = (2, 3)
    world.made += 3


def test_a_spool_that_an_older_release_made_meanwhile_is_taken_in_wherever_that_is_cut_off(tmp_path: Path):
    for number in itertools.count(1):
        world = World(tmp_path / str(number), random.Random(number))
        world.live(2)
        older_release(world)
        killed = KilledAt(number)
        try:
            with opened(world.root, 2, killed):
                pass
        except Killed:
            world.check(2)
            continue
        break
    world.check(2)
    assert number > 8


def test_what_lies_about_where_a_new_spool_comes_is_not_taken_for_a_part_of_it(tmp_path: Path):
    world = World(tmp_path, random.Random(10))
    world.live(2)
    mark = HighWaterMark(tmp_path)
    mark.write(10**6)
    mark.close()
    (tmp_path / LOG).write_bytes(b"no log of this spool")
    world.check(1)


def test_the_waiting_events_that_were_destroyed_on_disk_are_counted_and_the_others_moved(tmp_path: Path):
    with opened(tmp_path, 1) as (spool,):
        for number in range(90):
            spool.commit([Arrival(f"e{number}", CAMERAS[number % 9], 0, 0, b"%d" % number * 700, NOW)])
    content = bytearray((tmp_path / FILE).read_bytes())
    place = content.find(b"77777")
    content[place : place + 3] = b"xxx"
    (tmp_path / FILE).write_bytes(content)
    with opened(tmp_path, 2):
        pass
    accounts = read_accounts(tmp_path)
    assert accounts.balanced
    assert (accounts.accepted, accounts.spooled, accounts.destroyed) == (90, 89, 1)
    assert list(tmp_path.glob(f"{FILE}.damaged-*"))


def test_a_wish_about_the_quarantine_reaches_every_shard_and_moves_along(tmp_path: Path):
    with opened(tmp_path, 3) as spools:
        for number, camera in enumerate(CAMERAS):
            spool = spools[shard_of(camera, 3)]
            (taken,) = spool.commit([Arrival(f"e{number}", camera, 0, 0, dump(event("f", camera)), NOW)])
            assert taken is not None
            spool.commit([], [], [Refusal(taken.id, "too large", NOW + number)])
    assert [each.event_id for each in quarantined(tmp_path)] == [f"e{number}" for number in range(9)]
    assert ask_quarantine(tmp_path, "resend", ["e0", "e5"]) == 2
    assert ask_quarantine(tmp_path, "drop", []) == 7
    with opened(tmp_path, 2) as spools:
        again = [camera for spool in spools for _, camera in spool.tidy(NOW)]
    assert sorted(again) == ["cam-0", "cam-5"]
    accounts = read_accounts(tmp_path)
    assert (accounts.accepted, accounts.spooled, accounts.discarded, accounts.quarantined) == (9, 2, 7, 0)


def test_the_limit_is_that_of_all_shards_and_each_has_its_part(tmp_path: Path):
    with contextlib.closing(open_shard(SpoolOptions(tmp_path, max_bytes=40_000), Shard(1, 4))) as spool:
        spool.commit([Arrival("a", "cam", 0, 0, b"x" * 9_000, NOW)])
        with pytest.raises(SpoolFull):
            spool.commit([Arrival("b", "cam", 0, 0, b"x" * 1_000, NOW)])


def test_commands_see_no_half_of_a_move(tmp_path: Path):
    world = World(tmp_path, random.Random(7))
    world.live(1)
    with pytest.raises(Killed), opened(tmp_path, 2, KilledAt(4)):
        pass
    with pytest.raises(SpoolUnavailable, match="being moved"):
        read_accounts(tmp_path)
    world.check(2)


def test_a_layout_that_cannot_be_understood_is_reported_and_nothing_is_touched(tmp_path: Path):
    World(tmp_path, random.Random(8)).live(2)
    (tmp_path / LAYOUT).write_text("{")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SpoolUnavailable, match="cannot be understood"):
        open_shard(SpoolOptions(tmp_path), Shard(1, 2))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_failed_attempt_leaves_the_old_spools_and_no_second_copy(tmp_path: Path):
    world = World(tmp_path, random.Random(9))
    world.live(1)

    def disk_fills(step: str) -> None:
        if step == "built 1-of-2":
            raise OSError(28, "No space left on device")

    with pytest.raises(SpoolUnavailable, match="No space left"):
        open_shard(SpoolOptions(tmp_path), Shard(1, 2), step=disk_fills)
    assert not (tmp_path / STAGING).exists()
    world.check(1)
