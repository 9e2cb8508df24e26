"""LineCrossingRule: an object crosses a line.

Definition: a track is on a side of the line when its anchor is farther from it than a band of 1 % of the frame's
height, or a tenth of the box's height or of its extent across the line, whichever is most; within the band it keeps its
side. When the side changes, and the path of the anchor last crossed the line between A and B, that is one crossing, in
the direction seen from A to B; its time is interpolated between the two frames. So every real crossing counts, both
ways, and a wobble on the line does not.
Subject: the track. Momentary: state *instant*. Value: none.

Elsewhere: DeepStream nvdsanalytics *line crossing*; supervision ``LineZone``; Axis Object Analytics *line crossing* and
*crossline counting*; Hikvision *line crossing detection*; Dahua *tripwire*; ONVIF *LineDetector/Crossed*; Ultralytics
``ObjectCounter``.

>>> from app.analysis.rules.example import show
>>> rule = {"type": "line_crossing", "line": [[0.5, 0.9], [0.5, 0.1]]}
>>> show(rule, [(0.5 * n, [("car", 7, 0.32 + 0.1 * n, 0.5)]) for n in range(5)])
instant 7 at 0.9 0.9 left_to_right
"""

from __future__ import annotations

from collections.abc import Mapping

from app.analysis.rules.anomaly import Anomaly, make_anomaly_id
from app.analysis.rules.geometry import Line
from app.analysis.rules.rule import FrameView, Rule
from app.analysis.rules.state import IDLE, NEVER, Key, Sample, Subject, Track, make_subject
from app.settings.rules import LineCrossing

_BAND_OF_FRAME = 0.01
_BAND_OF_BOX = 0.1
LEFT, BETWEEN, RIGHT = -1, 0, 1

_Memory = tuple[int, int, tuple[int, bool] | None]
"""The side (BETWEEN: it has not been outside the band yet); on which side of the line itself the last point was; when
the path last crossed the endless line, and whether between A and B. It seldom changes from one frame to the next; the
last point is the sample before the last."""


class LineCrossingRule(Rule[LineCrossing]):
    """Tracks that cross a line."""

    TYPE = "line_crossing"

    def __init__(self, settings: LineCrossing) -> None:
        """Take the rule's settings."""
        super().__init__(settings, start=0, end=0)
        self._name = settings.line.name or settings.id
        self.empty = self.empty._replace(line=self._name)
        self._lines: dict[float, Line] = {}

    def judge(self, frame: FrameView, subjects: Mapping[Key, Subject]) -> dict[Key, Subject]:
        """Return on which sides the tracks are after a frame."""
        after: dict[Key, Subject] = {}
        line = self._line(frame.aspect)
        now_ms = frame.now_ms
        for key, _ in frame.unseen:
            if key in subjects:
                after[key] = subjects[key]
        from_x, from_y, right, down = line.form
        flat, steep = abs(right), abs(down)
        share = self.anchor_share
        for key, track, sample in frame.seen:
            known = None if key[0] in frame.lost else subjects.get(key)
            _, x, top, width, height, _ = sample
            y = top + share * height
            distance = right * (y - from_y) - down * (x - from_x)
            now_on = LEFT if distance < 0 else RIGHT if distance > 0 else known.memory[1] if known else BETWEEN
            across = steep * width + flat * height
            band = max(_BAND_OF_FRAME, _BAND_OF_BOX * (across if across > height else height))
            outside = BETWEEN if -band <= distance <= band else now_on
            if known is None:
                memory: _Memory = (outside, now_on, None)
                after[key] = make_subject((IDLE, 0, 0, 0, 0, NEVER, None, memory))
                continue
            side, was_on, crossing = known.memory
            if now_on == was_on and (outside == BETWEEN or (outside == side and crossing is None)):
                after[key] = known
                continue
            ended_ms = known.ended_ms
            if now_on != was_on != BETWEEN:
                last = track.samples[-2]
                crossing = _crossing(line, last, last.top + share * last.height, x, y, distance, now_ms)
            if outside == BETWEEN:
                memory = (side, now_on, crossing)
            else:
                memory = (outside, now_on, None)
                if outside != side != BETWEEN and crossing is not None and crossing[1]:
                    ended_ms = self._report(frame, key[0], track, outside, crossing[0], ended_ms)
            after[key] = make_subject((IDLE, 0, 0, 0, 0, ended_ms, None, memory))
        return after

    def _line(self, aspect: float) -> Line:
        line = self._lines.get(aspect)
        if line is None:
            if len(self._lines) >= 8:
                self._lines.clear()
            line = self._lines[aspect] = Line(*self.settings.line.points, aspect)
        return line

    def _report(self, frame: FrameView, track_id: int, track: Track, side: int, time_ms: int, before_ms: int) -> int:
        """Publish a crossing that the rule is about; return the time of the last one that was."""
        direction = "left_to_right" if side == RIGHT else "right_to_left"
        if (
            self.settings.direction not in ("any", direction)
            or not self.admits_track(track)
            or not self.timing.schedule.is_open(time_ms)
            or (before_ms != NEVER and time_ms < before_ms + self.timing.cooldown_ms)
        ):
            return before_ms
        frame.anomalies.append(
            Anomaly(
                anomaly_id=make_anomaly_id(frame.camera_id, self.id, (track_id,), time_ms),
                camera_id=frame.camera_id,
                rule=self.id,
                type=self.TYPE,
                severity=self.settings.severity,
                state="instant",
                started_ms=time_ms,
                ended_ms=time_ms,
                reason=None,
                track_ids=(track_id,),
                classes=(track.label,),
                zone=None,
                line=self._name,
                direction=direction,
                value=None,
            )
        )
        return time_ms


def _crossing(
    line: Line, last: Sample, last_y: float, x: float, y: float, distance: float, now_ms: int
) -> tuple[int, bool]:
    """Return when the way from the last point crossed the endless line, and whether between A and B."""
    last_ms, last_x = last.time_ms, last.x
    before = abs(line.distance(last_x, last_y))
    part = before / (before + abs(distance))
    crossed = line.is_beside(last_x + part * (x - last_x), last_y + part * (y - last_y))
    return last_ms + round(part * (now_ms - last_ms)), crossed
