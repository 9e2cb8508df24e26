"""Analysis in the spool's transactions: what is known of a camera changes with the commit of its event, or not at all.

The spool knows nothing of what an analysis keeps: it holds the states of a camera as the analysis loaded them, hands
them over with the camera's next frame, and writes down what that left, once a transaction, however many frames of the
camera it has. A frame that was committed before never comes here, nor one that the publisher refused.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.core.event import DetectionEvent, WeakDetection
from app.publisher.spool.codec import digest, dump
from app.publisher.spool.incidents import Transition, incidents_under_way, keep_transitions
from app.publisher.spool.outbox import Outbox, OutboxRecord, WaitingRecord

MAX_CAMERAS = 5_000
"""Cameras whose states are kept in memory; those of others are read again when they have a frame."""
SET_STATE = (
    "INSERT INTO analysis (camera_id, kind, at_ns, state, digest) VALUES (?, ?, ?, ?, ?) ON CONFLICT (camera_id, kind) "
    "DO UPDATE SET at_ns = excluded.at_ns, state = excluded.state, digest = excluded.digest"
)
"""Writes a state of a camera down."""
KEEP_STATE = f"{SET_STATE} WHERE excluded.at_ns > at_ns"
"""Writes a state of a camera down, unless there is a later one."""


@dataclass(frozen=True)
class JudgedFrame:
    """What the model said of a frame whose event is to be committed."""

    event: DetectionEvent
    weak: tuple[WeakDetection, ...] = ()
    """Boxes that the event does not show, below the frame's threshold of confidence."""
    tracked: bool = True
    """Whether the camera's objects are to be tracked."""
    published: bool = True
    """Whether the event goes to Kafka; otherwise it is accepted and counted only."""
    due_at_ns: int | None = None
    """When the event should be at Kafka; nanoseconds since 1970 UTC."""
    picture: bytes | None = field(default=None, repr=False)
    """The frame as it was judged; ``None``: no rule of its camera asks for evidence, or it may not be shown."""

    def stored(self, event: DetectionEvent) -> bytes:
        """Return the stored form of the frame's event, as it is after the analysis; empty where it is not published."""
        return dump(event, self.due_at_ns) if self.published else b""


@dataclass(frozen=True)
class Judged:
    """What is to be kept and published beside an event."""

    transitions: tuple[Transition, ...] = ()
    """Of incidents."""
    records: tuple[OutboxRecord, ...] = ()
    """For other topics, in their order."""
    zone_objects: Mapping[str, int] | None = None
    """Objects in the zone, by rules about zones; ``None``: the frame was not judged."""


@dataclass(frozen=True)
class FrameTracks:
    """The tracks of a camera after a frame."""

    active: int
    """Tracks that have an id."""
    started: int
    """Tracks that got their id with this frame."""
    late: bool = False
    """Whether the frame was captured no later than the one before it, and therefore was not tracked."""


@dataclass(frozen=True)
class Analysed:
    """What an analysis made of a frame."""

    event: DetectionEvent
    body: bytes
    """The event's stored form; empty: it is not published."""
    tracks: FrameTracks | None = None
    """``None``: the frame's objects were not to be tracked."""
    judged: Judged = Judged()
    """What the rules said of it, and what became of its objects."""
    pictured: bool = False
    """Whether a rule of the camera asks for evidence, so that its next frames are to come with their pictures."""


@dataclass(frozen=True)
class Ended:
    """What ended as its camera is gone."""

    judged: Judged
    records: tuple[WaitingRecord, ...] = ()
    """What waits for other topics."""


class Analysis(Protocol):
    """What is to be known of cameras, frame by frame; used from the spool's thread.

    The states of a camera are one value of a type of its own, which is never changed: a transaction that fails goes
    back to the one before.
    """

    def load(self, camera_id: str, stored: Mapping[str, bytes], under_way: Sequence[Mapping[str, Any]]) -> Any:
        """Return a camera's states from their stored forms by kind; none: the camera is new.

        ``under_way`` has the incidents that go on, as they were published last.
        """

    def analyse(self, states: Any, frame: JudgedFrame) -> tuple[Any, Analysed]:
        """Return the states after a camera's next frame, and what came of it; raises nothing."""

    def dump(self, states: Any, before: Any) -> Mapping[str, bytes]:
        """Return the stored forms, by kind, of what differs from the states before."""

    def end(self, states: Any, camera_id: str, silent_s: float | None) -> tuple[Any, Judged] | None:
        """Return the states of a camera that is gone, and what ended; raises nothing.

        ``None``: it was silent for no longer than it may be; without ``silent_s`` it was removed.
        """

    def set_rules(self, rules: str) -> None:
        """Apply these rules, a JSON list, from the next frame on; raises nothing."""


