"""IncidentAnalysis: the rules and the lives of objects, frame by frame, in the order in which frames are committed.

A pure function of ``app.analysis`` says what happened; here it becomes records of the other topics and what the spool
keeps of incidents. Its states are stored with the frame's event: so an incident has one *new* and one *end*, whatever
dies in between.

A camera that is removed, or silent for long, has its incidents ended before a frame of it comes again (``end``). The
states stay as they were until then, with the ids of what was published: where the next frame shows the same gap, the
rules end the same incidents, as they do when its events are read again later; those are not published twice. Where it
does not, the frame begins without them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.analysis.objects.lives import CameraZones, end_objects, follow_objects
from app.analysis.objects.report import ObjectReport, object_body
from app.analysis.objects.state import ObjectsState, decode_objects, encode_objects
from app.analysis.rules.anomaly import Anomaly, anomaly_body
from app.analysis.rules.engine import (
    CAMERA_LOST_MS,
    CameraRules,
    Judgement,
    apply_rules,
    end_camera,
    make_camera_rules,
)
from app.analysis.rules.frame import frame_of_event
from app.analysis.rules.state import ACTIVE, RulesState, decode_state, encode_state
from app.core.channel import Channel
from app.core.event import DetectionEvent
from app.core.iso_time import iso_time, time_of_iso
from app.publisher.evidence import Addresses, EvidenceSource, WithoutEvidence
from app.publisher.record import JSON, SCHEMA_VERSION
from app.publisher.spool.analysis import Judged
from app.publisher.spool.incidents import Transition
from app.publisher.spool.outbox import OutboxRecord
from app.settings.rule_lists import load_rules, rules_of_camera
from app.settings.rules import SEVERITIES, RuleFields

RULES, OBJECTS, ENDED = "rules", "objects", "ended"
"""The kinds under which the states are stored."""
SILENT_MARGIN_S = 30.0
"""A camera that is silent for so much longer than makes it lost is ended: frames may take a while to arrive."""
MAX_ACTIVE = 100
"""Incidents an event has at most of those that merely go on; transitions it has all."""
MAX_CAMERAS = 5_000
"""Cameras whose rules are kept ready."""
_NAMESPACE = uuid.UUID("a3c1f0de-8d0b-5c64-9a57-52f1d0b7c9e4")
"""Never changes: record ids are derived under it."""


@dataclass(frozen=True, eq=False)
class IncidentStates:
    """What is kept of one camera's incidents and objects from a frame to the next."""

    rules: RulesState = field(default_factory=RulesState)
    objects: ObjectsState = field(default_factory=ObjectsState)
    ended: frozenset[str] | None = None
    """Ids of the incidents that were ended because the camera is gone; ``None``: it is not."""
    orphans: tuple[Mapping[str, Any], ...] = ()
    """Incidents that go on, as they were published last, of which the states know nothing: they could not be read. The
    next frame ends these."""


