"""Bench: one load on one system, from its start to its report."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.cli.bench.plan import BenchPlan
from app.cli.bench.processes import ProcessCost, costs
from app.cli.bench.report import STAGES, BenchReport, Spread, Tally, fairness
from app.cli.bench.system import BenchSystem
from app.errors import BenchFailed
from app.publisher.kafka.embedded_broker import read_announced
from app.publisher.kafka.follower import TopicFollower
from app.settings.connections import KafkaSettings
from app.web.schemas import StatusModel

_POLL_S = 0.25


class Bench:
    """Puts a load on a system that it starts itself.

    Args:
        plan: the load.
        config: the Serve configuration whose scaling numbers are kept.
        environment: the shell's variables; ``DETECTOR_*`` and the budget apply.
        set_done: called with the seconds measured so far.
    """

    def __init__(
        self,
        plan: BenchPlan,
        config: Mapping[str, Any],
        environment: Mapping[str, str],
        set_done: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._plan = plan
        self._config = config
        self._environment = environment
        self._set_done = set_done

    def run(self) -> BenchReport:
        """Start a system, warm up, measure, stop it, and return the report.

        Raises:
            BenchFailed: the system did not start, or ended.
        """
        with BenchSystem(self._plan, self._config, self._environment) as system:
            self._wait(self._plan.warm_up_s, lambda _: None)
            with _EventCollector(system.state) as listener:
                before, used, began = system.status(), system.meter.read(), time.monotonic()
                self._wait(self._plan.seconds, self._set_done)
                after = system.status(time.monotonic() - began)
                then, ended = system.meter.read(), time.monotonic()
            return self._report(before, after, costs(used, then), ended - began, listener.values)

    def _wait(self, seconds: float, set_done: Callable[[float], None]) -> None:
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            set_done(passed)
            time.sleep(min(_POLL_S, seconds - passed))

    def _report(
        self,
        before: StatusModel,
        after: StatusModel,
        processes: tuple[ProcessCost, ...],
        seconds: float,
        values: Sequence[bytes],
    ) -> BenchReport:
        tally = Tally.between(before, after)
        cpu_s = sum(cost.cpu_s for cost in processes)
        cameras = next((cost for cost in processes if cost.kind == "cameras"), None)
        return BenchReport(
            plan=self._plan,
            machine=machine(),
            seconds=seconds,
            tally=tally,
            delivered_per_s=tally.published / seconds,
            within_budget=1 - tally.breaches / tally.published if tally.published else None,
            fairness=fairness(tally.accepted_by_camera.values()),
            capture_to_kafka_ms=Spread.from_model(after.capture_to_kafka_ms),
            stages_ms=_stages(values),
            replicas=sum(one.running for one in after.deployments if one.name == "ObjectDetector"),
            processes=processes,
            cpu_ms_per_frame=1000 * cpu_s / tally.published if tally.published else None,
            camera_megabytes=cameras.megabytes / cameras.count if cameras else None,
        )


class _EventCollector:
    """Collects every event of the topic, from its start to its end."""

    def __init__(self, state: Path) -> None:
        broker = read_announced(state / "sightline" / "broker.json")
        if broker is None:
            raise BenchFailed("the embedded broker has not announced its address")
        self._follower = TopicFollower(KafkaSettings(), (broker,))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.values: list[bytes] = []

    def _listen(self) -> None:
        self.values.extend(received.value for received in self._follower)

    def __enter__(self) -> _EventCollector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._follower.stop()
        self._thread.join(10)
        self._follower.close()


def _stages(values: Sequence[bytes]) -> dict[str, Spread]:
    latencies = [json.loads(value)["latency_ms"] for value in values]
    spreads = {stage: Spread.of([one[stage] for one in latencies]) for stage in STAGES}
    return {stage: spread for stage, spread in spreads.items() if spread is not None}


def machine() -> str:
    """Return one line about this machine: cores, CPU, load."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    cpu = next(named, platform.machine())
    return f"{len(os.sched_getaffinity(0))} cores of {cpu}, load {os.getloadavg()[0]:.1f} at the end"
