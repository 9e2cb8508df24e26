"""The shell in Serve's controller, with Serve's own context and no cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve.config import AutoscalingContext

from app.core.service_time import ServiceTime
from app.scaling import Demand
from deployments.scaling import FRESH_S, OfferedFrames
from tests.support.simulated_scaling import NUMBERS

BUSY = Demand(40, 40, 0, 8, 40, 0, 16).as_stats()
SLOW = ServiceTime(0, 0.075, 0.9).as_stats()


class Key(str):
    """A deployment's key, as Serve has one: it has a name."""

    @property
    def name(self) -> str:
        return str(self)


def context(target: int, stats: dict[str, dict[str, float]], age_s: float = 0.0, **more: Any) -> AutoscalingContext:
    """Serve's context of a deployment whose replicas gave these numbers."""
    at = time.time() - age_s
    raw: dict[str, dict[str, list[Any]]] = {}
    for replica, numbers in stats.items():
        for name, value in numbers.items():
            series = [SimpleNamespace(timestamp=at - 1, value=-1.0), SimpleNamespace(timestamp=at, value=value)]
            raw.setdefault(name, {})[replica] = series
    given = {
        "deployment_id": None, "deployment_name": "", "app_name": "", "current_num_replicas": target,
        "target_num_replicas": target, "running_replicas": [], "total_num_requests": 0.0, "total_queued_requests": 0.0,
        "aggregated_metrics": {}, "raw_metrics": raw, "capacity_adjusted_min_replicas": 1,
        "capacity_adjusted_max_replicas": 9, "policy_state": {}, "last_scale_up_time": None,
        "last_scale_down_time": None, "current_time": at, "config": None,
    }  # fmt: skip
    return AutoscalingContext(**{**given, **more})


def policy() -> OfferedFrames:
    return OfferedFrames(**NUMBERS.model_copy(update={"upscale_delay_s": 0.0}).model_dump())


def test_the_ingress_s_numbers_and_the_detectors_together_decide_for_the_detectors_alone():
    contexts = {
        Key("DetectionIngress"): context(1, {"a": BUSY}),
        Key("ObjectDetector"): context(1, {"b": SLOW, "c": {}}),
    }
    assert policy()(contexts) == ({"ObjectDetector": 4}, {})


def test_numbers_of_a_replica_that_fell_silent_count_for_nothing():
    contexts = {
        Key("DetectionIngress"): context(1, {"a": BUSY}, age_s=FRESH_S + 1),
        Key("ObjectDetector"): context(3, {"b": SLOW}),
    }
    assert policy()(contexts) == ({"ObjectDetector": 3}, {})


def test_an_application_without_detectors_is_left_alone():
    assert policy()({Key("DetectionIngress"): context(1, {})}) == ({}, {})


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is reported to Serve's own log, which goes nowhere else."""
    lines: list[str] = []

    class Hear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    hear = Hear()
    logging.getLogger("ray.serve").addHandler(hear)
    yield lines
    logging.getLogger("ray.serve").removeHandler(hear)


def test_it_never_raises_for_that_would_stop_the_controller(said: list[str]):
    def fail() -> float:
        raise RuntimeError("no total")

    decide = policy()
    contexts = {Key("ObjectDetector"): context(2, {}, total_num_requests=fail)}
    assert [decide(contexts) for _ in range(3)] == [({"ObjectDetector": 2}, {})] * 3
    assert said == ["the number of detector replicas cannot be decided; it stays at 2"]


def test_wrong_numbers_hold_what_there_is(said: list[str]):
    decide = OfferedFrames(batch_time_ms=50)
    contexts = {
        Key("DetectionIngress"): context(1, {"a": BUSY}),
        Key("ObjectDetector"): context(2, {"b": SLOW}),
    }
    assert decide(contexts) == ({"ObjectDetector": 2}, {})
    assert said == ["autoscaling is off: scaling.utilisation_up: field required"]


def test_it_reaches_the_controller_as_serve_sends_it():
    from ray.serve._private.autoscaling_state import _resolve_policy_callable
    from ray.serve.config import AutoscalingPolicy

    sent = AutoscalingPolicy(policy_function="deployments.scaling:OfferedFrames", policy_kwargs=NUMBERS.model_dump())
    arrived = AutoscalingPolicy.from_serialized_policy_def(
        {"policy_function": sent.policy_function, "policy_kwargs": sent.policy_kwargs}, sent.get_serialized_policy_def()
    )
    assert _resolve_policy_callable(arrived)({Key("DetectionIngress"): context(1, {})}) == ({}, {})


def test_the_shipped_numbers_are_looked_at_where_the_application_is_built_and_used_by_the_policy():
    from app.cli import up
    from app.scaling import ScalingNumbers
    from tests.support.paths import ROOT

    config = up.read_serve_config(ROOT / "serve_config.yaml")
    application = next(each for each in config["applications"] if each["name"] == "inference")
    assert application["autoscaling_policy"]["policy_kwargs"] == application["args"]["scaling"]
    ScalingNumbers.parse(application["args"]["scaling"])