class NoAnalysis:
    """Keeps nothing, and leaves events as they are."""

    def load(self, camera_id: str, stored: Mapping[str, bytes], under_way: Sequence[Mapping[str, Any]]) -> None:
        """Return nothing."""

    def analyse(self, states: None, frame: JudgedFrame) -> tuple[None, Analysed]:
        """Return the event."""
        return None, Analysed(frame.event, frame.stored(frame.event))

    def dump(self, states: None, before: None) -> Mapping[str, bytes]:
        """Return nothing."""
        return {}

    def end(self, states: None, camera_id: str, silent_s: float | None) -> tuple[None, Judged]:
        """Return that nothing ended."""
        return None, Judged()

    def set_rules(self, rules: str) -> None:
        """Do nothing."""


class AnalysisStates:
    """The states of all cameras: as the last transaction left them, and as the present one changes them."""

    def __init__(self, analysis: Analysis, outbox: Outbox, max_cameras: int = MAX_CAMERAS) -> None:
        """Begin with nothing in memory; of more cameras those used lately are kept there.

        Records for other topics go to the outbox.
        """
        self._analysis = analysis
        self._outbox = outbox
        self._max_cameras = max_cameras
        self._kept: OrderedDict[str, Any] = OrderedDict()
        self._changed: dict[str, tuple[Any, int]] = {}

    def analyse(
        self, database: sqlite3.Connection, camera_id: str, frame: JudgedFrame, at_ns: int
    ) -> tuple[Analysed, tuple[WaitingRecord, ...]]:
        """Return what the analysis makes of a camera's next frame; what it leaves is remembered until the commit."""
        states, analysed = self._analysis.analyse(self._present(database, camera_id), frame)
        self._changed[camera_id] = states, at_ns
        return analysed, self._keep(database, analysed.judged, at_ns)

    def end(self, database: sqlite3.Connection, camera_id: str, silent_s: float | None, at_ns: int) -> Ended | None:
        """Return what ended as a camera is gone; ``None``: it may yet go on."""
        ended = self._analysis.end(self._present(database, camera_id), camera_id, silent_s)
        if ended is None:
            return None
        states, judged = ended
        self._changed[camera_id] = states, at_ns
        return Ended(judged, self._keep(database, judged, at_ns))

    def set_rules(self, rules: str) -> None:
        """Apply these rules, a JSON list, from the next frame on."""
        self._analysis.set_rules(rules)

    def write(self, database: sqlite3.Connection) -> None:
        """Write down what the transaction changed."""
        rows = [
            (camera_id, kind, at_ns, state, digest(state))
            for camera_id, (states, at_ns) in self._changed.items()
            for kind, state in self._analysis.dump(states, self._kept[camera_id]).items()
        ]
        if rows:
            database.executemany(SET_STATE, rows)
        self._outbox.write(database)

    def committed(self) -> None:
        """Keep what the transaction changed."""
        self._outbox.committed()
        for camera_id, (states, _) in self._changed.items():
            self._kept[camera_id] = states
            self._kept.move_to_end(camera_id)
        self._changed.clear()
        while len(self._kept) > self._max_cameras:
            self._kept.popitem(last=False)

    def rolled_back(self) -> None:
        """Forget what the transaction changed."""
        self._changed.clear()
        self._outbox.rolled_back()

    def forget(self) -> None:
        """Forget all that is in memory: it is read again, from another file."""
        self._changed.clear()
        self._kept.clear()

    def _keep(self, database: sqlite3.Connection, judged: Judged, at_ns: int) -> tuple[WaitingRecord, ...]:
        keep_transitions(database, judged.transitions)
        return self._outbox.put(database, judged.records, at_ns) if judged.records else ()

    def _present(self, database: sqlite3.Connection, camera_id: str) -> Any:
        return self._changed[camera_id][0] if camera_id in self._changed else self._before(database, camera_id)

    def _before(self, database: sqlite3.Connection, camera_id: str) -> Any:
        if camera_id not in self._kept:
            rows = database.execute("SELECT kind, state, digest FROM analysis WHERE camera_id = ?", (camera_id,))
            stored = {str(kind): bytes(state) for kind, state, expected in rows if digest(state) == expected}
            under_way = incidents_under_way(database, camera_id)
            self._kept[camera_id] = self._analysis.load(camera_id, stored, under_way)
        return self._kept[camera_id]


def cameras_analysed(database: sqlite3.Connection) -> list[str]:
    """Return the cameras of which there is a state."""
    return [row[0] for row in database.execute("SELECT DISTINCT camera_id FROM analysis")]


def forget_states(database: sqlite3.Connection, before_ns: int) -> None:
    """Delete the states of cameras of which no frame was committed since a time."""
    database.execute(
        "DELETE FROM analysis WHERE camera_id IN "
        "(SELECT camera_id FROM analysis GROUP BY camera_id HAVING MAX(at_ns) < ?)",
        (before_ns,),
    )
