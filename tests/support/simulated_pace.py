"""Cameras of an overloaded service, simulated: the real Pace in front of detectors that stall now and then.

Left out: encoding, the publisher, and everything that is not waiting for a detector. Times are in seconds.
"""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.cameras.sending.flow_control import MAX_WAIT_SHARE
from app.cameras.sending.in_flight import MAX_IN_FLIGHT, InFlightWindow
from app.cameras.sending.pace import Pace
from app.ingress.send_rate import SendRate
from app.rpc.sightline.inference.v1 import inference_pb2 as pb

BUDGET_S = 0.2
HOP_S = 0.01
"""One way, on average."""
STALL_INTERVAL_S, STALL_S = 50.0, 0.4
"""Seconds of work, on average, between two stalls in which everything takes twice as long; seconds of a stall."""
WARM_UP_S = 20.0
LATE_S = (0.08, 0.15)
"""Seconds by which the way of a late frame is longer: from, to."""


@dataclass
class Load:
    """The frames that cameras offer, and the detectors that take them."""

    cameras: int
    fps: float
    frame_s: float
    """Seconds that a detector takes for a frame, on average."""
    lanes: int = 2
    reserve_s: float = 0.06
    call_s: float = 0.0
    """Seconds that a call to a detector takes beside its frames."""
    batch: int = 1
    """Frames in a call at most."""
    late_share: float = 0.0
    """Of the frames: those whose way takes longer by :data:`LATE_S`, as on a machine whose neighbours are busy."""
    stops: tuple[tuple[float, float], ...] = ()
    """When nothing begins: from, until."""
    neighbour: tuple[float, float] = (0.0, 0.0)
    """When everything takes twice as long: from, until."""
    explicit: bool = False
    """Whether the service says in its answers how often to send."""
    drag_s: float = 0.0
    """Seconds, on average, that an answer takes beside the detector, however few there are: on a busy machine."""
    gather_s: float = 0.0
    """Seconds for which frames that wait are gathered, though a detector is free."""


@dataclass
class Came:
    """What was measured after the warm-up."""

    seconds: float
    load: Load
    delays: list[float] = field(default_factory=list)
    """From capture to the answer, of each frame that was answered."""
    at: list[float] = field(default_factory=list)
    """When each of them was answered, since the warm-up."""
    calls: int = 0
    of_camera: dict[int, int] = field(default_factory=dict)
    busy_s: float = 0.0
    expired: int = 0

    @property
    def use(self) -> float:
        """Share of the detectors' time that was used."""
        return self.busy_s / self.seconds / self.load.lanes

    @property
    def within(self) -> float:
        """Share of the answers that came within the budget."""
        return sum(delay <= BUDGET_S for delay in self.delays) / len(self.delays)

    @property
    def fairness(self) -> float:
        """Jain's index over the cameras."""
        counts = [self.of_camera.get(number, 0) for number in range(self.load.cameras)]
        return sum(counts) ** 2 / (len(counts) * sum(count * count for count in counts))

    def rate(self, since: float, until: float) -> float:
        """Frames answered per second between two times after the warm-up."""
        return sum(since <= at < until for at in self.at) / (until - since)

    @property
    def median_s(self) -> float:
        return statistics.median(self.delays)


@dataclass
class _Camera:
    pace: Pace
    window: InFlightWindow
    newest: float | None = None
    under_way: int = 0
    free_at: float = 0.0


@dataclass(frozen=True, order=True)
class _Frame:
    captured: float
    number: int
    sent: float
    arrived: float = 0.0


