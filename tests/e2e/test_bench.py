"""``sightline bench`` from its start to its report; the pieces of it are tested in tests/unit."""

from __future__ import annotations

import json
import os
import subprocess
import uuid

import pytest

from app.cli.bench.processes import ProcessMeter
from tests.support.paths import ROOT
from tests.support.system import BIN
from tests.support.waiting import wait_for


@pytest.mark.slow
def test_a_bench_starts_a_system_of_its_own_measures_it_and_leaves_nothing():
    mark = uuid.uuid4().hex
    done = subprocess.run(
        [BIN / "sightline", "bench", "--cameras", "2", "--seconds", "4", "--warm-up", "1", "--detector", "no-op",
         "--size", "640x360", "--json"],
        cwd=ROOT, env={**os.environ, "BENCH_TEST": mark}, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    tally = report["tally"]
    assert tally["published"] > 5
    assert report["delivered_per_s"] == pytest.approx(tally["published"] / report["seconds"])
    assert set(report["stages_ms"]) == {"encode", "transport", "queue", "decode", "inference", "total"}
    assert 0 < report["stages_ms"]["total"]["p50"] <= report["stages_ms"]["total"]["p99"]
    assert report["capture_to_kafka_ms"]["p50"] > 0
    kinds = {cost["kind"]: cost for cost in report["processes"]}
    assert {"cameras", "ingress", "detectors", "publisher", "embedded broker", "proxy"} <= set(kinds)
    assert kinds["cameras"]["count"] == 2
    assert report["cpu_ms_per_frame"] > 0
    assert report["camera_megabytes"] > 10
    wait_for(lambda: not ProcessMeter(f"BENCH_TEST={mark}").read(), 30, "the end of every process")