class IncidentAnalysis:
    """Applies the rules in force, and follows the lives of objects."""

    def __init__(
        self, channels: Collection[Channel], lost_after: float, evidence: EvidenceSource | None = None
    ) -> None:
        """Set up without rules.

        Args:
            channels: those for which records are made.
            lost_after: seconds of capture time, as ``tracking.lost_after``.
            evidence: makes pictures and clips for rules that ask for it; ``None``: there are none.
        """
        self._lost_after = lost_after
        self._channels = frozenset(channels)
        self._evidence: EvidenceSource = evidence or WithoutEvidence()
        self._rules: tuple[RuleFields, ...] = ()
        self._wanted: dict[str, tuple[str, ...]] = {}
        """The kinds of evidence that a rule asks for, by its id."""
        self._pictured: dict[str, bool] = {}
        self._cameras: dict[str, tuple[CameraRules, CameraZones]] = {}

    def set_rules(self, rules: str) -> None:
        """Apply these rules, a JSON list, from the next frame on.

        Raises:
            SettingsError: one of them is wrong; those before stay.
        """
        self._rules = load_rules(rules)
        self._wanted = {rule.id: rule.evidence for rule in self._rules if rule.evidence}
        self._pictured.clear()
        self._cameras.clear()

    def wants_pictures(self, camera_id: str) -> bool:
        """Return whether a rule of the camera asks for evidence."""
        found = self._pictured.get(camera_id)
        if found is None:
            if len(self._pictured) >= MAX_CAMERAS:
                self._pictured.clear()
            found = any(rule.evidence for rule in rules_of_camera(self._rules, camera_id))
            self._pictured[camera_id] = found
        return found

    def load(self, stored: Mapping[str, bytes]) -> IncidentStates:
        """Return a camera's states from their stored forms.

        Raises:
            StateUnreadable: they are damaged, or of another version.
        """
        ended = json.loads(stored[ENDED]) if ENDED in stored else None
        return IncidentStates(
            decode_state(stored[RULES]) if RULES in stored else RulesState(),
            decode_objects(stored[OBJECTS]) if OBJECTS in stored else ObjectsState(),
            None if ended is None else frozenset(ended),
        )

    def dump(self, states: IncidentStates, before: IncidentStates) -> Mapping[str, bytes]:
        """Return the stored forms of what differs from the states before."""
        stored = {}
        if states.rules is not before.rules:
            stored[RULES] = encode_state(states.rules)
        if states.objects is not before.objects:
            stored[OBJECTS] = encode_objects(states.objects)
        if states.ended != before.ended:
            stored[ENDED] = json.dumps(None if states.ended is None else sorted(states.ended)).encode()
        return stored

    def judge(self, states: IncidentStates, event: DetectionEvent) -> tuple[IncidentStates, DetectionEvent, Judged]:
        """Return the states after a camera's next frame, its event with what happened, and what comes of that.

        Raises:
            ValueError: the event's capture time is no date, or a number of it is not finite.
        """
        if states.orphans:
            known, event, judged = self.judge(replace(states, orphans=()), event)
            return known, event, self._with_ends(judged, states.orphans, event)
        rules, zones = self._of(event.camera_id)
        follows = "objects" in self._channels
        if not (rules.rules or states.rules.rules or (follows and _has_objects(states, event))):
            return states, event, Judged()
        frame = frame_of_event(event)
        if frame.time_ms <= states.rules.time_ms:
            return states, event, Judged()
        before, objects, told = states.rules, states.objects, states.ended
        after, judgement = apply_rules(before, frame, rules)
        if told is not None:
            objects, _ = end_objects(objects, event.camera_id)
            if not told.issubset({one.anomaly_id for one in judgement.anomalies if one.reason == "camera_lost"}):
                # The frame shows no such gap: what ended at the time is not ended again.
                after, judgement = apply_rules(end_camera(before, event.camera_id)[0], frame, rules)
        reports: tuple[ObjectReport, ...] = ()
        if follows:
            objects, reports = follow_objects(objects, frame, after, zones, judgement.anomalies)
        fresh = [one for one in judgement.transitions if told is None or one.anomaly_id not in told]
        addresses = self._addresses(fresh)
        judged = self._judged(fresh, addresses, reports, frame.time_ms, event.event_id, judgement.zone_objects)
        if judgement.anomalies:
            event = event.with_incidents(judgement.anomaly_type, _shown(judgement), _image_of(fresh, addresses))
        return IncidentStates(after, objects), event, judged

    def end(
        self, states: IncidentStates, camera_id: str, silent_s: float | None
    ) -> tuple[IncidentStates, Judged] | None:
        """Return the states of a camera that is gone, and what ended.

        ``None``: it was silent for no longer than it may be; without ``silent_s`` it was removed.
        """
        if states.ended is not None:
            return states, Judged()
        if silent_s is not None and silent_s * 1000 <= _lost_after_ms(states.rules) + SILENT_MARGIN_S * 1000:
            active = any(
                subject.status >= ACTIVE for rule in states.rules.rules.values() for subject in rule.subjects.values()
            )
            return None if active or states.objects.lives else (states, Judged())
        _, judgement = end_camera(states.rules, camera_id)
        _, reports = end_objects(states.objects, camera_id)
        ended = frozenset(one.anomaly_id for one in judgement.anomalies)
        addresses = self._addresses(judgement.transitions)
        time_ms = max(0, states.rules.time_ms)
        judged = self._judged(judgement.transitions, addresses, reports, time_ms, None, None)
        return replace(states, ended=ended), judged

    def _with_ends(self, judged: Judged, orphans: Iterable[Mapping[str, Any]], event: DetectionEvent) -> Judged:
        """Return what comes of a frame with the ends of incidents that nothing is known of any more."""
        time_ms = event.captured_at_ns // 1_000_000
        ends, records = [], []
        for one in orphans:
            said = {
                "timestamp": iso_time(time_ms),
                "state": "end",
                "ended_at": one["timestamp"],
                "reason": "camera_lost",
            }
            body = JSON.encode({**one, **said, "event_id": event.event_id})
            label = one["classes"][0] if len(one["classes"]) == 1 else ""
            began_ms, ended_ms = time_of_iso(one["started_at"]), time_of_iso(one["timestamp"])
            ends.append(
                Transition(one["anomaly_id"], event.camera_id, one["rule"], "end", began_ms, ended_ms, "", label, body)
            )
            if "anomalies" in self._channels:
                record_id = _record_id(one["anomaly_id"], "end", time_ms)
                records.append(OutboxRecord("anomalies", record_id, event.camera_id, time_ms, body.encode()))
        return Judged((*ends, *judged.transitions), (*records, *judged.records), judged.zone_objects)

    def _of(self, camera_id: str) -> tuple[CameraRules, CameraZones]:
        found = self._cameras.get(camera_id)
        if found is None:
            if len(self._cameras) >= MAX_CAMERAS:
                self._cameras.clear()
            found = (
                make_camera_rules(self._rules, camera_id, self._lost_after),
                CameraZones(self._rules, camera_id, self._lost_after),
            )
            self._cameras[camera_id] = found
        return found

    def _addresses(self, transitions: Iterable[Anomaly]) -> Mapping[str, Addresses]:
        """Return where the evidence of incidents is, by their ids; begin that of incidents that begin."""
        return {one.anomaly_id: self._evidence.addresses(one, self._wanted.get(one.rule, ())) for one in transitions}

    def _judged(
        self,
        transitions: Iterable[Anomaly],
        addresses: Mapping[str, Addresses],
        reports: Iterable[ObjectReport],
        time_ms: int,
        event_id: str | None,
        zone_objects: Mapping[str, int] | None,
    ) -> Judged:
        kept, records = [], []
        for one in transitions:
            body = _anomaly_record(one, addresses[one.anomaly_id], time_ms, event_id)
            kept.append(_transition(one, body))
            if "anomalies" in self._channels:
                record_id = _record_id(one.anomaly_id, one.state, time_ms)
                records.append(OutboxRecord("anomalies", record_id, one.camera_id, time_ms, body.encode()))
        for report in reports:
            body = _object_record(report, time_ms, event_id)
            record_id = _record_id(report.object_id, report.state, time_ms)
            records.append(OutboxRecord("objects", record_id, report.camera_id, time_ms, body.encode()))
        return Judged(tuple(kept), tuple(records), zone_objects)


