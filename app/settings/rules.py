"""RuleSettings: a rule as its user wrote it, one model a type (``app/analysis/rules`` says what each type means).

Times are seconds of capture time, coordinates 0…1 of the frame.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from app.settings.cameras import CAMERA_ID
from app.settings.connections import Frozen, commas
from app.settings.schedules import ScheduleSettings
from app.settings.shapes import Arrow, Ground, Line, Zone

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Dwell = Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)]
Amount = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Number = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Labels = Annotated[tuple[Label, ...], BeforeValidator(commas)]
Severity = Literal["info", "warning", "alarm"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "alarm")
"""From the least to the most severe."""

_GLOB = re.compile(r"[A-Za-z0-9._*?\[\]!-]{1,64}")
_COUNT = re.compile(r"(>=|<=|==|!=|>|<) *(\d{1,5})")


def _globs(value: tuple[str, ...]) -> tuple[str, ...]:
    for one in value:
        if not _GLOB.fullmatch(one):
            raise ValueError(f"{one!r} is no camera id and no glob; a glob has *, ? or [abc] for characters of an id")
    return value


def _listed(value: object) -> object:
    """Return a single schedule as a list of one."""
    return (value,) if isinstance(value, dict) else value


def _comparisons(value: dict[str, str]) -> dict[str, str]:
    for label, text in value.items():
        if not _COUNT.fullmatch(text):
            raise ValueError(f'{label}: {text!r}; allowed are >=, <=, ==, !=, >, < and a number, such as ">=1"')
    return value


def comparison(text: str) -> tuple[str, int]:
    """Return the operator and the number of a comparison.

    >>> comparison(">=2")
    ('>=', 2)
    """
    match = _COUNT.fullmatch(text)
    assert match
    return match.group(1), int(match.group(2))


class RuleFields(Frozen):
    """What every rule has."""

    SUBJECT: ClassVar[Literal["track", "zone", "pair"]] = "track"
    """What an incident of the rule is about."""
    id: Annotated[str, Field(pattern=rf"^{CAMERA_ID.pattern}$")]
    cameras: Annotated[tuple[str, ...], BeforeValidator(commas), Field(min_length=1), AfterValidator(_globs)] = ("*",)
    """Ids or globs."""
    zone: Zone | None = None
    classes: Labels = ()
    """Classes of the model; empty: all."""
    min_confidence: Share = 0.0
    """Of the track's mean over its last second."""
    min_height: Share = 0.0
    """Height of the box; share of the frame's."""
    anchor: Literal["bottom_center", "center", "top_center", "any"] = "bottom_center"
    """The point of the box that counts as its place; ``any``: the share of the box that is in the zone."""
    overlap: Annotated[float, Field(gt=0, le=1)] = 0.5
    """With ``anchor: any``, the share of the box that must be in the zone."""
    margin: Share = 0.01
    """An object has left the zone when it is outside the zone grown by so much of the frame's height."""
    max_gap: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] | None = None
    """Timers advance by no more than so many seconds a frame; ``None``: max(1, three intervals between frames)."""
    flicker: Seconds = 0.5
    """A condition that is false, or whose track is unseen, for no longer than this does not start again; it is counted
    from the first such frame, and frames that were dropped are not counted as unseen."""
    cooldown: Seconds = 0.0
    """After an incident's end, seconds without a new one of the same rule and subject."""
    schedule: Annotated[tuple[ScheduleSettings, ...], BeforeValidator(_listed)] = ()
    """When an incident may start; several are or-ed; empty: always."""
    severity: Severity = "warning"
    evidence: tuple[Literal["snapshot", "clip"], ...] = ()


class _Timed(RuleFields):
    """A rule whose condition must have held for ``start_after`` and not held for ``end_after``."""

    start_after: Seconds = 0.0
    end_after: Seconds = 1.0


class _Dwelling(RuleFields):
    """A rule whose condition must have held for ``dwell``."""

    dwell: Dwell
    end_after: Seconds = 1.0


class Intrusion(_Timed):
    """An object is in the zone."""

    type: Literal["intrusion"]
    zone: Zone
    start_after: Seconds = 0.5


class Loitering(_Dwelling):
    """An object stays in the zone."""

    type: Literal["loitering"]
    zone: Zone
    dwell: Dwell = 30.0
    mode: Literal["continuous", "total"] = "continuous"
    window: Dwell = 300.0
    """With ``mode: total``, the seconds over which the time in the zone is added up."""

    @model_validator(mode="after")
    def _window_holds_dwell(self) -> Loitering:
        if self.mode == "total" and self.window < self.dwell:
            raise ValueError("window: a window shorter than dwell can never hold it")
        return self


