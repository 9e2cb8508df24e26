"""Follow the lives of a camera's objects: a pure function, whose only clock is capture time.

An object is published when it has its id (*new*), when it enters or leaves a zone, stops or moves (*update*), once in
half a minute while it moves and once in a minute while it stands, and when it is lost (*end*).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from app.analysis.objects.report import PATH_POINTS, ObjectReport, Reason, make_report, shown
from app.analysis.objects.state import Crossing, Life, ObjectsState, PathPoint, make_life
from app.analysis.rules.anomaly import Anomaly
from app.analysis.rules.engine import LOST_AFTER_S
from app.analysis.rules.frame import Frame, SeenObject
from app.analysis.rules.geometry import Area
from app.analysis.rules.motion import begin_stay, extend_stay, restart_stay, stays
from app.analysis.rules.state import NEVER, RulesState, Track
from app.settings.rule_lists import rules_of_camera
from app.settings.rules import RuleFields

MOVING_UPDATE_MS = 30_000
STANDING_UPDATE_MS = 60_000
_SETTLED_MS = 1000
"""A change is published when it has lasted for so long: an object on a zone's edge does not come and go."""
_STANDS_AFTER_MS = 2000
_FIRST_SPACING_MS = 200
_PATH_STEP = 0.005
"""Of the frame: a point nearer to the last one of the path is none."""
_MAX_CROSSINGS = 32