class Simulation:
    """Runs events in the order of their time; the same seed gives the same course."""

    def __init__(self, load: Load, seed: int) -> None:
        self._load = load
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._now = 0.0
        self._cameras = [
            _Camera(Pace(load.fps, BUDGET_S), InFlightWindow(load.fps, MAX_IN_FLIGHT if load.explicit else 1))
            for _ in range(load.cameras)
        ]
        self._send_rate = SendRate(lambda: self._now)
        self._gathering_since: float | None = None
        self._waiting: list[_Frame] = []
        self._working = 0
        self._falters_until = 0.0

    def run(self, seconds: float = 100.0) -> Came:
        """Simulate so long after the warm-up."""
        self._came = Came(seconds, self._load)
        for number in range(self._load.cameras):
            self._after(self._random.uniform(0, 1 / self._load.fps), lambda number=number: self._capture(number))
        while self._events[0][0] < WARM_UP_S + seconds:
            self._now, _, happens = heapq.heappop(self._events)
            happens()
        return self._came

    def _after(self, seconds: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._now + seconds, next(self._order), happens))

    def _hop_s(self) -> float:
        late_s = self._random.uniform(*LATE_S) if self._random.random() < self._load.late_share / 2 else 0.0
        return HOP_S * self._random.uniform(0.5, 1.5) + late_s

    def _capture(self, number: int) -> None:
        self._cameras[number].newest = self._now
        self._after(1 / self._load.fps, lambda: self._capture(number))
        self._send(number)

    def _send(self, number: int) -> None:
        camera = self._cameras[number]
        if camera.under_way >= camera.window.size or camera.newest is None:
            return
        wait_s = camera.pace.wait_s(self._now)
        if wait_s > 1e-9:
            camera.free_at = self._now + wait_s
            self._after(wait_s, lambda: self._send(number))
            return
        if camera.pace.slowed and camera.newest < camera.free_at - MAX_WAIT_SHARE * BUDGET_S:
            return
        frame = _Frame(camera.newest, number, self._now)
        camera.newest, camera.under_way = None, camera.under_way + 1
        camera.pace.send(self._now)
        self._after(self._hop_s(), lambda: self._arrive(frame))

    def _arrive(self, frame: _Frame) -> None:
        heapq.heappush(self._waiting, _Frame(frame.captured, frame.number, frame.sent, self._now))
        if self._gathering_since is None:
            self._gathering_since = self._now
        self._work()

    def _work(self) -> None:
        if (stopped := self._stopped_until()) > self._now:
            self._after(stopped - self._now, self._work)
            return
        while self._waiting and self._working < self._load.lanes:
            if self._gathering_since is not None and len(self._waiting) < self._load.batch:
                left_s = self._gathering_since + self._load.gather_s - self._now
                if left_s > 1e-9:
                    self._after(left_s, self._work)
                    return
            frames = self._take()
            self._gathering_since = self._now if self._waiting else None
            if not frames:
                return
            if self._random.random() < self._load.frame_s / STALL_INTERVAL_S:
                self._falters_until = self._now + STALL_S
            work_s = self._load.call_s + sum(self._load.frame_s * self._random.lognormvariate(0, 0.25) for _ in frames)
            work_s *= 2 if self._now < self._falters_until else 1
            work_s *= 2 if self._load.neighbour[0] <= self._now - WARM_UP_S < self._load.neighbour[1] else 1
            self._working += 1
            self._came.busy_s += work_s if self._now > WARM_UP_S else 0
            self._came.calls += self._now > WARM_UP_S
            self._after(work_s, lambda frames=frames, began=self._now, work_s=work_s: self._done(frames, began, work_s))

    def _take(self) -> list[_Frame]:
        frames: list[_Frame] = []
        while self._waiting and len(frames) < self._load.batch:
            frame = heapq.heappop(self._waiting)
            if frame.captured + BUDGET_S - self._load.reserve_s < self._now:
                self._came.expired += self._now > WARM_UP_S
                self._send_rate.lost()
                self._answer(frame, Outcome.dropped(DropReason.DEADLINE, max_fps=self._told))
            else:
                frames.append(frame)
        return frames

    @property
    def _told(self) -> float | None:
        return self._send_rate.fps if self._load.explicit else None

    def _stopped_until(self) -> float:
        now = self._now - WARM_UP_S
        return WARM_UP_S + max((until for since, until in self._load.stops if since <= now < until), default=-WARM_UP_S)

    def _done(self, frames: list[_Frame], began: float, work_s: float) -> None:
        self._working -= 1
        drag_s = self._load.drag_s * self._random.lognormvariate(0, 0.6)
        self._after(drag_s, lambda: self._answer_all(frames, began, work_s))
        self._work()

    def _answer_all(self, frames: list[_Frame], began: float, work_s: float) -> None:
        for frame in frames:
            latency = pb.StageLatency(queue_ms=(began - frame.arrived) * 1000, inference_ms=work_s * 1000)
            left_s = BUDGET_S - (frame.arrived - frame.captured)
            self._send_rate.answered(str(frame.number), self._now - frame.arrived, work_s, left_s)
            self._answer(frame, Outcome.accepted(pb.DetectResponse(latency=latency, max_fps=self._told)))

    def _answer(self, frame: _Frame, outcome: Outcome) -> None:
        self._after(self._hop_s(), lambda: self._hear(frame, outcome))

    def _hear(self, frame: _Frame, outcome: Outcome) -> None:
        camera = self._cameras[frame.number]
        camera.under_way -= 1
        camera.free_at = self._now
        if outcome.response is not None:
            queued_s = outcome.response.latency.queue_ms / 1000 if outcome.max_fps is None else 0.0
            camera.window.record(self._now - frame.sent, queued_s)
        camera.pace.record(outcome, self._now, self._now - frame.sent)
        if outcome.max_fps is not None:
            camera.window.fps = camera.pace.rate
        if outcome.response is not None and self._now > WARM_UP_S:
            self._came.delays.append(self._now - frame.captured)
            self._came.at.append(self._now - WARM_UP_S)
            self._came.of_camera[frame.number] = self._came.of_camera.get(frame.number, 0) + 1
        self._send(frame.number)