class LineCrossing(RuleFields):
    """An object crosses the line."""

    type: Literal["line_crossing"]
    line: Line
    direction: Literal["any", "left_to_right", "right_to_left"] = "any"
    """As seen from A to B, the two points of the line."""
    anchor: Literal["bottom_center", "center", "top_center"] = "bottom_center"
    zone: None = None


class WrongWay(_Timed):
    """An object moves against the permitted direction."""

    type: Literal["wrong_way"]
    direction: Arrow
    """The permitted direction: from the first point to the second."""
    tolerance: Annotated[float, Field(gt=0, le=180)] = 60.0
    """Degrees; an object is wrong beyond 180° minus this."""
    start_after: Seconds = 1.0


class Stopped(_Dwelling):
    """An object has stopped."""

    type: Literal["stopped"]
    dwell: Dwell = 10.0
    include_parked: bool = False
    """Whether an object that was never seen to move counts."""


class Congestion(_Timed):
    """Many slow objects are in the zone."""

    SUBJECT = "zone"
    type: Literal["congestion"]
    zone: Zone
    count: Number
    speed: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.3
    """Box heights a second; at most so fast is their median."""
    start_after: Seconds = 10.0
    end_after: Seconds = 10.0


class Crowd(_Timed):
    """Many objects are in the zone."""

    SUBJECT = "zone"
    type: Literal["crowd"]
    zone: Zone
    count: Number
    hysteresis: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 1
    """It ends below ``count - hysteresis``."""
    start_after: Seconds = 3.0
    end_after: Seconds = 3.0

    @model_validator(mode="after")
    def _can_end(self) -> Crowd:
        if self.hysteresis >= self.count:
            raise ValueError("hysteresis: it must be smaller than count, or the incident never ends")
        return self


class ClassCount(_Timed):
    """The numbers of objects by class in the zone are so."""

    SUBJECT = "zone"
    type: Literal["class_count"]
    zone: Zone
    counts: Annotated[dict[Label, str], Field(min_length=1), AfterValidator(_comparisons)]
    """Class → comparison; all hold."""
    start_after: Seconds = 2.0
    end_after: Seconds = 2.0

    @model_validator(mode="after")
    def _classes_are_in_counts(self) -> ClassCount:
        if self.classes:
            raise ValueError("classes: class_count has its classes in counts")
        return self


class Absent(_Timed):
    """Something that should be in the zone is not."""

    SUBJECT = "zone"
    type: Literal["absent"]
    zone: Zone
    count: Number = 1
    """Fewer than this are there."""
    start_after: Seconds = 30.0


class Speed(_Timed):
    """An object is faster than the limit."""

    type: Literal["speed"]
    ground: Ground
    limit: Amount
    """Kilometres an hour."""
    start_after: Seconds = 0.5


class Proximity(_Timed):
    """Two objects are near each other."""

    SUBJECT = "pair"
    type: Literal["proximity"]
    distance: Amount
    """Between the anchors, in mean box heights of the two."""
    start_after: Seconds = 2.0


class Abandoned(_Dwelling):
    """A thing was left behind."""

    type: Literal["abandoned"]
    classes: Annotated[Labels, Field(min_length=1)]
    owners: Annotated[Labels, Field(min_length=1)] = ("person",)
    """Classes that could look after it."""
    radius: Amount = 2.0
    """An owner within so many box heights (of the higher of the two boxes) is with it."""
    dwell: Dwell = 60.0
    include_parked: bool = True
    """Whether a thing that was never seen to move counts."""


RuleSettings = (
    Intrusion
    | Loitering
    | LineCrossing
    | WrongWay
    | Stopped
    | Congestion
    | Crowd
    | ClassCount
    | Absent
    | Speed
    | Proximity
    | Abandoned
)
"""A rule of any type."""
RULE_TYPES: dict[str, type[RuleFields]] = {
    "intrusion": Intrusion,
    "loitering": Loitering,
    "line_crossing": LineCrossing,
    "wrong_way": WrongWay,
    "stopped": Stopped,
    "congestion": Congestion,
    "crowd": Crowd,
    "class_count": ClassCount,
    "absent": Absent,
    "speed": Speed,
    "proximity": Proximity,
    "abandoned": Abandoned,
}
"""By ``type``, which is also the ``anomaly_type`` of its incidents."""
