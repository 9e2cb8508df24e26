"""RulesState: what the rules of one camera remember between two frames, and its bytes.

Records are named tuples: a frame makes dozens of them, and a frozen dataclass takes three times as long to make.
Lengths are in heights of the frame, times in milliseconds of capture time.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from app.analysis.stored_state import dump_state, load_state

VERSION = 1
"""Of the bytes; raised when the meaning of a field changes."""

IDLE, PENDING, ACTIVE, ENDING = range(4)
"""Status of a subject: nothing; the condition holds; an incident; an incident whose condition no longer holds."""
NEVER = -1
HOLDING = -1

Key = tuple[int, ...]
"""What an incident is about: ``(track,)``, ``(track, track)``, or ``()`` for the zone."""


class Sample(NamedTuple):
    """Where a track was in one frame."""

    time_ms: int
    x: float
    """Centre of the box."""
    top: float
    width: float
    height: float
    confidence: float


class Track(NamedTuple):
    """What is remembered of a track."""

    label: str
    """The class most frames gave it; the one seen first among equals."""
    votes: tuple[tuple[str, int], ...]
    """Frames by class."""
    samples: tuple[Sample, ...]
    """Of the last ``HISTORY_MS``, at least the last three, oldest first; never empty."""


class Incident(NamedTuple):
    """What is remembered of a subject's incident while it goes on."""

    anomaly_id: str
    published_ms: int
    """When it was last published."""
    published_value: float | None
    value: float | None
    """In the last frame in which the condition held; None: the seconds since the start."""
    track_ids: tuple[int, ...]
    labels: tuple[str, ...]
    """Classes of these tracks, each once, sorted."""


class Subject(NamedTuple):
    """What a rule remembers of one subject."""

    status: int = IDLE
    since_ms: int = 0
    """When the condition began to hold."""
    held_ms: int = 0
    """For how long it has held, without gaps in the video."""
    false_ms: int = 0
    """For how long it has not held, from the first frame in which it did not, without gaps; HOLDING: it holds."""
    false_at_ms: int = 0
    """The first frame in which it did not hold."""
    ended_ms: int = NEVER
    """When the last incident ended."""
    incident: Incident | None = None
    memory: Any = None
    """What the type of rule remembers: numbers, texts and tuples of them."""


# From a tuple of all fields, in a third of the time that the class itself takes.
make_sample = partial(tuple.__new__, Sample)
make_track = partial(tuple.__new__, Track)
make_subject = partial(tuple.__new__, Subject)


class RuleState(NamedTuple):
    """What is remembered of one rule; enough to end its incidents after the rule itself has gone."""

    fingerprint: str
    type: str
    severity: str
    zone: str | None
    line: str | None
    subjects: dict[Key, Subject]


class RulesState(NamedTuple):
    """What the rules of one camera remember."""

    time_ms: int = NEVER
    """Capture time of the last frame."""
    intervals: tuple[int, ...] = ()
    """Between the last frames, oldest first."""
    tracks: dict[int, Track] = {}  # noqa: RUF012 (never changed: each frame makes its own)
    rules: dict[str, RuleState] = {}  # noqa: RUF012


def encode_state(state: RulesState) -> bytes:
    """Return a state as bytes (MessagePack)."""
    return dump_state(VERSION, state)


def decode_state(data: bytes) -> RulesState:
    """Return the state that :func:`encode_state` made bytes of; equal, in the same order.

    Raises:
        StateUnreadable: the bytes are damaged, or of another version.
    """
    return load_state(data, VERSION, "rules", _build)


def _build(time_ms: int, intervals: tuple[int, ...], tracks: Mapping[int, Any], rules: Mapping[str, Any]) -> RulesState:
    return RulesState(
        time_ms,
        intervals,
        {
            track_id: Track(label, votes, tuple(Sample(*sample) for sample in samples))
            for track_id, (label, votes, samples) in tracks.items()
        },
        {
            rule_id: RuleState._make((*fixed, {key: _subject(*subject) for key, subject in subjects.items()}))
            for rule_id, (*fixed, subjects) in rules.items()
        },
    )


def _subject(*fields: Any) -> Subject:
    subject = Subject(*fields)
    return subject._replace(incident=Incident(*subject.incident)) if subject.incident else subject
