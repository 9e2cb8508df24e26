"""The running service under hostile input: codes of the table only, no replica restarts, memory stays flat."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.rpc.serving import SERVICE
from app.rpc.sightline.inference.v1 import inference_pb2 as pb
from tests.support import fuzzing
from tests.support.ray_cluster import MARK, Service

AT_ONCE = 8
ALLOWED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.FAILED_PRECONDITION,
}
GROWTH_MB = 150
"""What a process may gain, for caches and allocators: thousands of leaked pictures would be more."""


class Fuzzer:
    """Sends bytes as they are, several calls at a time, and counts the codes."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target)
        self._detect = self._channel.unary_unary(
            f"/{SERVICE}/Detect", response_deserializer=pb.DetectResponse.FromString
        )
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self.codes: Counter[grpc.StatusCode] = Counter()

    def send(self, messages: list[bytes]) -> None:
        for code, details in self._pool.map(self._ask, messages):
            self.codes[code] += 1
            assert code in ALLOWED, details
            assert "\n" not in details
            assert "Traceback" not in details

    def _ask(self, message: bytes) -> tuple[grpc.StatusCode, str]:
        try:
            self._detect(message, metadata=[("application", "inference")], timeout=60)
        except grpc.RpcError as error:
            return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""

    def close(self) -> None:
        self._pool.shutdown()
        self._channel.close()


def processes() -> dict[str, int]:
    """Return the resident megabytes of every process of the service, by name and number."""
    found = {}
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if not process.name.isdigit() or MARK.encode() not in (process / "environ").read_bytes():
                continue
            name = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if name.startswith(("ray::ServeReplica:inference", "ray::ProxyActor", "ray::KafkaPublisher")):
                resident = int((process / "statm").read_text().split()[1]) * 4096
                found[f"{name} {process.name}"] = resident >> 20
    return found


@pytest.fixture
def fuzzer(service: Service) -> Iterator[Fuzzer]:
    made = Fuzzer(service.target)
    yield made
    made.close()


def fuzz(fuzzer: Fuzzer, inputs: int) -> None:
    @settings(
        max_examples=inputs // AT_ONCE,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # an input that fails is reported as it is: shrinking would ask for hours
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(fuzzing.messages, min_size=AT_ONCE, max_size=AT_ONCE))
    def send(messages: list[bytes]) -> None:
        fuzzer.send(messages)

    send()


def test_a_message_that_is_no_request_is_an_invalid_argument(service: Service, fuzzer: Fuzzer):
    fuzzer.send([b"\xff" * 64, b"\x0a\x02\xff\xfe"])
    assert fuzzer.codes == {grpc.StatusCode.INVALID_ARGUMENT: 2}


def test_hundreds_of_hostile_inputs_get_codes_of_the_table_and_no_process_is_replaced(fuzzer: Fuzzer):
    before = processes()
    assert {name.rsplit(" ", 1)[0] for name in before} >= {
        "ray::ServeReplica:inference:DetectionIngress",
        "ray::ServeReplica:inference:ObjectDetector",
    }, before
    fuzz(fuzzer, 320)
    assert processes().keys() == before.keys()
    assert fuzzer.codes[grpc.StatusCode.OK] > 10
    assert fuzzer.codes[grpc.StatusCode.INVALID_ARGUMENT] > 50


@pytest.mark.soak
@pytest.mark.timeout(5400)
def test_twenty_thousand_hostile_inputs_restart_nothing_and_leave_memory_flat(fuzzer: Fuzzer):
    began = time.monotonic()
    fuzz(fuzzer, 4_000)
    warm = processes()
    fuzz(fuzzer, 16_000)
    after = processes()
    print(f"\n{fuzzer.codes.total()} inputs in {time.monotonic() - began:.0f} s: {dict(fuzzer.codes)}")
    print(f"resident MB after 4,000 inputs: {warm}\nafter 20,000: {after}")
    assert after.keys() == warm.keys()
    assert all(after[name] - warm[name] < GROWTH_MB for name in warm), (warm, after)