class CameraZones:
    """The zones of one camera's rules, by name; of two with one name the first."""

    def __init__(self, rules: Iterable[RuleFields], camera_id: str, lost_after: float = LOST_AFTER_S) -> None:
        """Take all rules; those of other cameras are left out.

        Args:
            rules: any.
            camera_id: the camera.
            lost_after: seconds for which an object is unseen and still is in its zones, as ``tracking.lost_after``.
        """
        self.lost_ms = round(lost_after * 1000)
        self._rules: dict[str, RuleFields] = {}
        for rule in rules_of_camera(rules, camera_id):
            if rule.zone is not None:
                self._rules.setdefault(rule.zone.name or rule.id, rule)
        self.any = bool(self._rules)
        """Whether there is one."""
        self._areas: dict[str, Area] = {}
        self._aspect = 0.0

    def of(self, x: float, y: float, aspect: float, were: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the zones that a point is in, in heights of the frame; in the order of the rules."""
        if aspect != self._aspect:
            self._areas = {
                name: Area(rule.zone.points, aspect, rule.margin) for name, rule in self._rules.items() if rule.zone
            }
            self._aspect = aspect
        return tuple([name for name, area in self._areas.items() if area.contains(x, y, name in were)])


def follow_objects(
    state: ObjectsState, frame: Frame, rules: RulesState, zones: CameraZones, anomalies: Iterable[Anomaly] = ()
) -> tuple[ObjectsState, tuple[ObjectReport, ...]]:
    """Return the state of a camera's objects after one more frame, and what is published of them.

    Args:
        state: what the frame before left; ``ObjectsState()`` before the first.
        frame: the frame, as its event publishes it.
        rules: the state of the rules after this frame: it has the tracks that are not lost.
        zones: those of the camera.
        anomalies: what the rules said of the frame: the lines crossed.
    """
    if frame.time_ms <= state.time_ms or frame.time_ms != rules.time_ms:
        return state, ()
    reports: list[ObjectReport] = []
    camera_id = frame.camera_id
    for track_id, life in state.lives.items():
        if track_id not in rules.tracks:
            lost: Reason = "camera_lost" if life.last_ms == state.time_ms else "track_lost"  # the gap was the camera's
            reports.append(make_report(camera_id, track_id, life, "end", lost))
    crossed = _crossings(anomalies)
    seen: dict[int, SeenObject] = {}
    for one in frame.objects:
        if one.track_id is not None:
            seen.setdefault(one.track_id, one)
    aspect, before = frame.width / frame.height, state.lives
    lives: dict[int, Life] = {}
    for track_id, track in rules.tracks.items():
        known, now = before.get(track_id), seen.get(track_id)
        if now is None:
            if known is not None:
                lives[track_id] = known
            continue
        if known is None:
            life = _begin(frame.time_ms, aspect, now, track, zones)
        else:
            life = _go_on(known, frame.time_ms, aspect, now, track, zones)
        if track_id in crossed:
            life = life._replace(crossings=(*life.crossings, *crossed[track_id])[-_MAX_CROSSINGS:])
        if known is None:
            reports.append(make_report(camera_id, track_id, life, "new"))
        elif _is_due(life, frame.time_ms):
            life = life._replace(published_ms=frame.time_ms, told=(life.inside, life.stands), changed_ms=NEVER)
            reports.append(make_report(camera_id, track_id, life, "update"))
        lives[track_id] = life
    return ObjectsState(frame.time_ms, lives), tuple(reports)


def end_objects(state: ObjectsState, camera_id: str) -> tuple[ObjectsState, tuple[ObjectReport, ...]]:
    """Return the state of a camera that was removed or is silent for too long, and the ends of its objects."""
    ends = [make_report(camera_id, track_id, life, "end", "camera_lost") for track_id, life in state.lives.items()]
    return ObjectsState(state.time_ms), tuple(ends)


def _crossings(anomalies: Iterable[Anomaly]) -> Mapping[int, list[Crossing]]:
    crossed: dict[int, list[Crossing]] = {}
    for one in anomalies:
        if one.state == "instant" and one.line is not None and one.direction is not None:
            crossed.setdefault(one.track_ids[0], []).append((one.line, one.direction, one.started_ms))
    return crossed


def _is_due(life: Life, now_ms: int) -> bool:
    if life.changed_ms != NEVER and now_ms - life.changed_ms >= _SETTLED_MS:
        return True
    return now_ms - life.published_ms >= (STANDING_UPDATE_MS if life.stands else MOVING_UPDATE_MS)


def _begin(now_ms: int, aspect: float, seen: SeenObject, track: Track, zones: CameraZones) -> Life:
    sample = track.samples[-1]
    x, y = sample.x, sample.top + sample.height
    here = (x / aspect, y)
    inside = zones.of(x, y, aspect, ())
    return Life(
        first_ms=now_ms,
        last_ms=now_ms,
        label=track.label,
        confidence=seen.confidence,
        bbox=seen.bbox,
        path=((now_ms, *shown(here)),),
        spacing_ms=_FIRST_SPACING_MS,
        here=here,
        inside=inside,
        stayed=tuple([(zone, 0) for zone in inside]),
        crossings=(),
        stay=begin_stay(x, y, now_ms),
        stay_ms=now_ms,
        stands=False,
        published_ms=now_ms,
        told=(inside, False),
        changed_ms=NEVER,
    )


def _go_on(life: Life, now_ms: int, aspect: float, seen: SeenObject, track: Track, zones: CameraZones) -> Life:
    (
        first_ms, last_ms, _, most, _, path, spacing_ms, _, were, stayed, crossings, stay, stay_ms, stands,
        published_ms, told, changed_ms,
    ) = life  # fmt: skip
    _, x, top, width, height, _ = track.samples[-1]
    y = top + height
    here = (x / aspect, y)
    inside = zones.of(x, y, aspect, were) if zones.any else ()
    if stays(stay, x, y, (width * width + height * height) ** 0.5, stands):
        if not stands:
            stay, stands = extend_stay(stay, x, y, now_ms), now_ms - stay_ms >= _STANDS_AFTER_MS
    else:
        stay, stay_ms, stands = restart_stay(stay, x, y, now_ms), now_ms, False
    if now_ms - path[-1][0] >= spacing_ms:
        path, spacing_ms = _extend_path(path, spacing_ms, now_ms, here)
    if stands == told[1] and inside == told[0]:
        changed_ms = NEVER
    elif changed_ms == NEVER:
        changed_ms = now_ms
    if inside:
        stayed = _add_stays(life, inside, min(now_ms - last_ms, zones.lost_ms))
    _, confidence, bbox, _ = seen
    return make_life(
        (
            first_ms, now_ms, track.label, confidence if confidence > most else most, bbox, path, spacing_ms, here,
            inside, stayed, crossings, stay, stay_ms, stands, published_ms, told, changed_ms,
        )
    )  # fmt: skip


def _add_stays(life: Life, inside: Sequence[str], unseen_ms: int) -> tuple[tuple[str, int], ...]:
    stayed = dict(life.stayed)
    for zone in inside:
        stayed[zone] = stayed.get(zone, 0) + (unseen_ms if zone in life.inside else 0)
    return tuple(stayed.items())


def _extend_path(
    path: tuple[PathPoint, ...], spacing_ms: int, now_ms: int, here: tuple[float, float]
) -> tuple[tuple[PathPoint, ...], int]:
    _, x, y = path[-1]
    at_x, at_y = shown(here)
    if abs(at_x - x) + abs(at_y - y) < _PATH_STEP:
        return path, spacing_ms
    path = (*path, (now_ms, at_x, at_y))
    if len(path) >= PATH_POINTS:  # one is left for where it is when it is published
        path, spacing_ms = path[::2], spacing_ms * 2
    return path, spacing_ms
