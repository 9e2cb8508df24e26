"""The metrics of the contract's section 6, as Prometheus would read them of a running system."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.cameras.ledger import DropReason
from tests.support.waiting import wait_for
from tests.support.watched_system import SOURCE, STEADY, Watched

PER_CAMERA = {"camera_id"}
CONTRACT: dict[str, set[str]] = {
    "sightline_capture_to_publish_seconds_bucket": PER_CAMERA | {"le"},
    "sightline_stage_seconds_bucket": {"stage", "le"},
    "sightline_frames_sampled_total": PER_CAMERA,
    "sightline_frames_accepted_total": PER_CAMERA,
    "sightline_frames_dropped_total": PER_CAMERA | {"reason"},
    "sightline_frames_in_flight": PER_CAMERA,
    "sightline_events_published_total": PER_CAMERA,
    "sightline_slo_breaches_total": PER_CAMERA,
    "sightline_detections_total": {"label"},
    "sightline_camera_up": PER_CAMERA,
    "sightline_camera_reconnects_total": PER_CAMERA,
    "sightline_spool_events": set(),
    "sightline_spool_bytes": set(),
    "sightline_spool_oldest_age_seconds": set(),
    "sightline_events_quarantined": set(),
    "sightline_batch_size_bucket": {"le"},
    "sightline_frames_waiting": set(),
    "sightline_tracks_active": PER_CAMERA,
    "sightline_tracks_started_total": PER_CAMERA,
    "sightline_frames_untracked_total": PER_CAMERA,
    "sightline_anomalies_total": PER_CAMERA | {"rule", "state"},
    "sightline_crossings_total": PER_CAMERA | {"rule", "direction", "label"},
    "sightline_zone_objects": PER_CAMERA | {"rule"},
    "sightline_outbox_records": {"channel"},
    "sightline_evidence_asked_total": set(),
    "sightline_evidence_stored_total": set(),
    "sightline_evidence_lost_total": {"reason"},
    "sightline_evidence_spooled": set(),
    "sightline_evidence_spooled_bytes": set(),
    "sightline_evidence_oldest_age_seconds": set(),
    "sightline_evidence_failing": set(),
}
"""Every name, as Prometheus shows it behind ``ray_``, and the labels that are ours."""
STAGES = {"encode", "transport", "queue", "decode", "inference", "spool", "publish"}


class Samples:
    """All samples of ours at one reading."""

    def __init__(self, text: str) -> None:
        ours = "\n".join(line for line in text.splitlines() if "sightline_" in line)
        self.all = [
            sample
            for family in text_string_to_metric_families(ours + "\n")
            for sample in family.samples
            if sample.name.startswith("ray_sightline_")
        ]

    def labels(self, name: str) -> list[dict[str, str]]:
        return [sample.labels for sample in self.all if sample.name == f"ray_{name}"]

    def total(self, name: str, **labels: str) -> float:
        """Sum over all processes, living and dead."""
        return sum(
            sample.value
            for sample in self.all
            if sample.name == f"ray_{name}" and labels.items() <= sample.labels.items()
        )


def read(watched: Watched) -> Samples:
    return Samples(watched.metrics())


@pytest.fixture(scope="module")
def samples(watched: Watched) -> Samples:
    """A reading that has everything, once every process has reported."""
    watched.wait_for_state(SOURCE, "live")

    def complete() -> Samples | None:
        found = read(watched)
        there = all(found.labels(name) for name in CONTRACT)
        both = {one["camera_id"] for one in found.labels("sightline_events_published_total")} >= {STEADY, SOURCE}
        return found if there and both else None

    try:
        return wait_for(complete, 90, "every metric")
    except TimeoutError:
        found = read(watched)
        raise AssertionError(f"missing: {[name for name in CONTRACT if not found.labels(name)]}") from None


@pytest.mark.parametrize("name", CONTRACT)
def test_every_metric_is_there_with_the_labels_of_the_contract(samples: Samples, name: str):
    for labels in samples.labels(name):
        assert set(labels) >= CONTRACT[name]
        assert not {"camera_id", "stage", "reason", "label"} & set(labels) - CONTRACT[name]


def test_no_metric_of_ours_is_outside_the_contract(samples: Samples):
    families = {name.removesuffix("_bucket") for name in CONTRACT}
    found = {sample.name.removeprefix("ray_") for sample in samples.all}
    suffixes = ("_bucket", "_count", "_sum")
    assert {
        next((name.removesuffix(end) for end in suffixes if name.endswith(end)), name) for name in found
    } <= families


def test_stages_and_reasons_are_those_of_the_contract(samples: Samples):
    assert {one["stage"] for one in samples.labels("sightline_stage_seconds_bucket")} == STAGES
    reasons = {one["reason"] for one in samples.labels("sightline_frames_dropped_total")}
    assert reasons == {reason.value for reason in DropReason}


def test_the_buckets_resolve_a_millisecond_to_a_second_around_the_budget(samples: Samples):
    edges = sorted({float(one["le"]) for one in samples.labels("sightline_stage_seconds_bucket")})
    assert edges[0] <= 0.001
    assert 1.0 in edges
    near = [edge for edge in edges if 0.1 <= edge <= 0.3]
    assert 0.2 in near
    assert max(later - earlier for earlier, later in itertools.pairwise(near)) <= 0.05 + 1e-9


def test_one_report_after_its_frames_end_a_camera_s_ledger_balances_in_the_metrics(watched: Watched, samples: Samples):
    watched.source.go_away()
    try:
        watched.wait_for_state(SOURCE, "reconnecting", "offline", "stalled")

        last: list[object] = []

        def balanced() -> Samples | None:
            now = read(watched)
            camera = watched.camera(SOURCE)
            ledger = camera["ledger"]
            counted = Counter(
                sampled=round(now.total("sightline_frames_sampled_total", camera_id=SOURCE)),
                accepted=round(now.total("sightline_frames_accepted_total", camera_id=SOURCE)),
                dropped=round(now.total("sightline_frames_dropped_total", camera_id=SOURCE)),
            )
            reported = Counter(
                sampled=ledger["sampled"], accepted=ledger["accepted"], dropped=sum(ledger["dropped"].values())
            )
            last[:] = [counted, reported, camera["restarts"], camera["reconnects"], ledger["in_flight"]]
            return now if counted == reported and not ledger["in_flight"] else None

        # Ray hands metrics on every ten seconds, and asks its processes every ten seconds.
        try:
            now = wait_for(balanced, 90, "the same counts in metrics and ledger")
        except TimeoutError as error:
            raise AssertionError(f"{error}: metrics, ledger, restarts, reconnects, in flight are {last}") from None
        ledger = watched.camera(SOURCE)["ledger"]
        sampled = now.total("sightline_frames_sampled_total", camera_id=SOURCE)
        accepted = now.total("sightline_frames_accepted_total", camera_id=SOURCE)
        dropped = now.total("sightline_frames_dropped_total", camera_id=SOURCE)
        assert sampled == accepted + dropped + ledger["unconfirmed"]
        assert now.total("sightline_frames_in_flight", camera_id=SOURCE) == 0
        assert now.total("sightline_camera_up", camera_id=SOURCE) == 0

        def published() -> bool:
            count = read(watched).total("sightline_events_published_total", camera_id=SOURCE)
            return accepted <= count <= accepted + ledger["unconfirmed"]

        wait_for(published, 90, "all that was accepted to be published")
    finally:
        watched.source.listen()
    watched.wait_for_state(SOURCE, "live")


def test_the_publisher_s_ledger_balances_in_any_status(watched: Watched):
    for _ in range(10):
        status = watched.status()
        counts = status["publisher"]
        kept = status["spool"]["events"] + counts["quarantined"] + counts["discarded"]
        assert counts["accepted"] == counts["published"] + kept
        for camera in status["cameras"]:
            ledger = camera["ledger"]
            settled = ledger["accepted"] + sum(ledger["dropped"].values()) + ledger["unconfirmed"]
            assert ledger["sampled"] == settled + ledger["in_flight"]