def with_orphans(states: IncidentStates, under_way: Iterable[Mapping[str, Any]]) -> IncidentStates:
    """Return states that know of the incidents that go on of which they know nothing."""
    known = {
        subject.incident.anomaly_id
        for rule in states.rules.rules.values()
        for subject in rule.subjects.values()
        if subject.incident is not None
    }
    orphans = tuple(one for one in under_way if one["anomaly_id"] not in known)
    return replace(states, orphans=orphans) if orphans else states


def _has_objects(states: IncidentStates, event: DetectionEvent) -> bool:
    """Return whether there is an object to follow, or one that may be lost."""
    return bool(states.objects.lives or states.rules.tracks) or any(one.track_id is not None for one in event.objects)


def _lost_after_ms(state: RulesState) -> int:
    """Return after how long a gap the rules take a camera for lost."""
    intervals = sorted(state.intervals)
    usual_ms = intervals[len(intervals) // 2] if len(intervals) >= 3 else 0
    return max(CAMERA_LOST_MS, 3 * usual_ms)


def _shown(judgement: Judgement) -> tuple[Mapping[str, object], ...]:
    """Return the incidents that an event has."""
    shown, active = [], 0
    for one in judgement.anomalies:
        active += not one.is_transition
        if one.is_transition or active <= MAX_ACTIVE:
            shown.append(anomaly_body(one))
    return tuple(shown)


def _image_of(transitions: Iterable[Anomaly], addresses: Mapping[str, Addresses]) -> str | None:
    """Return the picture of the most severe of the incidents that begin; the first rule's among equals."""
    begun = [one for one in transitions if one.state in ("new", "instant") and addresses[one.anomaly_id].image_url]
    return addresses[max(begun, key=lambda one: SEVERITIES.index(one.severity)).anomaly_id].image_url if begun else None


def _anomaly_record(anomaly: Anomaly, addresses: Addresses, time_ms: int, event_id: str | None) -> str:
    body = anomaly_body(anomaly) | {"image_url": addresses.image_url, "clip_url": addresses.clip_url}
    if addresses.lost:
        body["evidence"] = "lost"
    return JSON.encode(_framed(body, time_ms, event_id))


def _object_record(report: ObjectReport, time_ms: int, event_id: str | None) -> str:
    return JSON.encode(_framed(object_body(report), time_ms, event_id))


def _framed(body: Mapping[str, object], time_ms: int, event_id: str | None) -> dict[str, object]:
    return {"schema_version": SCHEMA_VERSION, "timestamp": iso_time(time_ms), **body, "event_id": event_id}


def _record_id(subject: str, state: str, time_ms: int) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{subject}|{state}|{time_ms}"))


def _transition(anomaly: Anomaly, body: str) -> Transition:
    return Transition(
        anomaly_id=anomaly.anomaly_id,
        camera_id=anomaly.camera_id,
        rule=anomaly.rule,
        state=anomaly.state,
        started_ms=anomaly.started_ms,
        ended_ms=anomaly.started_ms if anomaly.state == "instant" else anomaly.ended_ms,
        direction=anomaly.direction or "",
        label=anomaly.classes[0] if len(anomaly.classes) == 1 else "",
        body=body,
    )
