"""What stands around a camera in its tests: its observer, and a service within the process."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable

from app.cameras.accounts import NullObserver
from app.cameras.frame import EncodedFrame
from app.cameras.ledger import DropReason
from app.cameras.outcome import Outcome
from app.rpc.sightline.inference.v1 import inference_pb2 as pb


class Observer(NullObserver):
    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()
        self.flying: list[int] = []
        self.ups: list[bool] = []

    def sampled(self) -> None:
        self.counted["sampled"] += 1

    def accepted(self) -> None:
        self.counted["accepted"] += 1

    def dropped(self, reason: DropReason) -> None:
        self.counted[reason.value] += 1

    def in_flight(self, frames: int) -> None:
        self.flying.append(frames)

    def up(self, live: bool) -> None:
        self.ups.append(live)

    def reconnected(self) -> None:
        self.counted["reconnected"] += 1


class Sender:
    """A service within the process, where the wire does not matter."""

    def __init__(self, answer: Callable[[EncodedFrame, float], Awaitable[Outcome]] | None = None) -> None:
        self.sent: list[EncodedFrame] = []
        self._answer = answer

    async def detect(self, frame: EncodedFrame, remaining_s: float) -> Outcome:
        self.sent.append(frame)
        return await self._answer(frame, remaining_s) if self._answer else Outcome.accepted(pb.DetectResponse())


def forever(level: int = 100, frames: int = 10_000) -> list[int | Exception]:
    return [level] * frames


def changes(ups: list[bool]) -> list[bool]:
    """Return the changes, from the first time up: the gauge is set again and again."""
    return [up for up, _ in itertools.groupby(itertools.dropwhile(lambda up: not up, ups))]
